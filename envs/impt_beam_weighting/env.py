"""IMPT beam weighting: fractions of proton plans under errors that nobody sees directly.

## Description

Intensity-modulated proton therapy adds up pencil beams whose dose ends abruptly at a chosen depth.
Planning finds their weights, a convex problem that a gradient solves in milliseconds
(`oncogym.envs.impt_beam_weighting.plan`); reinforcement learning can only match it. Delivery is
another matter: over 30 fractions the patient lies a little off, by a systematic displacement that
stays hidden and a random one that changes daily, and every depth is wrong by a systematic range
error. A plan that is sharp at rest misses then, and a plan that is robust against everything gives
organs and normal tissue more than they need.

The agent sees a noisy measurement of today's displacement and the dose that has accumulated,
moves the couch, corrects the range, and weighs a library of plans. Target D95, hot spots and organs
are those of the accumulated dose.

**Model.** Bortfeld pencil beams with range straggling, 1 % energy spread and multiple scattering,
on a plane phantom with ray-traced water-equivalent depths. A displacement moves the patient through
the beams, a range error multiplies all depths; a couch correction undoes the first, a range
correction (other energies) divides the second. The dose of every plan of the library is tabulated
on a lattice of residual displacements (0.25 cm, to 1.25 cm) and range errors (1 %, to 10 %) and
interpolated linearly; errors beyond the lattice count as its edge. `simulate` is the open-loop
entry.

**Actions: why a library and corrections.** Multiples of plans made for single scenarios alone are
worse than one robust plan even if the true displacement is known (score 16.5 against 7.7 Gy on 300
patients with shifts of 3 mm, range errors of 3 % and random displacements of 2 mm): each such plan
is sharp, and a mixture is sharp nowhere. Weights of single layers cannot follow a displacement
across the beam. Corrections can, and the library then decides how much robustness the remaining
uncertainty needs.

**The source** (`Published-v0`) is a tutorial that plans 40 weights once. There, an episode refines
the 40 weights in ten decisions and pays the decrease of the source's cost. L-BFGS-B reaches its
minimum, 2324.4, in 39 evaluations with the gradient; nothing can be better, so the number of
evaluations is what agents and optimisers without a gradient are measured by. The source's own
settings are not identifiable from what it prints (`oncogym reproduce impt`).

**Your own influence matrix.** `influence="file.npz"`, written by `DoseInfluence.from_matrix(…)
.save(…)`, takes the place of the phantom in every environment, whatever its size and dimension.
Displacements then move the patient through an unchanged dose cloud, and there is no range error.
More than 64 groups of spots are put together to 40 by where their doses lie.

- *Structures* are masks (truth values, or nothing but 0 and 1 of any type) of the grid's shape or
  flat, or flat lists of different voxel numbers. What is neither, or belongs to another grid or
  order of axes, is refused by name.
- *Prescription.* None is assumed: without `prescription=…` planning, and the environment, ask for
  it, and `dose_statistics` gives NaN for V95, V107 and the conformity index. Phantom files alike.
- *Limits.* An organ without one is not spared by the standard objective; a `PlanningWarning` names
  it.
- *Unit.* `unit="Gy"` (absorbed dose) or `"Gy (RBE)"`; it stands in the file, in plans, statistics,
  texts and pictures, and holds for prescription and limits too.

**Import.** `DoseInfluence.from_matrad("case.mat", prescription=…, limits={"cord": 45})` reads `dij`
and `cst`; files of MATLAB's HDF5 form (`-v7.3`) need h5py (`pip install 'oncogym[matlab]'`).
`DoseInfluence.from_pyradplan(dij, cst, …)` takes pyRadPlan's objects. Positions decide where a
structure lies: origin and direction cosines of its grid (of matRad the coordinates x, y, z) and of
the doses. Where voxels coincide, structures are moved exactly; where they do not, that is an error,
or with `resample=True` each dose voxel belongs to the structures of the nearest CT voxel, and a
warning names structures that reach beyond the dose grid. A constant RBE (`dij.RBE`) is applied, the
dose then is in Gy (RBE). Of a variable RBE (alpha and beta matrices) there is no influence matrix:
the physical dose is taken, with a warning. `quantity="physical"` or `"constant_rbe"` ask for one.

**Planning** does not depend on units: what an objective is without dose is the measure of its
values, and scale and tolerance of the search, the temperatures of worst-case planning, aim, free
dose and ridge of the standard objective are relative to it, to the prescription and to the largest
entry of the matrix. `Plan.converged` is measured by `Plan.optimality`, not taken from the search.

**Copies** (`copy.deepcopy`, `pickle`) of an environment hold the state of its lanes and refer to
the tables of the model; a process that unpickles one makes those that it does not have yet.

## Action Space

`Box(0, 1, (8,), float32)` (with a phantom):

| index | value | range |
|---|---|---|
| 0 | dose of the fraction / daily dose of 2 Gy | 0 to `max_dose` (2) |
| 1, 2 | couch correction along x and y | -`max_shift` to `max_shift` (1 cm); 0.5 is none |
| 3 | range correction | -`max_range` to `max_range` (8 %); 0.5 is none |
| 4 | share of the robust plan | 0 to 2; 0.5 is one |
| 5 to 7 | shares of the plans nominal, single-field uniform, equal | 0 up to 0.5, then to 1 |

Shares are divided by their sum; without any the robust plan has all. So the middle of the space is
the static robust plan: one daily dose, no corrections.

Published: `Box(0, 1, (40,), float32)`: the factor of each weight, 1/4 to 4, logarithmically.

## Observation Space

`observation="measurable"` (default): `Box((25,), float32)` with two organs.

| index | value |
|---|---|
| 0 | fractions given / all |
| 1, 2 | measured displacement of today [cm], with a standard deviation of `shift_noise` (1 mm) |
| 3, 4 | mean of all measured so far [cm] |
| 5, 6 | last couch correction [cm] |
| 7, 8 | last range correction x 10, last dose multiple |
| 9 to 12 | accumulated D95, D98, D50 and D2 of the target / what is due by now |
| 13 to 16 | D98, D95, D50 and D2 of the last fraction / daily dose |
| 4 an organ | largest and mean accumulated dose / limit due by now; of the last fraction |

What it takes for granted in a clinic:

| number | instrument | interval | error |
|---|---|---|---|
| displacement of the day | cone-beam CT before the beam | each fraction | 1 mm (`shift_noise`) |
| dose statistics | log files and the CT of the day | each fraction | 1 % (`dose_noise`) |
| couch, range correction, shares | treatment record | each fraction | exact |

The range error itself and the systematic displacement are measured nowhere; statistics of small
doses have no limit of detection, since they are computed. Doses are read with that relative
error. `observation="full"` appends the true
displacement of today, the systematic one (each x, y [cm]) and the range error x 10.

Published: `Box((51,), float32)`: decisions taken / all, ln of each weight / its start (40), target
D95, D98, D50 and D2 / prescription, largest and mean dose of each organ / limit, mean dose of
normal tissue / prescription, ln(cost / cost at the start); `"full"` appends the derivative of
ln(cost) by the ln of each weight.

## Rewards

The weighted sum of named terms, all of the accumulated dose; `info["reward_terms"]` has them
unweighted.

| term | meaning |
|---|---|
| coverage | gain of D95 towards the prescription [Gy] |
| hot_spot | minus the growth of D2 beyond 107 % [Gy] |
| organ_excess | minus the growth of the largest organ doses beyond their limits [Gy] |
| organ_mean | minus the mean doses of the organs [Gy] |
| normal_tissue | minus the mean dose of normal tissue [Gy] |
| planning | decrease of the source's cost |

Weights: see Weights below, or `oncogym envs ID`.

So the return is the prescription (60) minus the score of the accumulated dose, in Gy.
`info["cost"]` is the dose [Gy] by which a decision exceeds the organs' limits.

## With plain Stable-Baselines3

Its defaults with four environments in a `DummyVecEnv` learn: on the cohort PPO returns 50.5 after
300 000 steps and SAC 50.4 after 50 000 (three seeds each), the clinical protocol 49.5; but both
lose successes, and the best rule returns 54.6. `examples/sb3_ppo.py` (with `--env`) shows settings
that learn more, `oncogym train` uses tuned ones.

## Starting State

`cohort="nominal"`: the phantom as it stands (target, abutting brainstem, parotid), systematic
displacements with a standard deviation of 3 mm along each axis, range errors of 3 %, random
displacements of 2 mm. The cohorts `population`, `validation` and `held_out` draw one of 24, 8 and
16 other anatomies, and the three magnitudes log-normally with a coefficient of variation of 30 %.
The magnitudes are those of robust planning (3 to 5 mm, 3 to 3.5 %). Published: equal weights whose
mean target dose is as prescribed; planning happens before any error, so all patients are alike.

## Episode End

Terminates after the last fraction (30) or refinement (10). Success: D95 of at least 95 % of the
prescription, D2 of at most 107 %, every organ within its limit.

## Arguments

See `IMPTTask`: `formulation`, `objective`, `observation`, `phantom`, `influence`, `fractions`,
`max_dose`, `max_shift`, `max_range`, `shift_noise`, `dose_noise`, `max_factor`,
`success_coverage`, `hot_spot`, `plan_phases`, `reward_weights`; and of every environment: `cohort`,
`patient`, `render_mode`. A phantom of your own is a JSON file:

```json
{"name": "mine", "shape": [80, 80], "spacing": [0.5, 0.5], "density": 0.0, "prescription": 60,
 "regions": [{"shape": {"ellipse": {"center": [20, 20], "semi_axes": [15, 15]}}, "density": 1.0}],
 "structures": [
  {"name": "PTV", "role": "target", "shape": {"box": {"lower": [18, 18], "upper": [22, 21]}}},
  {"name": "cord", "role": "oar", "limit": 45, "shape": {"polygon": [[23, 18], [25, 18], [24, 21]]}}
 ]}
```

## Vectorized environment

`gymnasium.make_vec("oncogym/IMPTBeamWeighting-v0", num_envs=256)` advances all lanes in one
compiled call on all cores; `autoreset_mode` is `"SameStep"` (default), `"NextStep"` or
`"Disabled"`.

## Version History

* v0: first version.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from oncogym.envs import streams
from oncogym.envs.cohort import Cohort, standard_cohorts
from oncogym.envs.impt_beam_weighting.model import (
    RANDOM_SD,
    RANGE_SD,
    SYSTEMATIC_SD,
    IMPTPatient,
)
from oncogym.envs.impt_beam_weighting.picture import maps, picture, traces
from oncogym.envs.impt_beam_weighting.protocols import PROTOCOLS
from oncogym.envs.impt_beam_weighting.provenance import CONSTANTS, LITERATURE
from oncogym.envs.impt_beam_weighting.task import IMPTTask
from oncogym.envs.treatment import Effort, Treatment, Variant

_NOMINAL = IMPTPatient().to_array()
# Coefficient of variation of the magnitudes of errors between patients of a population.
_VARIATION = 0.3
# Numbers of the anatomies: each takes a second and 7 MB, so there are few.
_POOLS = {
    streams.STREAM_PATIENT: (1, 24),
    streams.STREAM_VALIDATION: (101, 8),
    streams.STREAM_HELD_OUT: (201, 16),
}
# No table reaches further, and no patient is treated with such errors.
_MOST_SIGMAS = 3.0


def _errors(
    seeds: NDArray[np.uint64], episodes: NDArray[np.uint64], stream: int
) -> NDArray[np.float64]:
    """Standard normal draws ``(k, 6)``: displacement along two axes, range, three magnitudes."""
    drawn = streams.normals(seeds, episodes, stream, 6)
    return np.clip(drawn, -_MOST_SIGMAS, _MOST_SIGMAS)


def sample_nominal(
    seeds: NDArray[np.uint64], episodes: NDArray[np.uint64], stream: int
) -> NDArray[np.float64]:
    """Rows ``(k, 6)`` of the phantom itself with new systematic errors.

    Args:
        seeds, episodes: Random keys of the patients ``(k,)``.
        stream: Random stream of the cohort.
    """
    rows = np.tile(_NOMINAL, (len(seeds), 1))
    drawn = _errors(seeds, episodes, stream)
    rows[:, 1:3] = SYSTEMATIC_SD * drawn[:, :2]
    rows[:, 4] = RANGE_SD * drawn[:, 2]
    return rows


def sample_population(
    seeds: NDArray[np.uint64], episodes: NDArray[np.uint64], stream: int
) -> NDArray[np.float64]:
    """Rows ``(k, 6)`` of other anatomies and magnitudes, see the page.

    Args:
        seeds, episodes: Random keys of the patients ``(k,)``.
        stream: Random stream of the cohort.
    """
    rows = np.tile(_NOMINAL, (len(seeds), 1))
    drawn = _errors(seeds, episodes, stream)
    sigma = np.sqrt(np.log1p(_VARIATION**2))
    size = np.exp(sigma * drawn[:, 3:])
    first, count = _POOLS[stream]
    # The draws of errors fill three blocks of the stream; this is from further on.
    chosen = streams.uniforms(seeds, episodes, stream, 9)[:, 8]
    rows[:, 0] = first + np.floor(count * chosen)
    rows[:, 1:3] = SYSTEMATIC_SD * size[:, :1] * drawn[:, :2]
    rows[:, 4] = RANGE_SD * size[:, 1] * drawn[:, 2]
    rows[:, 5] = RANDOM_SD * size[:, 2]
    return rows


TREATMENT = Treatment(
    name="impt_beam_weighting",
    title="IMPT beam weighting",
    task=IMPTTask,
    variants=(
        Variant(
            "oncogym/IMPTBeamWeighting-v0",
            "30 fractions of a plan library under hidden errors, an organ abutting the target",
            baseline="robust",
            benchmark=False,
        ),
        Variant(
            "oncogym/IMPTBeamWeightingPublished-v0",
            "the source's 40 weights, refined in ten decisions, return = decrease of its cost",
            options={"formulation": "published"},
            baseline="equal",
            benchmark=False,
        ),
        Variant(
            "oncogym/IMPTBeamWeightingCohort-v0",
            "as IMPTBeamWeighting-v0 with new anatomy and error magnitudes at every reset",
            options={"cohort": "population", "plan_phases": 3},
            evaluation_cohort="held_out",
            baseline="robust",
            # A course of 30 fractions takes a millisecond.
            effort=Effort(
                # So that plans for several futures take several generations, too.
                control={"budget": 480, "population": 12, "scenarios": 4, "mean_share": 0.5},
                limits={
                    "quick": {
                        "patients": 12,
                        "plan_patients": 12,
                        "plan_generations": 10,
                        "training_steps": {"ppo": 500_000},
                        "control": {"budget": 384, "replan_every": 5},
                    },
                    "full": {
                        "patients": 24,
                        "plan_patients": 12,
                        "plan_generations": 10,
                        "training_steps": {"ppo": 1_000_000},
                        "control": {"budget": 384, "replan_every": 3},
                    },
                },
            ),
        ),
    ),
    cohorts={
        **standard_cohorts(tuple(_NOMINAL), sample_population),
        "nominal": Cohort(
            "nominal",
            "the phantom itself with new errors of delivery at every reset",
            sample_nominal,
            streams.STREAM_PATIENT,
        ),
        "unseen": Cohort(
            "unseen",
            "fixed courses of the phantom itself with errors that training never meets",
            sample_nominal,
            streams.STREAM_HELD_OUT,
            1000,
        ),
    },
    protocols=PROTOCOLS,
    picture=picture,
    traces=traces,
    maps=maps,
    page=__doc__ or "",
    provenance=CONSTANTS,
    literature=LITERATURE,
)
