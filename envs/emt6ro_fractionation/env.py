"""EMT6/Ro spheroid fractionation: when to give how much of a total dose.

## Description

A spheroid of the mouse mammary tumour line EMT6/Ro grows on a lattice of 51 x 51 sites, each of
which holds 20 cells or nothing. Glucose and oxygen diffuse in from the medium and are consumed;
cells run through G1, S, G2, M and divide into a vacant neighbour, pause where crowded or starved,
and die where they cannot pause. A dose leaves damage that waits, undiminished in resting cells, for
the next phase change; there the cells repair for hours and survive with probability exp(-0.4993 R).
A dose during a repair interrupts it. 10 Gy are spent within 120 h; the tumour is followed to 240 h.
The automaton is stochastic; all its random numbers come from streams keyed by the seed.

The model reproduces the tables of Ozimek, Banas, Gora, Angus and Piotrowska, "Identifying Promising
Candidate Radiotherapy Protocols via GPU-GA in-silico" (`oncogym reproduce emt6ro`). By default the
environments compute it 20 times faster by letting the cell clocks run 20 times as fast as the
fields, which relax within a minute (`fidelity="accelerated"`); `"exact"` and, for training,
`"screening"` are the alternatives. `oncogym.envs.emt6ro_fractionation.simulate` is the open-loop
entry.

**What `v0` changes against the source (`Published-v0`), and why.**

* The source's fitness counts the sites at day 10 and nothing before. It is highest when the doses
  come late, because regrowth has then only just begun: the best protocols of the source wait up to
  three days before the first dose, with a tumour that has grown meanwhile. `v0` charges the mean
  burden over the whole ten days, and the sites at the end as if they stayed for a further quarter
  of that time, and pays for extinction. The source's BMII-1, which starts at once, then scores
  as well as its GA4.0-1, which waits 75 h and has 120 sites less at the end.
* A decision gives its dose at once and then waits. In the source's pairs the wait comes first, so a
  policy would choose a dose for a state it has not seen.
* Waits are 6 to 30 h, doses multiples of 0.25 Gy; longer gaps take several decisions.
* The dose has a price beside its total: the biologically effective dose in late-responding normal
  tissue (alpha/beta 3 Gy) should stay within 25 Gy, which all protocols of the source do. What
  exceeds it is the cost. The limit is a choice, not the source's.

## Action Space

`Box(0, 1, (2,), float32)`: the dose as a share of `max_dose` (5 Gy), rounded to the grid of 0.25 Gy
(published: 0.01 Gy) and cut to what is left; the wait between `min_wait` and `max_wait` (6 to 30 h;
published: 0 to 120 h), rounded to half an hour. Values outside are clipped and counted in
`info["clipped"]`; non-finite ones raise an error.

## Observation Space

`observation="full"` (default): `Box((23,), float32)`, a summary of the automaton's state.

| index | value | range |
|---|---|---|
| 0 | remaining dose / total dose | 0 to 1 |
| 1 | time / 240 h | 0 to 1 |
| 2 | time since the last dose / 120 h (1 before the first) | 0 to 1 |
| 3 | last dose / `max_dose` | 0 to 1 |
| 4 | late BED / its limit | 0 to 10 |
| 5 | occupied sites / 1500 | 0 to 2 |
| 6 | occupied sites / those at the start | 0 to 10 |
| 7 to 11 | shares of G1, S, G2, M, D | 0 to 1 |
| 12 to 15 | shares of the modes aerobic, anaerobic, and both quiescent | 0 to 1 |
| 16, 17, 18 | damaged share, mean damage / total dose, share in repair | 0 to 1 |
| 19 | radius / 25.5 sites | 0 to 2 |
| 20, 21 | glucose and oxygen of the occupied sites / medium | 0 to 10 |
| 22 | their acid / medium, tenth part | 0 to 1 |

`observation="image"`: `Box(0, 1, (8, 51, 51), float32)`: occupied, phase / 5, quiescent, damage /
total dose, glucose and oxygen / medium, and two constant channels, remaining dose and time.

`observation="measurable"`: `Box((6,), float32)`, what a microscope and the log of the treatment
tell: 0 to 3 as above, 4 the radius / 25.5 sites, read with a relative error of `size_noise` (5 %),
5 the same relative to the first reading. It is the default of the cohort. A spheroid in a well is
photographed whenever one likes; its radius, read off the picture, is the only number that does not
disturb it. Phases, damage and fields need stains that kill it.

The patient's parameters are never observed.

## Rewards

The weighted sum of named terms; `info["reward_terms"]` has them unweighted.

| term | meaning |
|---|---|
| fitness | 1500 - sites at 240 h, on the last step |
| burden | minus the part of the mean sites over 240 h since the last decision, relative |
| regrowth | minus the sites at 240 h relative to the start, on the last step |
| extinction | 1 if the tumour has died out, on the last step |
| excess | minus the late BED beyond its limit [Gy] |

Weights: see Weights below, or `oncogym envs ID`.

`info["cost"]` is the late BED [Gy] by which the decision exceeds the limit.

## With plain Stable-Baselines3

A single environment works as it is, but whether the defaults of Stable-Baselines3 learn here has
not been measured. `examples/sb3_ppo.py` (with `--env`) shows settings for it, `oncogym train` uses
tuned ones.

## Starting State

`cohort="nominal"`: one of the ten shipped tumours, about 320 sites ten days after ten central
sites, with the source's parameters; `"unseen"`: others like them. The cohorts `population`,
`validation` and `held_out` draw the exponent of survival, the duration of repair and its growth
with damage log-normally about the source's with a coefficient of variation of 20 %, and a tumour of
8 to 12 days, in `population` one of 64. The spread is a choice, not a fit: radiosensitivities of
cell lines differ by more.

## Episode End

Terminates at 240 h. The course runs to its end within the step after which no dose is left, no
decision within 120 h remains, or no cell is alive. Success: no more sites at the end than at the
start, and the limit kept.

## Range of validity

* *Lattice.* A tumour that occupies the border of the lattice is cut off there: untreated ones reach
  it 20 to 22 days after they were seeded, at some 700 sites, and stop at 1180. `simulate` and
  `grow` warn (`ModelRangeWarning`), `reset` refuses patients who begin so, environments flag it,
  as in untreated courses of the cohort's oldest tumours.
* *Repair.* The duration of the repair, 3.34 h times exp(0.1492 R), is used by the source up to 4.5
  Gy at once and grows without bound: above 28.7 Gy it outlasts ten days, no cell ever dies, and the
  tumour seems healed. Already from about 19 Gy at once a larger dose leaves more sites at the end,
  because tumours die layer after layer. The law is taken to hold while a repair takes a quarter of
  the time followed, at least 30 h: up to 19.36 Gy within a cell cycle (20 h) in 240 h. `max_dose`
  cannot be larger; `simulate` warns of, and environments flag, what patients with slower repair
  get beyond it. Resting cells keep all damage and may be beyond the law at smaller doses a cycle.
* *Survival* falls exponentially, without a shoulder, in all phases; the source uses it likewise.

`info["outcome"]["out_of_range"]` is 1 once a course is flagged; it does not end the episode. In
results of `simulate` it is `out_of_range`.

## Arguments

See `EMT6RoTask`: `formulation`, `objective`, `observation`, `fidelity`, `compression`,
`total_dose`, `max_dose`, `dose_step`, `treatment_hours`, `hours`, `min_wait`, `max_wait`,
`bed_limit`, `alpha_beta`, `size_noise`, `success_ratio`, `plan_doses`, `device`, `reward_weights`;
and of every environment: `cohort`, `patient`, `render_mode`.

## Vectorized environment

`gymnasium.make_vec("oncogym/EMT6RoFractionation-v0", num_envs=64)` advances all lanes in one
compiled call on all cores; `autoreset_mode` is `"SameStep"` (default), `"NextStep"` or
`"Disabled"`.

`device="cuda"` computes the lanes on an NVIDIA GPU (`pip install "oncogym[cuda]"`), a block of
threads for each, and leaves the tumours there between decisions; `"auto"` takes a GPU where there
is one. The rules and the random draws are those of the CPU; amounts differ by float32 rounding, so
that courses part after a while and outcomes agree in distribution.

## Version History

* v0: first version. Before its first release the cohort's observation became `"measurable"`, and
  the summary of the automaton's state was renamed `"full"`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from oncogym.envs import streams
from oncogym.envs.cohort import Cohort, standard_cohorts
from oncogym.envs.emt6ro_fractionation import step_kernels
from oncogym.envs.emt6ro_fractionation.model import EMT6RoPatient
from oncogym.envs.emt6ro_fractionation.picture import picture, traces
from oncogym.envs.emt6ro_fractionation.protocols import PROTOCOLS
from oncogym.envs.emt6ro_fractionation.provenance import CONSTANTS, LITERATURE
from oncogym.envs.emt6ro_fractionation.task import EMT6RoTask
from oncogym.envs.emt6ro_fractionation.tumour_library import LIBRARY_SIZE
from oncogym.envs.treatment import Effort, Treatment, Variant

_NOMINAL = EMT6RoPatient().to_array()
_TUMOUR = EMT6RoPatient.FIELDS.index("tumour")
# Coefficients of variation of survival, repair delay, its growth, and recovery; see the page.
_VARIATION = np.array([0.2, 0.2, 0.2, 0.0])
_AGES = np.arange(8.0, 12.5)  # d
# Tumours of training are few enough to be kept in memory; others have numbers beyond.
_POOL = 64
_FIRST_OF_POOL = 1_000
_FIRST_BEYOND = 100_000
_BEYOND = 1_000_000
_FIRST_UNSEEN = 10_000_000


def sample_library(
    seeds: NDArray[np.uint64], episodes: NDArray[np.uint64], stream: int
) -> NDArray[np.float64]:
    """Rows ``(k, 6)`` of the source's patient with the shipped tumours in turn.

    Args:
        seeds, episodes: Random keys of the patients ``(k,)``.
        stream: Random stream of the cohort.
    """
    rows = np.tile(_NOMINAL, (len(seeds), 1))
    first = streams.uniforms(seeds, np.zeros_like(episodes), stream, 1)[:, 0] * LIBRARY_SIZE
    turn = (first.astype(np.uint64) + episodes) % np.uint64(LIBRARY_SIZE)
    rows[:, _TUMOUR] = 1.0 + turn.astype(np.float64)
    return rows


def sample_unseen(
    seeds: NDArray[np.uint64], episodes: NDArray[np.uint64], stream: int
) -> NDArray[np.float64]:
    """Rows ``(k, 6)`` of the source's patient with tumours that no other cohort has.

    Args:
        seeds, episodes: Random keys of the patients ``(k,)``.
        stream: Random stream of the cohort.
    """
    rows = np.tile(_NOMINAL, (len(seeds), 1))
    rows[:, _TUMOUR] = _FIRST_UNSEEN + episodes
    return rows


def sample_population(
    seeds: NDArray[np.uint64], episodes: NDArray[np.uint64], stream: int
) -> NDArray[np.float64]:
    """Rows ``(k, 6)`` of varied patients, see the page.

    Args:
        seeds, episodes: Random keys of the patients ``(k,)``.
        stream: Random stream of the cohort.
    """
    training = stream == streams.STREAM_PATIENT
    sigma = np.sqrt(np.log1p(_VARIATION**2))
    count, first = (_POOL, _FIRST_OF_POOL) if training else (_BEYOND, _FIRST_BEYOND)
    rows = step_kernels.patient_draws(
        seeds, episodes, stream, _NOMINAL[:4], sigma, _AGES, float(count)
    )
    rows[:, _TUMOUR] += first
    return rows


# A benchmark with 256 patients and all of the source's protocols would take hours here.
_EFFORT = Effort(
    protocols=(
        "no_treatment",
        "bmi",
        "bmii",
        "bmii_1",
        "ga2.0_1",
        "ga4.0_1",
        "two_5gy",
        "equal_fractions",
        "by_response",
    ),
    search_options={"fidelity": "screening"},
    optimizer="ga",
    algorithms=("ppo", "cma_policy"),
    # A course takes a tenth of a second, and a replay as long as the course.
    control={
        "budget": 64,
        "population": 8,
        "scenarios": 4,
        "belief": {"particles": 16, "moves": 0, "redraws": 0},
    },
    limits={
        "quick": {
            "patients": 8,
            "plan_patients": 12,
            # Two searches a course; one at each of the twenty decisions takes a minute a patient.
            "control": {"budget": 8, "population": 4, "scenarios": 4, "replan_every": 10},
            "plan_generations": 5,
            "algorithms": ("ppo",),
            "training_steps": {"ppo": 8_000},
        },
        "full": {
            "patients": 16,
            "plan_patients": 12,
            "control": {"budget": 8, "population": 4, "scenarios": 6, "replan_every": 5},
            "plan_generations": 5,
            "training_steps": {"ppo": 20_000},
        },
    },
)

TREATMENT = Treatment(
    name="emt6ro_fractionation",
    title="EMT6/Ro spheroid fractionation",
    task=EMT6RoTask,
    variants=(
        Variant(
            "oncogym/EMT6RoFractionation-v0",
            "dose and wait, mean burden and regrowth, the ten shipped tumours",
            baseline="bmii",
            benchmark=False,
        ),
        Variant(
            "oncogym/EMT6RoFractionationPublished-v0",
            "wait and dose, return = the source's fitness, 1500 - sites at day 10",
            options={"formulation": "published"},
            baseline="bmii",
            benchmark=False,
        ),
        Variant(
            "oncogym/EMT6RoFractionationCohort-v0",
            "as EMT6RoFractionation-v0 with a new patient at every reset",
            options={"cohort": "population", "observation": "measurable"},
            evaluation_cohort="held_out",
            baseline="bmii",
            effort=_EFFORT,
        ),
    ),
    cohorts={
        **standard_cohorts(tuple(_NOMINAL), sample_population),
        "nominal": Cohort(
            "nominal",
            "the ten shipped tumours in turn, with the source's parameters",
            sample_library,
            streams.STREAM_PATIENT,
            distinct=LIBRARY_SIZE,
        ),
        "unseen": Cohort(
            "unseen",
            "other tumours of ten days, with the source's parameters",
            sample_unseen,
            streams.STREAM_HELD_OUT,
            1000,
        ),
    },
    protocols=PROTOCOLS,
    picture=picture,
    traces=traces,
    page=__doc__ or "",
    provenance=CONSTANTS,
    literature=LITERATURE,
)
