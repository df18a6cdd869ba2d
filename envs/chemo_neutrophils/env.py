"""Docetaxel by the blood count: chemotherapy whose toxicity has a unit and a grade.

## Description

The sibling of `ChemoDosing` in clinical terms: a named drug with its pharmacokinetics, neutrophils
in 10^9/L by the semi-mechanistic model of Friberg et al. (2002), and grades of neutropenia. A visit
every week for 18 weeks, six cycles of three weeks: how much docetaxel, in mg per square metre of
body surface, infused over an hour?

    marrow     P' = k P ((1 - E) (C0/N)^gamma - 1),   E = Emax c/(EC50 + c),   k = 4/MTT
               T1' = k (P - T1),  T2' = k (T1 - T2),  T3' = k (T2 - T3)
    blood      N' = k (T3 - N)
    tumour     (ln M)' = r (1 - M/K) - kill C

c is the concentration of docetaxel in umol/L, C the same in mg/L, of a model with three
compartments. P are proliferating cells, T1 to T3 maturing ones, N circulating neutrophils, all in
10^9/L; they return over the feedback gamma. The drug is solved exactly, marrow and tumour by
Runge-Kutta steps that are short while the drug is (neutrophils right to 1e-4). The tumour's law is
a choice of this suite, and so are its constants: only the toxicity is that of a real drug.

A typical patient who gets 100 mg/m^2 falls to 0.88 x 10^9/L on day 7.6, grade 3, and overshoots the
baseline on day 20.

## Action Space

`Box(0, 1, (1,), float32)`: today's dose as a share of `max_dose` (100 mg/m^2); cut to what is left
of `dose_budget` (600 mg/m^2). Values outside the box are clipped and counted in
`info["clipped"]`; non-finite ones raise an error.

## Observation Space

`"full"`, `Box((11,), float32)`; `"measurable"` (cohort), `Box((9,), float32)`. The first four are
the same.

| index | `"full"` | `"measurable"` |
|---|---|---|
| 0 | visits / decisions | the same |
| 1 | last dose / `max_dose` | the same |
| 2 | days since the last dose / length of the course (1 before the first) | the same |
| 3 | budget left / budget | the same |
| 4 | neutrophils / 10 [10^9/L] | today's count / 10 |
| 5, 6 | third and second stage of maturation / 10 | the last two counts before / 10 |
| 7 | first stage / 10 | ln of the tumour at the last scan / its start, / 10 |
| 8 | proliferating cells / 10 | days since that scan / length of the course |
| 9 | ln of the tumour / its start, / 10 | |
| 10 | concentration [mg/L] | |

The patient's parameters are never observed.

What `"measurable"` takes for granted in a clinic:

| number | instrument | interval | error | limit of detection |
|---|---|---|---|---|
| neutrophils | blood count | each visit | 10 % (`count_noise`) | none |
| tumour | computed tomography | 6 weeks (`scan_interval`) | 20 % (`scan_noise`) | none |
| doses, days, budget | treatment record | each visit | exact | |

Errors and intervals are choices of a usual size.

## Rewards

The weighted sum of named terms; `info["reward_terms"]` has them unweighted.

| term | meaning |
|---|---|
| log_kill | decrease of log10 of the tumour's cells over the interval |
| grade4 | minus the days with less than 0.5 x 10^9/L |
| grade3 | minus the days with 0.5 to 1.0 x 10^9/L |
| dose | minus the dose [mg/m^2] |

Weights: see Weights below, or `oncogym envs ID`. `info["cost"]` are the days of grade 4.

Grades: 1 below 2.0, 2 below 1.5, 3 below 1.0, 4 below 0.5 x 10^9/L (CTCAE; PMC2972576, table 5).

## Starting State

No drug, the marrow at rest, `initial_cells` tumour cells. The nominal patient is the typical one of
the publications. The cohort draws the baseline (42 %), the transit time (16 %), EC50 (50 %) and the
clearance (29.5 %) log-normally, with the standard deviations of the logarithm that Norris (DTAT)
takes for simulated patients under docetaxel; growth and kill of the tumour spread by 30 % each, a
choice.

## Episode End

Terminates after the last interval. Success: a log10 kill of at least `success_kill` (1), and never
more than 7 days of grade 4 in a row.

## Range of validity

Neutrophils after docetaxel alone, without growth factor and without infection: grade 4 kills nobody
in the model. Doses above 100 mg/m^2, the label's largest, are marked `out_of_range`; they need
another `max_dose`. Kill in proportion to the exposure makes every schedule with the same total dose
kill alike, so that doses spread evenly, which spare the marrow, look better than they may be.
Fluid, nerves and skin, which limit docetaxel as well, are behind `dose_budget` only.

*Against clinics.* A page that cites the label has a median nadir on day 7 and a median of 7 days
below 0.5 x 10^9/L at 100 mg/m^2. The typical patient here has the nadir on day 7.6, and stays above
0.5: known deviations, which a test keeps (`oncogym reproduce beyond`).

*Against NONMEM.* Under the concentrations of a printed course (DDMODEL00000224, a linear effect of
the drug) the marrow gives NONMEM's objective function to its last digit, and the nadir on day 8.4
with 0.30 x 10^9/L, where the lowest counts, 0.26 on days 7 and 10, have an error of 42 %.

## Arguments

See `NeutrophilTask`: `observation`, `interval_days`, `decisions`, `max_dose`, `dose_budget`,
`count_noise`, `scan_interval`, `scan_noise`, `success_kill`, `reward_weights`; and of every
environment: `cohort`, `patient`, `render_mode`.

## Vectorized environment

`gymnasium.make_vec("oncogym/ChemoNeutrophils-v0", num_envs=1024)` steps all lanes in one compiled
call; `autoreset_mode` is `"SameStep"` (default), `"NextStep"` or `"Disabled"`.

## Version History

* v0: first version.
"""

