"""Single calls handed in to an executor that works on many at a time."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any

Call = Callable[[], Any]
#: Does something with each of many items, in their order.
Apply = Callable[[Callable[[Call], Any], Sequence[Call]], list[Any]]


class Desk:
    """Takes calls, has all that wait done together by one thread, and fills their futures.

    Args:
        apply: The executor's way of working on many items.
    """

    def __init__(self, apply: Apply) -> None:
        self._apply = apply
        self._calls: queue.SimpleQueue[tuple[Future[Any], Call] | None] = queue.SimpleQueue()
        self._closed = False
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._work, name="oncogym-desk", daemon=True)
        self._thread.start()

    def hand_in(self, call: Call) -> Future[Any]:
        """The future of a call.

        Raises:
            RuntimeError: The desk is closed.
        """
        future: Future[Any] = Future()
        with self._lock:
            if self._closed:
                raise RuntimeError("the executor was shut down; open another one")
            self._calls.put((future, call))
        return future

    def close(self, cancel: bool) -> None:
        """Take no more calls, and wait for those that were handed in.

        Args:
            cancel: Cancel those that have not begun.
        """
        with self._lock:
            if not self._closed:
                self._closed = True
                if cancel:
                    for waiting in self._waiting():
                        if waiting is not None:
                            waiting[0].cancel()
                self._calls.put(None)
        self._thread.join()

    def _waiting(self) -> list[tuple[Future[Any], Call] | None]:
        found = []
        while True:
            try:
                found.append(self._calls.get_nowait())
            except queue.Empty:
                return found

    def _work(self) -> None:
        while True:
            batch = [self._calls.get(), *self._waiting()]
            begun = [one for one in batch if one and one[0].set_running_or_notify_cancel()]
            self._do(begun)
            if None in batch:
                return

    def _do(self, begun: Sequence[tuple[Future[Any], Call]]) -> None:
        try:
            found = self._apply(_outcome, [call for _, call in begun])
        except BaseException as end:  # the workers' end, or a call that cannot be sent
            if len(begun) == 1:
                begun[0][0].set_exception(end)
                return
            for one in begun:
                self._do([one])
            return
        for (future, _), (value, error) in zip(begun, found, strict=True):
            if error is None:
                future.set_result(value)
            else:
                future.set_exception(error)


def _outcome(call: Call) -> tuple[Any, Exception | None]:
    """What a call returns, or the exception that it raises."""
    try:
        return call(), None
    except Exception as error:
        return None, error
