"""Chemotherapy dosing: when to give how much of one drug over 60 days.

## Description

A tumour of 10 million cells grows logistically, a drug given as a bolus is eliminated
exponentially and kills with a saturating (Emax) rate, and exposure builds up a toxicity that
recovers slowly. Because the kill saturates, many small doses beat few large ones; because toxicity
peaks days after a dose, the limit must be foreseen. Between doses the model is solved exactly, not
integrated numerically.

    dC/dt = -ke C (+ dose)
    dX/dt = a C - b X
    dN/dt = r N (1 - N/K) - Emax C/(EC50 + C) N

C is the plasma concentration [mg/L], X the toxicity (limit 3), N the number of tumour cells.

## Action Space

`Box(0, 1, (1,), float32)`: the dose of this decision day as a fraction of `max_dose` (10 mg/L).
With `decisions="wait"` `Box(0, 1, (2,), float32)`: the dose, given at once, then the waiting time
until the next decision as a fraction of `max_wait` (30 d). The published formulation keeps the
source's order: first the wait, then the dose at its end. A dose never exceeds what the budget
leaves. Values outside the box are clipped and counted in `info["clipped"]`; non-finite ones raise
an error.

## Observation Space

`Box((7,), float32)`:

| index | full | measurable |
|---|---|---|
| 0 | time / horizon | the same |
| 1 | concentration / max_dose | last dose / max_dose |
| 2 | toxicity / limit | with log-normal noise (`toxicity_noise`) |
| 3 | ln(N/N0) / max(ln N0, 1) | of a tumour marker: noisy, late, blind below its limit |
| 4 | budget left, fraction | the same |
| 5 | doses left, fraction (1 without a limit) | the same |
| 6 | time since the last dose / horizon (1 before the first) | the same |

The patient's parameters (elimination, EC50, Emax, growth, recovery) are never observed.

What `"measurable"` (default of the cohort) takes for granted in a clinic:

| number | instrument | interval | error | limit of detection |
|---|---|---|---|---|
| toxicity | blood count | each decision | 10 % (`toxicity_noise`) | none |
| tumour cells | blood marker, 3 d late | each decision | 20 % (`marker_noise`) | 10^6 cells |
| doses, days, budget | treatment record | each decision | exact | |

The limit is `marker_limit`, the delay `marker_delay`. A tumour of 1 mg, some 10^6 cells, is what
chorionic gonadotrophin, a very sensitive marker, shows (ClinLab Navigator, "Human Chorionic
Gonadotropin Tumor Marker"); after one decade of kill of the source's 10^7 cells it is mute. Nothing
in a clinic reads 10^-3 cells, which is where a cured course ends; whether it is cured shows in no
observation. Errors, delay and interval are choices of the size that laboratories state, not fits;
the drug's concentration is not measured, as is usual outside therapeutic drug monitoring.

What these measurements tell of the parameters, for one patient of the cohort who gets 0.5 mg/L a
day (`python -m oncogym.evaluation.belief_picture oncogym/ChemoDosingCohort-v0 --patient 0`):
elimination and toxicity recovery soon, Emax and EC50 little, growth nothing while a tumour is
treated.

![Belief about five parameters before and after treatment](chemo_dosing-belief.png)

## Rewards

The weighted sum of named terms; `info["reward_terms"]` has them unweighted.

| term | meaning |
|---|---|
| log_kill | decrease of log10 N over the step |
| toxicity | minus the integral of (X - limit)+ [d] |
| dose | minus the dose [mg/L] |
| tumour_control | exp(-N) at the end |
| failure | -1 when the course fails |
| final_cells | -N/N0 at the end |
| peak_toxicity | minus the rise of the highest toxicity so far |
| exposure | mean concentration, increment |
| violation | minus squared excess of toxicity and budget at the end |

Weights: see Weights below, or `oncogym envs ID`.

The published return is minus the source's cost. `info["cost"]` is the excess toxicity of the step
[d] plus the dose over budget [mg/L] (only with a soft budget), whatever the weights.

## With plain Stable-Baselines3

Its defaults with four environments in a `DummyVecEnv` learn: on the cohort PPO returns 6.4 after
300 000 steps and SAC 8.8 after 50 000 (three seeds each), the clinical protocol 3.1; but the best
rule 12.8. Useful doses are a twentieth of the range. `examples/sb3_ppo.py` shows settings that
learn more, `oncogym train` uses tuned ones.

## Starting State

No drug, no toxicity, `initial_cells` tumour cells. The nominal patient is the source's; the cohort
draws elimination (30 %), EC50 (40 %), Emax (20 %), growth (30 %) and recovery (30 %) log-normally.

## Episode End

Terminates on the last day (`horizon`), or earlier as a failure when toxicity passes 1.33 times
its limit or the tumour 0.9 times its carrying capacity (not in the published formulation). Success:
tumour-control probability of at least `success_tcp` (0.5) and the toxicity limit never passed.

## Range of validity

One compartment, elimination in proportion to the concentration, and a kill that depends on the
concentration alone: laws for doses of the source's size (up to 10 mg/L at once, 30 mg/L in all) and
an elimination that does not saturate. Toxicity has no ceiling and no death in it; at 1.33 times its
limit the course fails, and what follows (only in the published formulation) is arithmetic. Cells
are a mean: below one cell read `tumour_control`, not their number; they never exceed the carrying
capacity. `info["outcome"]["out_of_range"]` is 1 once a course leaves the scale of the observation:
concentration above 100 times `max_dose`, toxicity above 100 times its limit, or ln N changed by
more than ten times ln N0 (at least ten). `simulate` refuses doses above 1e6 mg/L and horizons above
1e6 days.

## Arguments

See `ChemoTask`: `formulation`, `decisions`, `objective`, `observation`, `horizon`,
`decision_interval`, `max_dose`, `dose_budget`, `hard_budget`, `max_doses`, `max_wait`, `first_day`,
`toxicity_limit`, `stop_on_failure`, `success_tcp`, `marker_noise`, `marker_delay`, `marker_limit`,
`toxicity_noise`, `reward_weights`; and of every environment: `cohort`, `patient`, `render_mode`.

## Vectorized environment

`gymnasium.make_vec("oncogym/ChemoDosing-v0", num_envs=4096)` steps all lanes in one compiled call;
`autoreset_mode` is `"SameStep"` (default), `"NextStep"` or `"Disabled"`.

## Version History

* v0: first version. Before its first release the cohort's observation became `"measurable"`, and
  its marker got a limit of detection.
"""

