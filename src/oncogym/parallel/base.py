"""The interface of all executors, and the one that needs no other process."""

from __future__ import annotations

import os
import pickle
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent import futures
from functools import partial
from typing import Any, ClassVar, TypeVar

from oncogym.core.checks import whole_number
from oncogym.parallel.desk import Desk

Item = TypeVar("Item")
Result = TypeVar("Result")

#: So often a piece of work is tried whose worker is lost each time.
ATTEMPTS = 4

# Enough for many workers, and few enough that each piece is worth its way.
_PIECES = 64
# A cluster larger than this is a slip of the keyboard.
_MOST_WORKERS = 100_000


class ExecutorError(RuntimeError):
    """Workers cannot be started, reached or kept alive, or cannot do the work they are sent."""


class Executor(futures.Executor, ABC):
    """A standard executor whose workers may be lost.

    What is sent to workers has to be picklable, and a function has to give the same result for an
    item whenever and wherever it is called: an item whose worker is lost is tried again, and its
    result is handed over once.

    The suite asks an executor for no more than :class:`concurrent.futures.Executor` promises, so
    that any other one may stand in its place; :attr:`pieces` and :meth:`pieces_of` are advice, see
    :func:`pieces_of`.
    """

    #: Name on the command line.
    name: ClassVar[str]
    #: Into so many pieces the work of a call should be cut. It does not depend on the number of
    #: workers, so that neither do the pieces.
    pieces: ClassVar[int] = _PIECES

    _desk: Desk | None = None

    def pieces_of(self, gpus: int) -> int:
        """Into so many pieces to cut work of which each piece needs ``gpus`` GPUs.

        A GPU is only busy with many lanes at once.
        """
        return 1 if gpus else self.pieces

    @abstractmethod
    def _apply(self, function: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
        """``[function(item) for item in items]``, in this order.

        An exception that the function raises is raised here with its own type.

        Raises:
            ExecutorError: A worker was lost several times over the same work, or the function or
                an item cannot be sent to another process.
        """

    def map(
        self,
        fn: Callable[..., Result],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int = 1,
    ) -> Iterator[Result]:
        """The results of ``fn`` for the items, in their order; all are there when it returns.

        Args:
            fn: What is done with each item.
            iterables: The items, one iterable for each argument of ``fn``.
            timeout: Has to be ``None``: lost work is done again, which takes its time.
            chunksize: Without effect; the suite cuts work itself.

        Raises:
            ExecutorError: A worker was lost several times over the same work, or the work cannot be
                sent to another process.
            ValueError: A ``timeout`` was given.
        """
        if timeout is not None:
            raise ValueError(f"timeout is {timeout}; allowed: None, lost work is done again")
        if len(iterables) == 1:
            return iter(self._apply(fn, list(iterables[0])))
        return iter(self._apply(_Spread(fn), list(zip(*iterables, strict=False))))

    def submit(
        self, fn: Callable[..., Result], /, *args: Any, **kwargs: Any
    ) -> futures.Future[Result]:
        """Have one call done; calls that wait while others are underway are done together.

        Raises:
            RuntimeError: The executor was shut down.
        """
        if self._desk is None:
            self._desk = Desk(self._apply)
        return self._desk.hand_in(partial(fn, *args, **kwargs))

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Give the workers back; the executor must not be used any more.

        Args:
            wait: Return when the submitted calls are done; they are done in either case.
            cancel_futures: Cancel those that have not begun.
        """
        if self._desk is not None:
            self._desk.close(cancel_futures)
        self._give_back()

    def _give_back(self) -> None:
        """End what was started for the work."""


class LanesExecutor(Executor):
    """Works in this process, one item after the other; lanes and threads are the parallelism."""

    name = "lanes"
    pieces = 1

    def _apply(self, function: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
        """``[function(item) for item in items]``; nothing is pickled."""
        return [function(item) for item in items]


class _Spread:
    """A function of several arguments as one of their tuple."""

    def __init__(self, function: Callable[..., object]) -> None:
        self._function = function

    def __call__(self, arguments: tuple[object, ...]) -> Any:
        return self._function(*arguments)


def pieces_of(executor: futures.Executor, gpus: int = 0) -> int:
    """Into so many pieces to cut work for any executor, see :meth:`Executor.pieces_of`."""
    if isinstance(executor, Executor):
        return executor.pieces_of(gpus)
    return 1 if gpus else _PIECES


def in_turn(
    executor: futures.Executor,
    function: Callable[[Item], Result],
    items: Sequence[Item],
    progress: Callable[[int], object],
) -> Iterator[Result]:
    """The results of ``executor.map`` in order, some pieces a call.

    Args:
        executor: Any executor.
        function: What is done with each item.
        items: The items.
        progress: Told after each call how many items it did.
    """
    size = pieces_of(executor)
    for start in range(0, len(items), size):
        found = list(executor.map(function, items[start : start + size]))
        progress(len(found))
        yield from found


def seal(function: Callable[[Item], Result], item: Item) -> bytes:
    """A piece of work that a worker opens itself with :func:`open_sealed`.

    A pool takes an error while it unpickles for its own end; this way it is the work's.

    Raises:
        ExecutorError: The function or the item cannot be sent to another process.
    """
    # Not with the module: most programs need no processes.
    import cloudpickle

    try:
        return cloudpickle.dumps((function, item))
    except (AttributeError, TypeError, pickle.PicklingError) as error:
        raise ExecutorError(
            f"the work cannot be sent to another process ({error}); use the executor 'lanes'"
        ) from error


def open_sealed(sealed: bytes) -> Any:
    """Do a piece of work that was sealed."""
    function, item = pickle.loads(sealed)
    return function(item)


def usable_cores() -> int:
    """Cores that this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on every system
        return os.cpu_count() or 1


def checked_workers(workers: object) -> int:
    """``workers`` as an integer.

    Raises:
        ValueError: It is not an integer of at least 1.
    """
    return whole_number("workers", workers, 1, _MOST_WORKERS)


def thread_settings(threads: int) -> dict[str, str]:
    """Environment of a worker that shall keep ``threads`` cores busy and no more.

    Waiting threads sleep: a spinning one takes a core from another worker.
    """
    names = ("NUMBA", "OMP", "OPENBLAS", "MKL")
    return {"OMP_WAIT_POLICY": "PASSIVE"} | {f"{n}_NUM_THREADS": str(threads) for n in names}
