"""Speed of proton planning, beside SciPy's sparse products and the same penalties in NumPy."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from scipy.sparse import csr_matrix

from oncogym.core.arrays import Floats
from oncogym.envs.impt_beam_weighting import (
    BeamSet,
    DoseInfluence,
    Objective,
    Problem,
    Structure,
    Term,
    dose_statistics,
    pencil_beams,
    phantom,
    plan,
)
from oncogym.evaluation.speed import (
    Job,
    Measurement,
    Settings,
    env_jobs,
    register,
    summarise,
    training_job,
)

#: Environment variable with the path of the TG-119 case.
TG119 = "ONCOGYM_TG119"
_FILE = "impt_tg119.npz"
# Spots 0.5 cm apart, to 0.8 cm beside the target: 428 of them.
_SPACING, _MARGIN = 0.5, 0.8
_AIM = 61.0
_COVERED = 60.0
# What pyRadPlan 0.5.0 reached in 12.0 s on two cores.
_TG119_GOAL = 89.84
_ROUNDS = 7
# The cohort is left out: a reset that draws an anatomy plans for it, longer than courses take.
_ENVS = ("oncogym/IMPTBeamWeighting-v0", "oncogym/IMPTBeamWeightingPublished-v0")
_LANES = 256
_ALL_THREADS = "all threads (NUMBA_NUM_THREADS)"


def jobs(settings: Settings) -> list[Job]:
    """Objective and gradient, whole plans, the TG-119 case, environments."""
    found = [
        Job("objective and gradient", lambda: _objective(settings.seconds)),
        Job("plan from equal weights", lambda: _whole_plan(settings.seconds)),
    ]
    path = tg119_file()
    if path is None:
        print(f"TG-119 is left out: no {_FILE}; {TG119} may name one", file=sys.stderr)
    else:
        found += [
            Job("TG-119, objective and gradient", lambda: _tg119_objective(path, settings.seconds)),
            Job("TG-119, plan", lambda: _tg119_plan(path, settings.seconds)),
        ]
    targets = {_ENVS[0]: {str(_LANES): 10_000.0}}
    for env_id in _ENVS:
        found += env_jobs(env_id, settings, lanes=(1, _LANES), targets=targets.get(env_id))
        if settings.train:
            found.append(training_job(env_id, settings, lanes=_LANES))
    return found


class SparseProducts:
    """Objective and gradient in the usual way: two products of sparse matrices, NumPy between.

    Args:
        influence: The dose influence.
        objective: The objective.
        dtype: Type of entries and sums.
    """

    def __init__(self, influence: DoseInfluence, objective: Objective, dtype: type) -> None:
        matrix = influence.to_matrix().astype(dtype)
        indptr = matrix.indptr.astype(np.int32)
        self.rows = csr_matrix((matrix.data, matrix.indices, indptr), matrix.shape)
        self.columns = self.rows.T.tocsr()
        self.dtype = dtype
        self.ridge = objective.ridge
        self.terms = [
            (influence.structures.exclusive(term.structure), term) for term in objective.terms
        ]

    def __call__(self, weights: Floats) -> tuple[float, Floats]:
        """Objective and gradient ``(spots,)`` at weights ``(spots,)``."""
        dose = self.rows @ weights.astype(self.dtype)
        slope = np.zeros_like(dose)
        value = self.ridge * float(weights @ weights)
        for voxels, term in self.terms:
            off = dose[voxels] - self.dtype(term.dose)
            if term.kind == "underdose":
                off = np.minimum(off, 0)
            elif term.kind == "overdose":
                off = np.maximum(off, 0)
            scale = term.weight / len(voxels)
            value += scale * float(off @ off)
            slope[voxels] += self.dtype(2.0 * scale) * off
        return value, (self.columns @ slope).astype(np.float64) + 2.0 * self.ridge * weights


def in_turns(
    works: dict[str, Callable[[], object]], seconds: float, rounds: int = _ROUNDS
) -> dict[str, Floats]:
    """Seconds a call of each of several works, one entry a round, measured in turns.

    A round's entry is the fastest of its calls: what else the machine does only adds.

    Args:
        works: What is called, by name.
        seconds: Time of each in all rounds together.
        rounds: Number of rounds.
    """
    for work in works.values():
        work()
        work()
    share = seconds / rounds / len(works)
    found: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(rounds):
        for name, work in works.items():
            best, begin = np.inf, time.perf_counter()
            while True:
                start = time.perf_counter()
                work()
                end = time.perf_counter()
                best = min(best, end - start)
                if end - begin >= share:
                    break
            found[name].append(best)
    return {name: np.asarray(times) for name, times in found.items()}


def beams_428() -> DoseInfluence:
    """Pencil beams on the source's phantom, 6400 voxels and 428 spots."""
    anatomy = phantom("published")
    return pencil_beams(anatomy, BeamSet.for_target(anatomy, spacing=_SPACING, margin=_MARGIN))


