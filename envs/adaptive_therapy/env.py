"""Adaptive therapy: when to give how much of a drug to a tumour with a resistant clone.

## Description

Sensitive and resistant cells share one capacity, and the drug kills sensitive cells in proportion
to their growth. A full dose shrinks the tumour and frees the resistant clone from its competitors;
holidays keep these, and the tumour, alive. A visit every 28 days, for ten years or until the burden
passes 1.2 times its start.

    dS/dt = rS (1 - N) (1 - dD D) S - turnover rS S
    dR/dt = (1 - cost) rS (1 - N) R - turnover rS R

S and R are the clones in units of the capacity, N = S + R, D the dose, 1 the full one. Between
decisions both follow from one scalar, the growth clock w = int (1 - N) dt, which is integrated by
Runge-Kutta steps of `substep` (2 d); the instant of progression is found within its step.

## Action Space

`Box(0, 1, (1,), float32)`: the dose until the next visit as a fraction of the full dose. With
`doses="on_off"` (published) it is rounded at 0.5. Values outside the box are clipped and counted in
`info["clipped"]`; non-finite ones raise an error.

## Observation Space

`"full"`, `Box((6,), float32)`:

| index | value |
|---|---|
| 0 | time / length of the plan |
| 1 | N / n0 |
| 2 | ln(R/S) / 10 |
| 3 | dose of the last interval (0 at the start) |
| 4 | visits since the last interval without drug |
| 5 | days of full dose so far / length of the plan |

`reveal=True` adds n0, ln fR, cost and turnover. `"measurable"` (cohort), `Box((19,), float32)`:

| index | value |
|---|---|
| 0 to 5 | ln of the marker at the last six visits, newest first, within [-8, 2] |
| 6 to 11 | doses of the last six intervals, newest first |
| 12 | time / length of the plan |
| 13 to 18 | 1 where there was such an interval, 0 where it is missing |

`"marker"`, `Box((1,), float32)`: N / n0 at the visit, without noise (published).

What `"measurable"` takes for granted in a clinic:

| number | instrument | interval | error | limit of detection |
|---|---|---|---|---|
| marker | blood marker (PSA) | each visit | 10 % (`cv`), log-normal, mean 1 | none |
| doses, days | treatment record | each visit | exact | |

The error is that of PSA: biological variation 7.3 % and assay 5 % give 8.9 % (Nixon 1997, J Urol
157:2183). The starting marker is taken as exact, a mean of several values.

## Rewards

The weighted sum of named terms; `info["reward_terms"]` has them unweighted.

| term | meaning |
|---|---|
| control | years, each day counted by min(1, (1.2 - N/n0)+ / 0.2) |
| drug | minus 0.2 times the years of full dose |
| visit | 1 at a visit without progression |
| holiday | 1 after an interval without drug, without progression |
| punishment | 1 at progression, and after an interval without drug that ends above n0 |
| completion | 1 at the end of the plan without progression |

The sound reward is `control` + `drug`: a day at or under the starting burden counts 1, a day just
under the limit 0. The source's own is 0.1 `visit` + 0.05 `holiday` + `punish` x `punishment` + 5
`completion`. It pays a visit alike whatever the interval, so returns of different intervals cannot
be compared.

`info["cost"]`: `burden` is the largest excess over n0 in the interval, 1 at progression;
`toxicity` the excess of the dose's running mean (60 d) over 0.9.

**Do not report the time to progression alone.** The longest one comes from no drug at first and
years just under the limit. `mean_burden` stands beside it, and success demands it.

## Starting State

The tumour has n0 of the capacity, a share fR of it resistant. The nominal patient is the source's.
The cohort draws n0 from 0.25 to 0.75, log10 fR from -4 to -1, cost and turnover from 0 to 0.5,
uniformly; patients whom full dose controls for ever, or who would progress within 28 days without
drug, are drawn again (14 % are kept).

## Episode End

Terminates at progression, when N passes `progression` (1.2) times n0, at any time; the published
formulation looks at visits only. Terminates at the end of the plan, too: `decisions` (130) visits,
`censored` is then 1. Success: at least 1.5 times the time to progression of the same patient under
continuous full dose, and a mean burden of at most 1.05 n0 until then.

With `until="death"` a course goes on after progression until N reaches 2 n0 or 0.95 of the
capacity, whichever is less: a limit of ours, no source has one. `ttp` and `mean_burden` still
count up to progression, `course_days` up to death, and `died` is 1 then.

## What the best is worth

The model is small enough for the truth. `find_continuous_optimum` gives the longest time to
progression of a patient without turnover, exact and proved: no schedule passes it (nominal patient:
2268.6 d). `find_feedback_optimum` computes by value iteration what the best doses at visits are
worth from every state, for the sound reward, the time to progression, the source's reward or
weights of one's own. Its table errs by less than 0.5 % at the usual grid; what its doses attain in
the exact model is a lower bound of the optimum, and no agent was found above it by more. The bound
`optimum` plays it, knowing patient and state:

    oncogym evaluate AdaptiveTherapyCohort-v0 optimum at50 above_90 --reference optimum

`oncogym reproduce adaptive --figures` draws the best dose of every state and the courses of five
agents (nominal patient, marker with an error of 10 %):

![Best doses in the plane of burden and resistance, and courses](adaptive_therapy-phase_plane.png)

## Range of validity

Two well-mixed clones, no mutation, no smallest number of cells: after years of full dose S may fall
below one cell and come back. A patient whose turnover is at least (1 - 1.2 n0)(1 - cost) never
progresses under full dose; `simulate` warns. An interval must be shorter than ln 1.2 over the net
growth (40.7 d for the nominal patient), else one holiday loses the patient.

## Arguments

See `AdaptiveTask`: `formulation`, `objective`, `observation`, `interval_days`, `decisions`,
`doses`, `progression`, `until`, `cv`, `reveal`, `punish`, `substep`, `reward_weights`; and of every
environment: `cohort`, `patient`, `render_mode`.

## Vectorized environment

`gymnasium.make_vec("oncogym/AdaptiveTherapy-v0", num_envs=4096)` steps all lanes in one compiled
call; `autoreset_mode` is `"SameStep"` (default), `"NextStep"` or `"Disabled"`.

## Version History

* v0: first version.
"""

