"""What a plan should do: quadratic penalties of the doses of structures, and their gradient."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from oncogym.core.arrays import Floats
from oncogym.core.errors import nearest
from oncogym.envs.impt_beam_weighting.planning import objective_kernels as kernel
from oncogym.envs.impt_beam_weighting.planning import tile_kernels
from oncogym.envs.impt_beam_weighting.planning.checks import real_array, real_number
from oncogym.envs.impt_beam_weighting.planning.errors import PlanningWarning
from oncogym.envs.impt_beam_weighting.planning.influence import DoseInfluence
from oncogym.envs.impt_beam_weighting.planning.structures import REST, StructureSet
from oncogym.envs.threads import choose

KINDS = ("deviation", "underdose", "overdose", "mean")
# Problems with more entries are evaluated by all threads, in chunks of about so many.
_PARALLEL = 1 << 20
_CHUNK = 1 << 18
# Larger doses and weights would overflow when squared.
_MOST = 1e100
# Weight of the squared weights in the standard objective, for matrices whose largest entry is
# about 1.
_RIDGE = 1e-6
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
            what = f"{name} of the penalty on {self.structure!r}"
            real_number(getattr(self, name), what, 0.0, _MOST)


@dataclass(frozen=True)
class Objective:
    """Sum of penalties and of ``ridge`` times the squared weights.

    Args:
        terms: The penalties.
        ridge: Weight of the squared weights, in dose^2 per weight^2.

    Raises:
        ValueError: A term is no :class:`Term`, or the ridge is negative or not finite.
    """

    terms: tuple[Term, ...]
    ridge: float = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "terms", tuple(self.terms))
        for term in self.terms:
            if not isinstance(term, Term):
                raise ValueError(f"a penalty is {term!r}; allowed: Term")
        real_number(self.ridge, "ridge", 0.0, _MOST)

    @classmethod
    def standard(
        cls,
        structures: StructureSet,
        aim: float,
        *,
        rest_dose: float | None = None,
        ridge: float | None = None,
        influence: DoseInfluence | None = None,
    ) -> Objective:
        """The source's penalties for any anatomy.

        5 times the squared deviation of the target from ``aim``, 15 times that of cold voxels, 3
        and 2 times what exceeds the limits of the first and of further organs at risk, and once
        what exceeds ``rest_dose`` in normal tissue; means over voxels. A planner that is to reach
        the prescription in 95 % of the target aims about 1/60 higher, see the page.

        An organ without a limit has no penalty, so that nothing spares it: a
        :class:`PlanningWarning` names it.

        Args:
            structures: The structures.
            aim: Dose for the target.
            rest_dose: Dose of normal tissue that is free; half of the aim by default.
            ridge: Weight of the squared weights; by default 1e-6 times the square of the power of
                two that lies next to the largest entry of ``influence``, or 1e-6 without it.
            influence: The matrix that will be planned with: it tells the unit of the weights.

        Raises:
            ValueError: A number is out of range.
        """
        aim = real_number(aim, "aim", 0.0, _MOST)
        free = 0.5 * aim if rest_dose is None else rest_dose
        terms = [
            Term(structures.target, "deviation", aim, 5.0),
            Term(structures.target, "underdose", aim, 15.0),
        ]
        bare = []
        for number, name in enumerate(structures.oars):
            limit = structures[name].limit
            if limit is None:
                bare.append(name)
            else:
                terms.append(Term(name, "overdose", limit, 3.0 if number == 0 else 2.0))
        if bare:
            warn_unspared(bare)
        if len(structures.exclusive(REST)):
            terms.append(Term(REST, "overdose", free, 1.0))
        return cls(tuple(terms), standard_ridge(influence) if ridge is None else ridge)

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
        """Each penalty ``(terms + 1,)`` of a dose ``(voxels,)``, the ridge last; plain NumPy.

        Args:
            dose: Dose ``(voxels,)`` [Gy].
            structures: Structures that the terms name.
            weights: Spot weights ``(spots,)``.

        Raises:
            ValueError: The dose has another number of voxels, or something is not finite.
        """
        dose, weights = real_array(dose, "the dose"), real_array(weights, "weights")
        if dose.shape != (structures.num_voxels,):
            raise ValueError(
                f"the dose has shape {dose.shape}; allowed: ({structures.num_voxels},)"
            )
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


def standard_ridge(influence: DoseInfluence | None = None) -> float:
    """Weight of the squared weights that does not depend on the units of dose and weight.

    The scale is rounded to a power of two, so that matrices of about the same size have the same.
    """
    largest = 1.0 if influence is None else influence.largest
    return _RIDGE * 4.0 ** round(math.log2(largest)) if largest > 0.0 else _RIDGE


def warn_unspared(organs: Sequence[str]) -> None:
    """Say that nothing spares ``organs``."""
    names = ", ".join(repr(name) for name in organs)
    warnings.warn(
        f"no dose limit was given for {names}: the standard objective does not spare "
        f"{'it' if len(organs) == 1 else 'them'}; give limits, or an objective of your own",
        PlanningWarning,
        stacklevel=4,
    )


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
    def size(self) -> float:
        """What the objective is without any dose: the measure of its values.

        It is 0 if no penalty asks for dose.
        """
        asked = ("deviation", "underdose")
        return sum((t.weight * t.dose**2 for t in self.objective.terms if t.kind in asked), 0.0)

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