def _compared(
    what: str,
    influence: DoseInfluence,
    objective: Objective,
    weights: Floats,
    seconds: float,
    target: float,
    threads: str,
    ratio: float | None = None,
) -> list[Measurement]:
    """Our objective and gradient, and the same by sparse products of both precisions.

    Raises:
        RuntimeError: They disagree.
    """
    problem = Problem(influence, objective)
    plain = {
        dtype.__name__: SparseProducts(influence, objective, dtype)
        for dtype in (np.float32, np.float64)
    }
    value, gradient = problem(weights)
    other, slope = plain["float64"](weights)
    scale = float(np.abs(slope).max())
    if abs(value - other) > 1e-9 * abs(other) or np.abs(gradient - slope).max() > 1e-9 * scale:
        raise RuntimeError(f"{what}: {value!r} here and {other!r} by sparse products")
    works: dict[str, Callable[[], object]] = {"ours": lambda: problem(weights)}
    for name, products in plain.items():
        works[name] = lambda products=products: products(weights)  # type: ignore[misc]
    times = in_turns(works, seconds)
    faster = min(plain, key=lambda name: float(np.median(times[name])))
    size = f"{influence.num_voxels} voxels x {influence.num_spots} spots, {len(influence.data)}"
    return [
        summarise(
            f"{what}: objective and gradient", (1e3 * times["ours"]).tolist(), "ms", target,
            higher_is_better=False,
            note=f"{size} entries not zero; {threads}; best call of each round",
        ),
        summarise(
            f"{what}: sparse products", (1e3 * times[faster]).tolist(), "ms",
            higher_is_better=False,
            note=f"SciPy CSR products with a transpose made beforehand, penalties in NumPy, "
            f"{faster} (the faster one), one thread, in turns with ours",
        ),
        summarise(f"{what}: ratio", (times[faster] / times["ours"]).tolist(), "x", ratio),
    ]  # fmt: skip


def _objective(seconds: float) -> list[Measurement]:
    influence = beams_428()
    objective = Objective.standard(influence.structures, _AIM, rest_dose=30.0)
    weights = influence.normalised(np.ones(influence.num_spots))
    label = f"{influence.num_voxels} x {influence.num_spots}"
    return _compared(label, influence, objective, weights, seconds, 0.25, "one thread", 2.0)


def _whole_plan(seconds: float) -> list[Measurement]:
    """From equal weights to a D95 of 60 Gy, everything but the influence matrix included."""
    influence = beams_428()
    target = influence.structures.target
    rows = influence.structures[target].voxels
    inside = DoseInfluence.from_matrix(
        influence.to_matrix()[rows], {target: np.arange(len(rows))}, prescription=_COVERED
    )

    def covered(value: float, weights: Floats) -> bool:
        return float(np.percentile(inside.dose(weights), 5.0)) >= _COVERED

    objective = Objective.standard(influence.structures, _AIM, rest_dose=30.0)
    iterations = 0
    reached = 0.0

    def work() -> None:
        nonlocal iterations, reached
        start = influence.normalised(np.ones(influence.num_spots))
        found = plan(influence, objective, start=start, stop=covered)
        iterations = len(found.history)
        reached = dose_statistics(found.dose, influence)[target]["D95"]

    times = in_turns({"plan": work}, seconds)["plan"]
    if reached < _COVERED:
        raise RuntimeError(f"the plan has a D95 of {reached:.2f} Gy, below {_COVERED:g} Gy")
    influence_times = in_turns({"matrix": beams_428}, 0.5 * seconds)["matrix"]
    label = f"{influence.num_voxels} x {influence.num_spots}"
    return [
        summarise(
            f"{label}: plan with D95 >= {_COVERED:g} Gy", (1e3 * times).tolist(), "ms", 50.0,
            higher_is_better=False,
            note=f"L-BFGS-B from equal weights, {iterations} iterations to {reached:.2f} Gy, which "
            "is looked at after each; rows arranged anew; best call of each round",
        ),
        summarise(
            f"{label}: influence matrix", (1e3 * influence_times).tolist(), "ms",
            higher_is_better=False, note="phantom, spots and pencil beams, all threads",
        ),
    ]  # fmt: skip


