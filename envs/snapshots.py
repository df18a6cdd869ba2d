"""The state of some lanes as plain data: what branches, tree searches and checkpoints hold."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

#: Lanes by number, or a run of them.
Rows = NDArray[np.intp] | slice
State = Mapping[str, NDArray[Any]]
#: Makes an uninitialised array of a shape and type.
Empty = Callable[[tuple[int, ...], np.dtype[Any]], NDArray[Any]]

_OWNER = "owner"
_PREFIX = "lanes."


@dataclass(frozen=True, eq=False)
class Snapshot:
    """What some lanes of a task (or environment) are at one moment, apart from constants.

    Made by ``TherapyTask.snapshot`` and put back by ``TherapyTask.restore``, as often as wanted and
    into any lanes. The arrays are copies that cannot be written to, so a snapshot may be shared.

    Attributes:
        owner: Whose lanes they are: module and name of the task class.
        arrays: Named arrays, each with the lanes as its first axis.

    Raises:
        ValueError: There is no array, or one has no axis of lanes, another number of lanes than
            the first, or Python objects in it.
    """

    owner: str
    arrays: State

    def __post_init__(self) -> None:
        if not self.arrays:
            raise ValueError(f"a snapshot of {self.owner} without arrays; needed: at least one")
        kept: dict[str, NDArray[np.generic]] = {}
        count = -1
        for name, array in self.arrays.items():
            if array.ndim == 0 or array.dtype.hasobject:
                raise ValueError(
                    f"{name} has {array.ndim} axes of {array.dtype}; allowed: numbers with lanes "
                    "as the first axis"
                )
            count = len(array) if count < 0 else count
            if len(array) != count:
                raise ValueError(f"{name} has {len(array)} lanes, but the first array {count}")
            view = array[...]
            view.flags.writeable = False
            kept[name] = view
        object.__setattr__(self, "arrays", kept)

    def __reduce__(self) -> tuple[Any, ...]:
        return Snapshot, (self.owner, self.arrays)

    def __len__(self) -> int:
        return len(next(iter(self.arrays.values())))

    @property
    def nbytes(self) -> int:
        """Memory of the arrays [bytes]."""
        return sum(array.nbytes for array in self.arrays.values())

    def take(self, index: Sequence[int] | NDArray[np.intp]) -> Snapshot:
        """The lanes ``index`` of this snapshot, in that order; a number may come again.

        Raises:
            ValueError: A number is out of range.
        """
        rows = as_run(lane_numbers(index, len(self)))
        return Snapshot(self.owner, copy_lanes(self.arrays, rows))

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Plain arrays, without Python objects, to store with ``np.savez`` or among others."""
        named = {f"{_PREFIX}{name}": array for name, array in self.arrays.items()}
        return {_OWNER: np.array(self.owner), **named}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[np.generic]]) -> Snapshot:
        """The snapshot that :meth:`to_arrays` gave.

        Args:
            arrays: Arrays by name, such as an open ``.npz`` file.

        Raises:
            ValueError: They are not those of a snapshot; the message names what is wrong.
        """
        if _OWNER not in arrays:
            raise ValueError(f"no array {_OWNER!r} among {sorted(arrays)}: this is no snapshot")
        strange = [name for name in arrays if name != _OWNER and not name.startswith(_PREFIX)]
        if strange:
            raise ValueError(f"a snapshot has no array {strange[0]!r}")
        names = [name for name in arrays if name != _OWNER]
        found = {name.removeprefix(_PREFIX): np.asarray(arrays[name]) for name in names}
        return cls(str(arrays[_OWNER]), found)


def owner_name(of: object) -> str:
    """Module and name of an object's class."""
    return f"{type(of).__module__}.{type(of).__qualname__}"


def lane_numbers(lanes: object, count: int) -> NDArray[np.intp]:
    """Check ``lanes``, numbers of some of ``count`` lanes or ``None`` for all, ``(k,)``.

    Raises:
        ValueError: They are no whole numbers from 0 to ``count - 1`` in one row.
    """
    if lanes is None:
        return np.arange(count)
    numbers = np.asarray(lanes)
    if numbers.ndim != 1 or (numbers.size and numbers.dtype.kind not in "iu"):
        raise ValueError(
            f"lanes are {numbers.dtype} of shape {numbers.shape}; allowed: whole numbers in a row"
        )
    if numbers.size and (numbers.min() < 0 or numbers.max() >= count):
        wrong = numbers[(numbers < 0) | (numbers >= count)][0]
        raise ValueError(f"lane {wrong} is out of range; allowed: 0 to {count - 1}")
    return numbers.astype(np.intp, copy=False)


