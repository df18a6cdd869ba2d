"""What a plan should do: quadratic penalties of the doses of structures, and their gradient."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from oncogym.core.errors import nearest
from oncogym.envs.impt_beam_weighting import objective_kernels as kernel
from oncogym.envs.impt_beam_weighting import tile_kernels
from oncogym.envs.impt_beam_weighting.influence import DoseInfluence
from oncogym.envs.impt_beam_weighting.structures import REST, StructureSet
from oncogym.envs.threads import choose

Floats = NDArray[np.float64]

KINDS = ("deviation", "underdose", "overdose", "mean")
# Problems with more entries are evaluated by all threads, in chunks of about so many.
_PARALLEL = 1 << 20
_CHUNK = 1 << 18
_LOW, _LOW_WEIGHT, _HIGH, _HIGH_WEIGHT, _LINEAR, _WIDTH = 0, 1, 2, 3, 4, 5


@dataclass(frozen=True)
class Term:
    """One penalty, a mean over the voxels of a structure.

    Args:
        structure: Its name, or ``"normal tissue"`` for all voxels of the body in no structure.
        kind: ``"deviation"`` (d - dose)^2, ``"underdose"`` and ``"overdose"`` the same on one side
            only, ``"mean"`` the dose itself.
        dose: Dose [Gy]; without meaning for ``"mean"``.
        weight: Weight.

    Raises:
        ValueError: The kind is unknown, or a number is negative or not finite.
    """

    structure: str
    kind: str
    dose: float = 0.0
    weight: float = 1.0

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise nearest("kind of penalty", self.kind, KINDS)
        for name in ("dose", "weight"):
            value = getattr(self, name)
            if not 0.0 <= value < math.inf:
                raise ValueError(
                    f"{name} of the penalty on {self.structure!r} is {value!r}; allowed: finite, "
                    "at least 0"
                )


@dataclass(frozen=True)
class Objective:
    """Sum of penalties and of ``ridge`` times the squared weights."""

    terms: tuple[Term, ...]
    ridge: float = 0.0

    @classmethod
    def standard(
        cls, structures: StructureSet, aim: float, *, rest_dose: float = 30.0, ridge: float = 1e-6
    ) -> Objective:
        """The source's penalties for any anatomy.

        5 times the squared deviation of the target from ``aim``, 15 times that of cold voxels, 3
        and 2 times what exceeds the limits of the first and of further organs at risk, and once
        what exceeds ``rest_dose`` in normal tissue; means over voxels. A planner that is to reach
        the prescription in 95 % of the target aims about 1 Gy higher, see the page.

        Args:
            structures: The structures.
            aim: Dose for the target [Gy].
            rest_dose: Dose of normal tissue that is free [Gy].
            ridge: Weight of the squared weights.
        """
        terms = [
            Term(structures.target, "deviation", aim, 5.0),
            Term(structures.target, "underdose", aim, 15.0),
        ]
        for number, name in enumerate(structures.oars):
            limit = structures[name].limit
            if limit is not None:
                terms.append(Term(name, "overdose", limit, 3.0 if number == 0 else 2.0))
        if len(structures.exclusive(REST)):
            terms.append(Term(REST, "overdose", rest_dose, 1.0))
        return cls(tuple(terms), ridge)

    def with_aim(self, structure: str, aim: float) -> Objective:
        """The same with another dose in every penalty of a structure."""
        return replace(
            self,
            terms=tuple(
                replace(term, dose=aim) if term.structure == structure else term
                for term in self.terms
            ),
        )

    def values(self, dose: ArrayLike, structures: StructureSet, weights: ArrayLike) -> Floats:
        """Each penalty ``(terms + 1,)`` of a dose ``(voxels,)``, the ridge last; plain NumPy."""
        dose = np.asarray(dose, np.float64)
        found = []
        for term in self.terms:
            own = dose[structures.exclusive(term.structure)] - term.dose
            if term.kind == "underdose":
                own = np.minimum(own, 0.0)
            elif term.kind == "overdose":
                own = np.maximum(own, 0.0)
            value = own.mean() + term.dose if term.kind == "mean" else np.square(own).mean()
            found.append(term.weight * float(value))
        return np.array([*found, self.ridge * float(np.square(weights).sum())])


class Problem:
    """An influence matrix and an objective, arranged for fast evaluation.

    Rows without a penalty are left out. Those with the same penalties stand together in tiles that
    are read once for both dose and gradient.

    Args:
        influence: The dose influence.
        objective: The objective.

    Raises:
        UnknownNameError: A penalty names a structure that does not exist.
        ValueError: No voxel has a penalty, or a structure that has one is empty after priorities.
    """

    def __init__(self, influence: DoseInfluence, objective: Objective) -> None:
        self.influence = influence
        self.objective = objective
        self.num_spots = influence.num_spots
        self.ridge = float(objective.ridge)
        blocks, block_terms = _blocks(influence.structures, objective)
        first_terms, self.terms = _merge(influence.structures, objective, block_terms)
        rows, tile_rows, tiles = _tiles(influence, blocks, first_terms)
        sparse = influence.indices, influence.indptr, rows, tile_rows, self.num_spots
        counts = np.empty(len(tiles), np.int64)
        tile_kernels.count_columns(*sparse, counts)
        starts = np.concatenate([[0], np.cumsum(counts)])
        columns = np.empty(starts[-1], np.int32)
        entries = np.zeros(tile_kernels.ROWS * starts[-1], influence.data.dtype)
        tile_kernels.fill_tiles(influence.data, *sparse, starts, columns, entries)
        self._tiles = entries, columns, starts, tiles
        chunks = -(-len(entries) // _CHUNK) if len(entries) > _PARALLEL else 1
        shares = np.linspace(0, starts[-1], chunks + 1)
        self._chunks = np.unique(np.append(np.searchsorted(starts, shares[:-1]), len(tiles)))

    @property
    def matrix(self) -> tuple[Any, ...]:
        """Entries, columns, starts and numbers of the tiles, as the kernels take them."""
        return self._tiles

    def __call__(self, weights: Floats) -> tuple[float, Floats]:
        """Objective and gradient ``(spots,)`` at float64 weights ``(spots,)``."""
        gradient = np.empty(self.num_spots)
        if len(self._chunks) > 2:
            evaluate = choose(kernel.evaluate_chunks, kernel.evaluate_chunks_parallel)
            value = evaluate(*self.matrix, self.terms, self.ridge, self._chunks, weights, gradient)
        else:
            value = kernel.evaluate(*self.matrix, self.terms, self.ridge, weights, gradient)
        return value, gradient

    def lipschitz(self, terms: Floats | None = None) -> float:
        """Largest curvature of the objective, a bound within about 1 %."""
        table = self.terms if terms is None else terms
        return 1.02 * float(kernel.lipschitz(*self.matrix, table, self.ridge, self.num_spots, 60))

    def diagonal(self) -> Floats:
        """Largest curvature of the objective along each weight ``(spots,)``."""
        out = np.empty(self.num_spots)
        kernel.diagonal(*self.matrix, self.terms, self.ridge, out)
        return out


def _blocks(
    structures: StructureSet, objective: Objective
) -> tuple[list[NDArray[np.int64]], list[list[Term]]]:
    """Voxels that share their penalties, and the penalties, structure by structure."""
    if not math.isfinite(objective.ridge) or objective.ridge < 0.0:
        raise ValueError(f"ridge is {objective.ridge!r}; allowed: finite, at least 0")
    by_name: dict[str, list[Term]] = {}
    for term in objective.terms:
        by_name.setdefault(term.structure, []).append(term)
    for name in by_name:
        if not len(structures.exclusive(name)):
            raise ValueError(
                f"there is a penalty on {name!r}, which has no voxel of its own after priorities"
            )
    if not by_name:
        raise ValueError("the objective has no penalty; allowed: at least one")
    return [structures.exclusive(name) for name in by_name], list(by_name.values())


def _tiles(
    influence: DoseInfluence, blocks: Sequence[NDArray[np.int64]], first_terms: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Rows in the order of tiles, first row of each tile, and the numbers that kernels need.

    Voxels that no spot hits are one tile without columns.
    """
    hit = np.diff(influence.indptr) > 0
    rows, sizes, terms = [], [], []
    for voxels, first, last in zip(blocks, first_terms[:-1], first_terms[1:], strict=True):
        own, empty = voxels[hit[voxels]], voxels[~hit[voxels]]
        count = [
            min(tile_kernels.ROWS, len(own) - n) for n in range(0, len(own), tile_kernels.ROWS)
        ]
        if len(empty):
            count.append(len(empty))
        rows += [own, empty]
        sizes += count
        terms += [(first, last)] * len(count)
    tile_rows = np.concatenate([[0], np.cumsum(sizes)])
    return np.concatenate(rows), tile_rows, np.column_stack([sizes, terms]).astype(np.int64)


def _merge(
    structures: StructureSet, objective: Objective, block_terms: Sequence[list[Term]]
) -> tuple[NDArray[np.int64], Floats]:
    """Penalties as rows of numbers for the kernels; those of equal dose are put together."""
    starts, table = [0], []
    for terms in block_terms:
        count = len(structures.exclusive(terms[0].structure))
        by_dose: dict[float, list[float]] = {}
        for term in terms:
            row = by_dose.setdefault(term.dose, [term.dose, 0.0, term.dose, 0.0, 0.0])
            weight = term.weight / count
            if term.kind in ("deviation", "underdose"):
                row[_LOW_WEIGHT] += weight
            if term.kind in ("deviation", "overdose"):
                row[_HIGH_WEIGHT] += weight
            if term.kind == "mean":
                row[_LINEAR] += weight
        table += list(by_dose.values())
        starts.append(len(table))
    return np.asarray(starts), np.asarray(table).reshape(len(table), _WIDTH)
