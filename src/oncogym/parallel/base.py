"""The interface of all executors, and the one that needs no other process."""

from __future__ import annotations

import os
import pickle
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from oncogym.core.checks import whole_number

if TYPE_CHECKING:
    from typing_extensions import Self

Item = TypeVar("Item")
Result = TypeVar("Result")

#: So often a piece of work is tried whose worker is lost each time.
ATTEMPTS = 4

# A cluster larger than this is a slip of the keyboard.
_MOST_WORKERS = 100_000


class ExecutorError(RuntimeError):
    """Workers cannot be started, reached or kept alive, or cannot do the work they are sent."""


class Executor(ABC):
    """Applies a function to many items, wherever it does so.

    What is sent to workers has to be picklable, and a function has to give the same result for an
    item whenever and wherever it is called: an item whose worker is lost is tried again, and its
    result is handed over once. A context manager: leaving it closes the executor.
    """

    #: Name on the command line.
    name: ClassVar[str]
    #: Into so many pieces the work of a call should be cut. It does not depend on the number of
    #: workers, so that neither do the pieces.
    pieces: ClassVar[int] = 64

    def pieces_of(self, gpus: int) -> int:
        """Into so many pieces to cut work of which each piece needs ``gpus`` GPUs.

        A GPU is only busy with many lanes at once.
        """
        return 1 if gpus else self.pieces

    @abstractmethod
    def map(self, function: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
        """``[function(item) for item in items]``, in this order.

        An exception that the function raises is raised here with its own type.

        Raises:
            ExecutorError: A worker was lost several times over the same work, or the function or
                an item cannot be sent to another process.
        """

    def in_turn(
        self,
        function: Callable[[Item], Result],
        items: Sequence[Item],
        progress: Callable[[int], object],
    ) -> Iterator[Result]:
        """The results of :meth:`map` in order, some pieces a call.

        After each call ``progress`` is told how many items it did.
        """
        for start in range(0, len(items), self.pieces):
            found = self.map(function, items[start : start + self.pieces])
            progress(len(found))
            yield from found

    def close(self) -> None:  # noqa: B027  (nothing to give back is a fine default)
        """Give the workers back; the executor must not be used any more."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class LanesExecutor(Executor):
    """Works in this process, one item after the other; lanes and threads are the parallelism."""

    name = "lanes"
    pieces = 1

    def map(self, function: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
        """``[function(item) for item in items]``; nothing is pickled."""
        return [function(item) for item in items]


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


def checked_workers(workers: Any) -> int:
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