def different_lanes(lanes: object, count: int, given: int) -> NDArray[np.intp]:
    """Check ``lanes`` as :func:`lane_numbers` does, and that ``given`` rows fit into them.

    Args:
        lanes: What a caller gave.
        count: Number of lanes that there are.
        given: Rows that are to fit.

    Raises:
        ValueError: Their number is another, or a lane comes twice.
    """
    numbers = lane_numbers(lanes, count)
    if len(numbers) != given:
        raise ValueError(f"a snapshot of {given} lanes for {len(numbers)} lanes; give as many")
    if lanes is not None:
        times = np.bincount(numbers, minlength=1)
        if times.max() > 1:
            raise ValueError(f"lane {times.argmax()} is given {times.max()} times; allowed: once")
    return numbers


def as_run(lanes: NDArray[np.intp]) -> Rows:
    """A slice where the lanes follow one another, which is copied faster than numbers are."""
    if len(lanes) and lanes[-1] - lanes[0] == len(lanes) - 1 and (np.diff(lanes) == 1).all():
        return slice(int(lanes[0]), int(lanes[-1]) + 1)
    return lanes


def copy_lanes(arrays: State, rows: Rows, empty: Empty = np.empty) -> dict[str, NDArray[Any]]:
    """Copies of some lanes of each array, in arrays that ``empty`` makes.

    Args:
        arrays: Arrays by name, a row a lane.
        rows: Lanes to copy.
        empty: Makes an array of a shape and type.
    """
    return {name: _rows_of(array, rows, empty) for name, array in arrays.items()}


def write_lanes(arrays: State, rows: Rows, values: State) -> None:
    """Write ``values``, one row a lane, into the lanes ``rows`` of each array.

    Args:
        arrays: Arrays by name, a row a lane; changed in place.
        rows: Lanes to write.
        values: The new rows, by the same names.
    """
    source: NDArray[np.intp] | None = None
    for name, array in arrays.items():
        if isinstance(rows, slice) or len(rows) < len(array):
            array[rows] = values[name]
            continue
        # Into all lanes in another order: numpy gathers five times as fast as it scatters.
        if source is None:
            source = np.argsort(rows)
        _gather(values[name], source, array)


def _rows_of(array: NDArray[np.generic], rows: Rows, empty: Empty) -> NDArray[Any]:
    count = rows.stop - rows.start if isinstance(rows, slice) else len(rows)
    if _lanes_last(array):  # side by side in memory, and so in the copy
        out = empty((*array.shape[:0:-1], count), array.dtype).T
    else:
        out = empty((count, *array.shape[1:]), array.dtype)
    if isinstance(rows, slice):
        out[...] = array[rows]
    else:
        _gather(array, rows, out)
    return out


def _gather(array: NDArray[np.generic], rows: NDArray[np.intp], out: NDArray[np.generic]) -> None:
    """Write the rows, all in range, of an array into ``out``."""
    if _lanes_last(array) and _lanes_last(out):
        np.take(array.T, rows, axis=-1, out=out.T, mode="clip")
    else:
        # Without another mode, numpy takes a detour over a buffer.
        np.take(array, rows, axis=0, out=out, mode="clip")


def _lanes_last(array: NDArray[np.generic]) -> bool:
    """Whether the first axis is the last one in memory."""
    return array.ndim > 1 and array.strides[0] == array.itemsize


def check_names(snapshot: Snapshot, owner: str, own: State) -> None:
    """Check that a snapshot is one of ``owner``, with the same named arrays of the same types.

    Args:
        snapshot: What a caller gave.
        owner: Name that it must have.
        own: The arrays of the owner by name.

    Raises:
        ValueError: It is not; the message names the difference.
    """
    if snapshot.owner != owner:
        raise ValueError(f"the snapshot is one of {snapshot.owner}; allowed here: {owner}")
    if set(snapshot.arrays) != set(own):
        missing, more = set(own) - set(snapshot.arrays), set(snapshot.arrays) - set(own)
        raise ValueError(
            f"the snapshot lacks {sorted(missing)} and has {sorted(more)} that are not here: "
            "it was made with other options"
        )
    for name, array in own.items():
        if snapshot.arrays[name].dtype != array.dtype:
            raise ValueError(
                f"{name} of the snapshot is {snapshot.arrays[name].dtype}; allowed: {array.dtype}"
            )


def check_shapes(values: State, own: State) -> None:
    """Check that every lane has the same shape in both.

    Raises:
        ValueError: One has not; the message names it.
    """
    for name, array in own.items():
        if values[name].shape[1:] != array.shape[1:]:
            raise ValueError(
                f"{name} has shape {values[name].shape[1:]} a lane in the snapshot, but "
                f"{array.shape[1:]} here: it was made with other options"
            )