from __future__ import annotations

from oncogym.envs.adaptive_therapy.bounds import BOUNDS
from oncogym.envs.adaptive_therapy.cohort import draw_patients
from oncogym.envs.adaptive_therapy.model import AdaptivePatient
from oncogym.envs.adaptive_therapy.picture import traces
from oncogym.envs.adaptive_therapy.protocols import PROTOCOLS
from oncogym.envs.adaptive_therapy.provenance import CONSTANTS, LITERATURE
from oncogym.envs.adaptive_therapy.task import AdaptiveTask
from oncogym.envs.cohort import standard_cohorts
from oncogym.envs.treatment import Effort, Treatment, Variant

_NOMINAL = tuple(float(value) for value in AdaptivePatient().to_array())

TREATMENT = Treatment(
    name="adaptive_therapy",
    title="Adaptive therapy",
    task=AdaptiveTask,
    variants=(
        Variant(
            "oncogym/AdaptiveTherapy-v0",
            "a dose every 28 days against a resistant clone, the source's patient",
            baseline="at50",
            benchmark=False,
        ),
        Variant(
            "oncogym/AdaptiveTherapyPublished-v0",
            "drug or holiday every 30 days, the source's reward and observation",
            options={"formulation": "published"},
            baseline="at50",
            benchmark=False,
        ),
        Variant(
            "oncogym/AdaptiveTherapyCohort-v0",
            "as AdaptiveTherapy-v0 with a new patient at every reset, seen by a noisy marker",
            options={"cohort": "population", "observation": "measurable"},
            evaluation_cohort="held_out",
            baseline="at50",
            effort=Effort(
                algorithms=("ppo", "cma_policy"),
                # Courses take fifty decisions; controllers think for two thirds of the time.
                limits={
                    "quick": {
                        "patients": 16,
                        "plan_patients": 12,
                        "plan_generations": 11,
                        "training_steps": {"ppo": 500_000, "cma_policy": 6_000_000},
                        "control": {
                            "budget": 128,
                            "population": 12,
                            "scenarios": 8,
                            "replan_every": 2,
                        },
                    },
                    "full": {
                        "plan_patients": 48,
                        "plan_generations": 31,
                        "control": {
                            "budget": 512,
                            "population": 12,
                            "scenarios": 16,
                            "replan_every": 2,
                        },
                    },
                },
            ),
        ),
    ),
    cohorts=standard_cohorts(_NOMINAL, draw_patients),
    protocols=PROTOCOLS,
    traces=traces,
    page=__doc__ or "",
    provenance=CONSTANTS,
    literature=LITERATURE,
    bounds=BOUNDS,
)