from __future__ import annotations

from oncogym.envs.chemo_dosing.model import ChemoPatient
from oncogym.envs.chemo_dosing.picture import picture, traces
from oncogym.envs.chemo_dosing.protocols import MEASURED_LIMIT, PROTOCOLS
from oncogym.envs.chemo_dosing.provenance import CONSTANTS, LITERATURE
from oncogym.envs.chemo_dosing.task import ChemoTask
from oncogym.envs.cohort import LogNormal, standard_cohorts
from oncogym.envs.treatment import Effort, Treatment, Variant

_NOMINAL = tuple(float(value) for value in ChemoPatient().to_array())
# Coefficients of variation, in the order of ChemoPatient.FIELDS.
_SPREAD = {
    "elimination_rate": 0.3,
    "ec50": 0.4,
    "emax": 0.2,
    "growth_rate": 0.3,
    "toxicity_recovery": 0.3,
}
_VARIATION = tuple(_SPREAD.get(name, 0.0) for name in ChemoPatient.FIELDS)

TREATMENT = Treatment(
    name="chemo_dosing",
    title="Chemotherapy dosing",
    task=ChemoTask,
    variants=(
        Variant(
            "oncogym/ChemoDosing-v0",
            "daily dose over 60 days, clinical reward, the source's patient",
            baseline="source_uniform",
            benchmark=False,
        ),
        Variant(
            "oncogym/ChemoDosingPublished-v0",
            "six (wait, dose) decisions, return = minus the source's cost",
            options={"formulation": "published"},
            baseline="source_uniform",
            benchmark=False,
        ),
        Variant(
            "oncogym/ChemoDosingCohort-v0",
            "as ChemoDosing-v0 with a new patient at every reset",
            options={"cohort": "population", "observation": "measurable"},
            evaluation_cohort="held_out",
            baseline="source_uniform",
            effort=Effort(
                algorithms=("ppo", "cma_policy"),
                limits={"quick": {"training_steps": {"cma_policy": 12_000_000}}},
            ),
        ),
    ),
    cohorts=standard_cohorts(_NOMINAL, LogNormal(_NOMINAL, _VARIATION)),
    protocols=PROTOCOLS,
    measured_limit=MEASURED_LIMIT,
    picture=picture,
    traces=traces,
    page=__doc__ or "",
    provenance=CONSTANTS,
    literature=LITERATURE,
)
