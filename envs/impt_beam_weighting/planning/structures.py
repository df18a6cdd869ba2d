"""Structures as sets of voxels: target, organs at risk, and what is left of the body."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from oncogym.core.errors import nearest
from oncogym.envs.impt_beam_weighting.planning.checks import real_number, whole_shape
from oncogym.envs.impt_beam_weighting.planning.errors import (
    EmptyStructureError,
    GridMismatchError,
    OverlapError,
)
from oncogym.envs.impt_beam_weighting.planning.voxels import check_grid, read_voxels

Voxels = NDArray[np.int64]

ROLES = ("target", "oar", "body")
#: Name of the voxels of the body that belong to no other structure.
REST = "normal tissue"


@dataclass(frozen=True)
class Structure:
    """A named set of voxels.

    Args:
        name: Name, unique within a plan.
        voxels: Flat voxel indices in C order ``(n,)``, all different, or a mask of the grid: truth
            values, or nothing but 0 and 1 of any type, in the grid's shape or flat. Kept as
            indices, ascending.
        role: ``"target"``, ``"oar"`` or ``"body"``.
        limit: Largest dose that is allowed anywhere in it [Gy], or ``None``.
        priority: Where structures overlap, the one with the smaller number has the voxel in the
            objective. Structures may overlap only if their priorities differ. Statistics always
            take the whole structure.

    Attributes:
        mask_shape: Shape of the mask that the voxels came from, or ``None``; a
            :class:`StructureSet` checks it against its grid.

    Raises:
        EmptyStructureError: There is no voxel.
        ValueError: The voxels are neither indices nor a mask, the role is unknown, or the limit is
            not positive.
    """

    name: str
    voxels: Any
    role: str = "oar"
    limit: float | None = None
    priority: int | None = None
    mask_shape: tuple[int, ...] | None = field(default=None, init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name.strip():
            raise ValueError(f"the name of a structure is {self.name!r}; allowed: text")
        if self.role not in ROLES:
            raise nearest("role of a structure", self.role, ROLES)
        if self.name == REST:
            raise ValueError(f"no structure may be called {REST!r}: it names all other voxels")
        if self.limit is not None:
            limit = real_number(self.limit, f"the limit of {self.name!r}", 0.0, 1e6, "Gy")
            if limit <= 0.0:
                raise ValueError(
                    f"the limit of {self.name!r} is {self.limit!r}; allowed: above 0 Gy"
                )
        if self.priority is not None:
            real_number(self.priority, f"the priority of {self.name!r}", -math.inf, math.inf)
        voxels, mask = read_voxels(self.voxels, self.name)
        if not voxels.size:
            raise EmptyStructureError(f"structure {self.name!r} has no voxel")
        voxels.flags.writeable = False
        object.__setattr__(self, "voxels", voxels)
        object.__setattr__(self, "mask_shape", mask)


class StructureSet:
    """The structures of one anatomy.

    Args:
        structures: The structures; exactly one is the target, at most one the body.
        num_voxels: Size of the grid.
        shape: Shape of the grid in C order, if it is known; without it that of the masks.

    Raises:
        StructureOutsideGridError: A voxel index is not within the grid.
        GridMismatchError: A mask is not one of this grid, or two masks differ in shape.
        OverlapError: Two structures share voxels and their priorities do not differ.
        ValueError: Names repeat, or there is not exactly one target.
    """

    def __init__(
        self,
        structures: Iterable[Structure],
        num_voxels: int,
        shape: Sequence[int] | None = None,
    ) -> None:
        self.num_voxels = whole_shape([num_voxels], "num_voxels")[0]
        self.shape = None if shape is None else whole_shape(shape)
        if self.shape is not None and math.prod(self.shape) != self.num_voxels:
            raise ValueError(f"shape {self.shape} does not hold {self.num_voxels} voxels")
        self._all: dict[str, Structure] = {}
        for one in structures:
            if not isinstance(one, Structure):
                raise ValueError(f"a structure is {one!r}; allowed: Structure")
            if one.name in self._all:
                raise ValueError(f"two structures are called {one.name!r}")
            check_grid(one.name, one.voxels, one.mask_shape, self.num_voxels, self.shape)
            if self.shape is None and one.mask_shape and len(one.mask_shape) > 1:
                self.shape = one.mask_shape
            self._all[one.name] = one
        targets = [one.name for one in self._all.values() if one.role == "target"]
        if len(targets) != 1:
            raise ValueError(f"there are {len(targets)} targets {targets}; allowed: exactly one")
        if sum(one.role == "body" for one in self._all.values()) > 1:
            raise ValueError("there are two bodies; allowed: at most one")
        self.target = targets[0]
        self.oars = tuple(one.name for one in self._all.values() if one.role == "oar")
        self._exclusive = self._resolve()

    @classmethod
    def of(
        cls, structures: Any, num_voxels: int, shape: Sequence[int] | None = None
    ) -> StructureSet:
        """Structures in any form that users have them.

        Args:
            structures: A :class:`StructureSet`, a sequence of :class:`Structure`, or a mapping of
                name to voxels; in a mapping the first name is the target, ``"body"`` in any case is
                the body, and earlier names have priority.
            num_voxels: Size of the grid.
            shape: Its shape, if it is known.
        """
        if isinstance(structures, StructureSet):
            structures.check_shape(shape)
            return structures
        if isinstance(structures, Mapping):
            found = []
            for number, (name, voxels) in enumerate(structures.items()):
                body = str(name).lower() == "body"
                role = "target" if number == 0 else "body" if body else "oar"
                found.append(Structure(str(name), voxels, role, None, number))
            return cls(found, num_voxels, shape)
        return cls(structures, num_voxels, shape)

    def check_shape(self, shape: Sequence[int] | None) -> None:
        """Raise an error if the structures are known to belong to a grid of another shape.

        Raises:
            GridMismatchError: They do.
        """
        if shape is not None and self.shape is not None and tuple(shape) != self.shape:
            raise GridMismatchError(
                f"the structures belong to a grid of shape {self.shape}, the doses to one of shape "
                f"{tuple(shape)}; allowed: the same"
            )

    def _resolve(self) -> dict[str, Voxels]:
        """Voxels of each structure after priorities, and of the rest."""
        ranked = [one for one in self._all.values() if one.role != "body"]
        owner = np.full(self.num_voxels, -1, np.int64)
        for number, one in enumerate(ranked):
            others = np.unique(owner[one.voxels])
            for other in (ranked[int(n)] for n in others if n >= 0):
                if one.priority is None or other.priority is None or one.priority == other.priority:
                    shared = np.intersect1d(one.voxels, other.voxels).size
                    raise OverlapError(
                        f"structures {other.name!r} and {one.name!r} share {shared} voxels, with "
                        f"priorities {other.priority} and {one.priority}; allowed: an overlap of "
                        "structures whose priorities are given and differ"
                    )
                taken = one.voxels[owner[one.voxels] == ranked.index(other)]
                if one.priority < other.priority:
                    owner[taken] = number
            owner[one.voxels[owner[one.voxels] < 0]] = number
        found = {one.name: np.flatnonzero(owner == n) for n, one in enumerate(ranked)}
        body = next((one for one in self._all.values() if one.role == "body"), None)
        inside = np.ones(self.num_voxels, np.bool_)
        if body is not None:
            inside[:] = False
            inside[body.voxels] = True
            found[body.name] = body.voxels
        found[REST] = np.flatnonzero(inside & (owner < 0))
        return found

    def __iter__(self) -> Any:
        return iter(self._all.values())

    def __len__(self) -> int:
        return len(self._all)

    def __getitem__(self, name: str) -> Structure:
        if name not in self._all:
            raise nearest("structure", name, self._all)
        return self._all[name]

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the structures, in order."""
        return tuple(self._all)

    def exclusive(self, name: str) -> Voxels:
        """Voxels ``(n,)`` that count as ``name`` in an objective; :data:`REST` names the others.

        Raises:
            UnknownNameError: There is no such structure.
        """
        if name not in self._exclusive:
            raise nearest("structure", name, self._exclusive)
        return self._exclusive[name]

    def roles(self, role: str) -> Sequence[Structure]:
        """Structures with a role."""
        return [one for one in self._all.values() if one.role == role]