from __future__ import annotations

import numpy as np

from oncogym.envs.chemo_neutrophils.model import NeutrophilPatient
from oncogym.envs.chemo_neutrophils.picture import traces
from oncogym.envs.chemo_neutrophils.protocols import PROTOCOLS
from oncogym.envs.chemo_neutrophils.provenance import CONSTANTS, LITERATURE
from oncogym.envs.chemo_neutrophils.task import NeutrophilTask
from oncogym.envs.cohort import LogNormal, standard_cohorts
from oncogym.envs.treatment import Treatment, Variant

_NOMINAL = tuple(float(value) for value in NeutrophilPatient().to_array())
# Standard deviations of the logarithm; see the page.
_SPREAD = {
    "baseline": 0.42,
    "transit_time": 0.16,
    "ec50": 0.50,
    "clearance": 0.295,
    "growth_rate": 0.3,
    "kill_rate": 0.3,
}
# As coefficients of variation, which the sampler takes.
_VARIATION = tuple(
    float(np.sqrt(np.expm1(_SPREAD.get(name, 0.0) ** 2))) for name in NeutrophilPatient.FIELDS
)

TREATMENT = Treatment(
    name="chemo_neutrophils",
    title="Docetaxel by the blood count",
    task=NeutrophilTask,
    variants=(
        Variant(
            "oncogym/ChemoNeutrophils-v0",
            "a dose of docetaxel every week, neutrophils in 10^9/L, the typical patient",
            baseline="three_weekly_75",
            benchmark=False,
        ),
        Variant(
            "oncogym/ChemoNeutrophilsCohort-v0",
            "as ChemoNeutrophils-v0 with a new patient at every reset, seen by blood counts",
            options={"cohort": "population", "observation": "measurable"},
            evaluation_cohort="held_out",
            baseline="three_weekly_75",
            benchmark=False,
        ),
    ),
    cohorts=standard_cohorts(_NOMINAL, LogNormal(_NOMINAL, _VARIATION)),
    protocols=PROTOCOLS,
    traces=traces,
    page=__doc__ or "",
    provenance=CONSTANTS,
    literature=LITERATURE,
)
