"""Arrays for step results, recycled only when nobody can see them any more."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray

# References to an array that only the pool's list holds, as getrefcount sees it inside `empty`:
# the list, the loop variable and the call's argument.
_UNUSED = 3
_LARGEST_POOL = 8


class BufferPool:
    """Hands out uninitialised arrays that share no memory with any array still in use.

    Fresh memory of a few hundred kilobytes a step costs more in page faults than the arithmetic on
    it. An array handed out is used again once its reference count shows that neither it nor a view
    of it is alive; a user who keeps results simply makes the pool allocate anew.
    """

    def __init__(self) -> None:
        self._arrays: dict[tuple[Any, ...], list[NDArray[Any]]] = {}

    def empty(self, shape: tuple[int, ...], dtype: Any = np.float64) -> NDArray[Any]:
        """An uninitialised array."""
        arrays = self._arrays.setdefault((shape, dtype), [])
        for array in arrays:
            if sys.getrefcount(array) == _UNUSED:
                # The view, not the pooled array itself, goes out: views of views refer to their
                # owner, so the owner's count tells of all of them.
                return array[...]
        fresh = np.empty(shape, dtype)
        if len(arrays) < _LARGEST_POOL:
            arrays.append(fresh)
            return fresh[...]
        return fresh

    def __deepcopy__(self, memo: dict[int, Any]) -> BufferPool:
        return BufferPool()

    def __reduce__(self) -> tuple[type[BufferPool], tuple[()]]:
        return BufferPool, ()