def tg119_file() -> Path | None:
    """The TG-119 case: named by the environment, or ``shared/reference`` beside the checkout.

    Raises:
        FileNotFoundError: The environment names a file that is not there.
    """
    named = os.environ.get(TG119)
    if named:
        if not Path(named).is_file():
            raise FileNotFoundError(f"{TG119} is {named!r}; allowed: the path of {_FILE}")
        return Path(named)
    root = Path(__file__).resolve().parents[2]
    places = [root / "shared" / "reference" / _FILE, root.parent / "shared" / "reference" / _FILE]
    return next((place for place in places if place.is_file()), None)


def read_tg119(path: Path) -> tuple[DoseInfluence, Objective]:
    """The TG-119 case as pyRadPlan computed it, and the objective that it was planned with.

    Raises:
        FileNotFoundError: There is no such file.
        KeyError: It lacks an array.
    """
    with np.load(path, allow_pickle=False) as table:
        matrix = csr_matrix((table["data"], table["indices"], table["indptr"]),
                            tuple(table["shape"]))  # fmt: skip
        structures = [
            Structure("OuterTarget", table["OuterTarget"], "target", priority=1),
            Structure("Core", table["Core"], "oar", priority=2),
            Structure("BODY", table["BODY"], "body"),
        ]
        x, y, z = (int(n) for n in table["grid_size_xyz"])
        spacing = 0.1 * float(table["spacing_mm"])
    influence = DoseInfluence.from_matrix(
        matrix, structures, prescription=50.0, shape=(z, y, x), spacing=(spacing,) * 3
    )
    terms = (
        Term("OuterTarget", "deviation", 50.0, 1000.0),
        Term("Core", "overdose", 25.0, 300.0),
        Term("normal tissue", "overdose", 30.0, 100.0),
    )
    return influence, Objective(terms)


def _tg119_objective(path: Path, seconds: float) -> list[Measurement]:
    influence, objective = read_tg119(path)
    weights = influence.normalised(np.ones(influence.num_spots))
    return _compared("TG-119", influence, objective, weights, seconds, 6.0, _ALL_THREADS)


def _tg119_plan(path: Path, seconds: float) -> list[Measurement]:
    """From equal weights to the objective that pyRadPlan reached."""
    influence, objective = read_tg119(path)
    iterations = 0
    value = np.inf
    spent = 0.0

    def work() -> None:
        nonlocal iterations, value, spent
        begin = time.process_time()
        found = plan(
            influence, objective, iterations=1000, tolerance=0.0,
            stop=lambda value, weights: value <= _TG119_GOAL,
        )  # fmt: skip
        iterations, value = len(found.history), found.objective
        spent = time.process_time() - begin

    # A whole plan takes seconds: a few runs, and the first, which compiles, is left out.
    times = in_turns({"plan": work}, seconds, rounds=3)["plan"]
    if value > _TG119_GOAL:
        raise RuntimeError(f"the plan's objective is {value:.3f}, above {_TG119_GOAL}")
    return [
        summarise(
            f"TG-119: plan with objective <= {_TG119_GOAL}", times.tolist(), "s", 2.5,
            higher_is_better=False,
            note=f"L-BFGS-B from equal weights, {iterations} iterations, {spent:.2g} s "
            f"of CPU time, rows arranged anew; {_ALL_THREADS}; pyRadPlan 0.5.0 took 12.0 s on two "
            "other cores",
        )
    ]  # fmt: skip


register("impt", jobs)
