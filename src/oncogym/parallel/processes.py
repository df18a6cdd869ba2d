"""Processes on this machine: loky, the pool behind joblib."""

from __future__ import annotations

import os
import runpy
import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from tqdm import tqdm

from oncogym.parallel.base import (
    ATTEMPTS,
    Executor,
    ExecutorError,
    Item,
    Result,
    checked_workers,
    open_sealed,
    seal,
    thread_settings,
    usable_cores,
)
from oncogym.parallel.lifeline import FOLLOW_PARENT, kill, no_interrupt_for_children


class JoblibExecutor(Executor):
    """Sends the work to processes of loky, the pool behind joblib.

    The processes start with the first work and live until :meth:`shutdown`. They share the cores:
    each computes with as many threads as there are cores for it. When one dies, what it and the
    others had not finished is done again by new ones. They end with this process, however it ends,
    and at once when a piece of work is interrupted (``KeyboardInterrupt`` and the like).

    Args:
        workers: Number of processes; by default one for each core.

    Raises:
        ValueError: ``workers`` is not an integer of at least 1.
    """

    name = "joblib"

    def __init__(self, workers: int | None = None) -> None:
        # Not with the module: it takes a third of a second, and most programs need no processes.
        import loky

        self._loky: Any = loky
        cores = usable_cores()
        self.workers = cores if workers is None else checked_workers(workers)
        self._threads = max(1, cores // self.workers)
        self._pool: Any = None

    def _apply(self, function: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
        """Apply ``function`` to each item in some process; see :class:`Executor`."""
        done: dict[int, Result] = {}
        fruitless = 0
        while len(done) < len(items):
            before = len(done)
            lost = self._try(function, items, done)
            if lost is None:
                continue
            # One dead process takes the whole pool with it.
            self._give_back()
            fruitless = fruitless + 1 if len(done) == before else 0
            if fruitless == ATTEMPTS:
                raise ExecutorError(
                    f"worker processes died {ATTEMPTS} times over the same work: {lost}"
                ) from lost
        return [done[index] for index in range(len(items))]

    def _try(
        self, function: Callable[[Item], Result], items: Sequence[Item], done: dict[int, Result]
    ) -> BaseException | None:
        """Do what is not yet ``done``; returns how a process was lost, if one was."""
        broken = self._loky.process_executor.BrokenProcessPool
        lost: BaseException | None = None
        futures: dict[Any, int] = {}
        try:
            pool = self._started()
            with no_interrupt_for_children():  # the first piece starts the processes
                for index in range(len(items)):
                    if index not in done:
                        futures[pool.submit(_work, seal(function, items[index]))] = index
            for future in self._loky.as_completed(futures):
                try:
                    done[futures[future]] = future.result()
                except broken as error:
                    lost = error
        except broken as error:  # while the work was handed in
            lost = error
        except Exception:
            _cancel(futures)
            raise
        except BaseException:
            # The pool itself tells those that wait; what is cancelled would be told twice.
            self._abandon()
            raise
        _cancel(futures)
        if lost is not None:
            # Those that were finished before the loss keep their results.
            for future, index in futures.items():
                if future.done() and not future.cancelled() and future.exception() is None:
                    done[index] = future.result()
        return lost

    def _started(self) -> Any:
        if self._pool is None:
            main = threading.current_thread() is threading.main_thread()
            self._pool = self._loky.ProcessPoolExecutor(
                self.workers,
                env=thread_settings(self._threads),
                initializer=runpy.run_path,
                initargs=(FOLLOW_PARENT, {"PARENT": os.getpid(), "AT_ONCE": main}, "follow_parent"),
            )
        return self._pool

    def _abandon(self) -> None:
        """End the processes at once, with the work that they have begun."""
        pool, self._pool = self._pool, None
        if pool is not None:
            kill(list(pool._processes))
            pool.shutdown(wait=False, kill_workers=True)

    def _give_back(self) -> None:
        """End the processes."""
        if self._pool is not None:
            self._pool.shutdown(wait=True, kill_workers=True)
            self._pool = None


def _work(sealed: bytes) -> Any:
    """Do a piece of work in a process that is killed in the end.

    By default tqdm makes a lock between processes, which one that is killed leaves behind.
    """
    tqdm.set_lock(threading.RLock())
    return open_sealed(sealed)


def _cancel(futures: Iterable[Any]) -> None:
    for future in futures:
        future.cancel()
