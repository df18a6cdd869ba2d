"""Glioblastoma radiation: how to spend a total dose on a growing tumour front.

## Description

A tumour grows silently until magnetic resonance imaging finds it: its T1 region (cell density above
80 % of the carrying capacity) has a radius of 15 mm. From then on each day may carry a dose of
radiation on the T2 region (above 16 %) plus a margin, until the total dose of 61.2 Gy is spent. The
patient dies when the T1 radius is 35 mm. The density c(x, t) follows the proliferation-invasion
model with logistic growth,

    c_t = D c_xx + rho c (1 - c/K) - R c (1 - c/K),     R = 1 - exp(-alpha d (1 + d/(alpha/beta)))

R acting on treated tissue only. Radiation spares the saturated core and shaves the front; a larger
field has a smaller safe dose, 116 r^-0.685 Gy for a treated radius of r mm, a power law through the
radiosurgery limits of RTOG 90-05, which the source extrapolates from 10-20 mm to 40-75 mm and from
a single fraction to every day. The environments use the source's grid, 1 mm and 1 day in a slab,
for all patients whom it can hold;
`oncogym.envs.glioblastoma_radiation.simulate` also has an accurate solver, a sphere and other
readings of the dose term. On the source's grid the untreated patient lives 6.7 days too long and
the standard course gains 2 days too little.

**What `v0` changes against the source (`Published-v0`), and why.**

* Waiting is not free. The source rewards only the day of death, and since just the 35 mm line
  counts, its undiscounted optimum waits until two days before death and then treats every eleven
  days (+114 days, all of them with a tumour of 34 mm). `v0` weighs every day from detection by
  1 - (T1 radius/35 mm)^2: early doses are worth more, that plan scores 87 quality-weighted days, a
  daily course of eight doses 169. Therapy ends after `max_therapy_days`; what is left is forfeited.
* The remaining dose, the day and the safe dose are observed, the density is normalised. The source
  shows 201 raw densities and hides the rest of the budget that ends the episode.
* Radii are interpolated between cells, and so are the field, the safe dose and the moment of death;
  in whole cells they jump by 1 mm, 6.5 days of growth.
* The penalty is proportional to the dose above the limit, not its cube root (whose slope at the
  limit is infinite), and is not waived on the last step.
* The safe dose is defined for every field: at most 24 Gy, the largest dose of the trial behind the
  law. Where no T2 region is visible the field is the margin around the centre, not nothing.
* The step that spends the dose runs to the end of the course; there is no extra step whose action
  is ignored. Follow-up counts from detection, so slowly growing tumours are not cut off earlier.
* `weekends` are those of a calendar, not of a counter that a day without dose resets; what happens
  on them is neither thrown away nor hidden from the observation.

Kept from the source in both: the daily safe dose for any number of fractions a day (the stricter
reading), death at 35 mm, the rest below 0.1 Gy that is dropped. In `Published-v0` the deviations
are: actions are clipped to [0, 1], death on a weekend ends the episode, and death is `terminated`,
the time limit `truncated` (the source has them reversed).

## Action Space

`Box(0, 1, (1,), float32)`: today's dose as a share of the total dose (61.2 Gy); a dose never
exceeds what is left. Values outside are clipped and counted in `info["clipped"]`; non-finite ones
raise an error.

## Observation Space

`observation="full"` (default): `Box((207,), float32)`.

| index | value | range |
|---|---|---|
| 0 | remaining dose / total dose | 0 to 1 |
| 1 | days since detection / `max_therapy_days` | 0 to 1 |
| 2 | day of the week / 7 (0 without `weekends`) | 0 to 1 |
| 3 | T1 radius / 35 mm (0: not visible) | 0 to 10 |
| 4 | T2 radius / 35 mm (0: not visible) | 0 to 10 |
| 5 | safe dose of today's field / 24 Gy | 0 to 1 |
| 6 to 206 | density / K at 0, 1, …, 200 mm | 0 to 1 |

`observation="measurable"`: `Box((7,), float32)`, what a clinic knows. 3 and 4 are read off the last
scan with an error of `scan_noise` (1 mm), 5 is the safe dose that scan suggests, 6 the time since
then as a share of `scan_interval` (7 days); the first scan is on the day of detection. The field
itself and the cost follow the true T2 region, as with image guidance on the table. It is the
default of the cohort, and takes for granted in a clinic:

| number | instrument | interval | error | limit of detection |
|---|---|---|---|---|
| T1, T2 radius | MR imaging | 7 d (`scan_interval`) | 1 mm (`scan_noise`) | a visible region |
| safe dose | computed from the last T2 radius | 7 d | follows the radius | |
| doses and days | treatment record | each day | exact | |

Weekly imaging is what centres with an MR-guided linac do; elsewhere one scan before and one after
the course is usual, which a larger `scan_interval` describes. The error is one voxel of the usual
1 mm sequences. Density, D, rho and alpha are measured nowhere.

`observation="density"`, `Published-v0`: `Box(0, 1e5, (201,), float32)`, the source's row in
cells/mm^3 (in float32, as a policy network would cast it).

The patient's parameters are never observed.

## Rewards

The weighted sum of named terms; `info["reward_terms"]` has them unweighted.

| term | meaning |
|---|---|
| survival | day of death minus that without treatment, on the last step |
| toxicity | -q^(1/3), q = (dose - safe)/(total - safe); published: not on a last step |
| quality_days | days passed, each weighed by 1 - (T1 radius/35 mm)^2 |
| excess | minus the dose above the safe dose [Gy] |
| waiting | -1 for a decision without dose |

Weights: see Weights below, or `oncogym envs ID`.

`info["cost"]` is the dose above the safe dose [Gy], whatever the weights.

## With plain Stable-Baselines3

Its defaults with four environments in a `DummyVecEnv` learn: on the cohort PPO returns 166.8 after
300 000 steps and SAC 179.3 after 50 000 (three seeds each), the clinical protocol 160.1; but the
best rule 182.4. `examples/sb3_ppo.py` (with `--env`) shows settings that learn more,
`oncogym train` uses tuned ones.

## Starting State

The day of detection, after a growth that starts from 0.8 K exp(-x^2/4) (213 days for the source's
patient; computed once a patient). The cohort draws D from 0.1 to 0.4 mm^2/d, rho from 0.015 to
0.06 /d and alpha from 0.02 to 0.08 /Gy, log-uniformly: a factor of two either way of the source's
patient. Serial imaging of glioblastomas finds far wider spreads of D and rho (Harpold, Alvord and
Swanson, J Neuropathol Exp Neurol 66:1, 2007; Swanson et al., Br J Cancer 98:113, 2008) and
patient-specific alpha (Rockne et al., Phys Med Biol 55:3271, 2010); slower or more diffuse tumours
do not fit the source's grid. Front speeds are 0.08 to 0.31 mm/d; Kim et al., Cancers 9:51 (2017),
take 0.029, 0.079 and 0.13 mm/d for slow, average and fast ones. The ranges are a choice, not a fit.
`cohort="slow"` are 256 patients with D from 0.02 to 0.2 mm^2/d and rho from 0.003 to 0.03 /d, front
speeds of 0.015 to 0.15 mm/d; `numerics="accurate"` suits them, and a long `horizon`. What published
growth and trials say beside these patients: `oncogym reproduce beyond`.

## Episode End

Terminates with death; truncated at the end of the follow-up (`horizon`). In `v0` the course runs to
its end within the step that spends the dose or reaches `max_therapy_days`; in `Published-v0` on the
step after the one that leaves less than 0.1 Gy, whose action is ignored. Success: no dose above its
limit, and alive for at least `success_ratio` (1.4) times as long after detection as without
treatment; courses of about 60 Gy reach 1.45 for the source's patient, 15 x 2.67 Gy 1.31.

## Range of validity

* *Numerics.* A step of 1 d on 1 mm is bounded while 2 D + rho is at most 1 (mm^2/d, 1/d), and
  resolves fronts of sqrt(D/rho) >= 0.5 mm, whose speed is then right to 11 %. `numerics="auto"`
  (default) computes these patients on the source's grid and all others, the white matter of
  high-grade gliomas with D = 0.65 mm^2/d among them, by the accurate solver of `simulate`: exact
  splitting, steps of 0.25 d, cells of at most 0.25 mm, radii between cells, densities observed at
  whole millimetres. `"accurate"` does so for everybody, about 100 times slower; `"published"`
  refuses patients whom the source's grid cannot hold.
* *Domain.* A patient whose untreated tumour reaches 0.1 % of K at the outer boundary before death,
  or is not detected in time, is refused at `reset` with an error. A treated tumour that reaches it
  later goes on, flagged: its boundary lets nothing out, and what is near it is too dense.
* *Dose.* The linear-quadratic law is data for about 1 to 10 Gy a fraction; a fraction above 24 Gy,
  the largest of the trial behind the safe dose, is flagged. On the source's grid the density is
  clipped at 0 above about 11.5 Gy a day. The safe dose is an extrapolation at every radius.
* *Death and growth.* The tumour is a slab, nothing but its radius kills, and the density never
  exceeds K. A tumour that is no longer visible may grow again.

`info["outcome"]["out_of_range"]` is 1 once a course is flagged; it does not end the episode.
`simulate` raises `DomainError`, `StabilityError` and `DetectionError`, and warns of the dose.

## Arguments

See `GlioblastomaTask`: `formulation`, `objective`, `observation`, `weekends`, `total_dose`,
`fractions_per_day`, `margin`, `safe_dose_cap`, `horizon`, `max_therapy_days`, `length`,
`scan_interval`, `scan_noise`, `success_ratio`, `plan_days`, `plan_gap`, `numerics`,
`reward_weights`; and of every environment: `cohort`, `patient`, `render_mode`.

## Vectorized environment

`gymnasium.make_vec("oncogym/GlioblastomaRadiation-v0", num_envs=1024)` steps all lanes in one
compiled call; `autoreset_mode` is `"SameStep"` (default), `"NextStep"` or `"Disabled"`.

## Version History

* v0: first version. Before its first release the cohort's observation became `"measurable"`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from oncogym.envs.cohort import Cohort, standard_cohorts
from oncogym.envs.glioblastoma_radiation import step_kernels
from oncogym.envs.glioblastoma_radiation.model import GlioblastomaPatient
from oncogym.envs.glioblastoma_radiation.picture import picture, traces
from oncogym.envs.glioblastoma_radiation.protocols import MEASURED_LIMIT, PROTOCOLS
from oncogym.envs.glioblastoma_radiation.provenance import CONSTANTS, LITERATURE
from oncogym.envs.glioblastoma_radiation.task import GlioblastomaTask
from oncogym.envs.streams import STREAM_HELD_OUT
from oncogym.envs.treatment import Effort, Treatment, Variant

_NOMINAL = tuple(float(value) for value in GlioblastomaPatient().to_array())
# Ranges of the cohort; see the page for sources. Other parameters are the source's.
_RANGES = {
    "diffusion": (0.1, 0.4),
    "proliferation": (0.015, 0.06),
    "alpha": (0.02, 0.08),
}


@dataclass(frozen=True)
class LogUniform:
    """Sampler of independent log-uniform fields between two patient rows ``(fields,)``."""

    low: tuple[float, ...]
    high: tuple[float, ...]

    def __call__(
        self, seeds: NDArray[np.uint64], episodes: NDArray[np.uint64], stream: int
    ) -> NDArray[np.float64]:
        """Rows ``(k, fields)``, each from its own ``(seed, episode)``."""
        low, high = np.asarray(self.low), np.asarray(self.high)
        return step_kernels.log_uniforms(seeds, episodes, stream, low, high)


def _log_uniform(ranges: Mapping[str, tuple[float, float]]) -> LogUniform:
    bounds = [
        ranges.get(name, (value, value))
        for name, value in zip(GlioblastomaPatient.FIELDS, _NOMINAL, strict=True)
    ]
    return LogUniform(tuple(low for low, _ in bounds), tuple(high for _, high in bounds))


_SAMPLER = _log_uniform(_RANGES)
# Down to a tenth of the source's D and rho, as others' slow and average tumours have them.
_SLOW = Cohort(
    "slow",
    "256 fixed patients with front speeds of 0.015 to 0.15 mm/d",
    _log_uniform({**_RANGES, "diffusion": (0.02, 0.2), "proliferation": (0.003, 0.03)}),
    STREAM_HELD_OUT,
    256,
)

TREATMENT = Treatment(
    name="glioblastoma_radiation",
    title="Glioblastoma radiation",
    task=GlioblastomaTask,
    variants=(
        Variant(
            "oncogym/GlioblastomaRadiation-v0",
            "daily dose after detection, quality-weighted survival, the source's patient",
            baseline="standard",
            benchmark=False,
        ),
        Variant(
            "oncogym/GlioblastomaRadiationPublished-v0",
            "observation, stages and reward of the source, return = days extended",
            options={"formulation": "published"},
            baseline="paper",
            benchmark=False,
        ),
        Variant(
            "oncogym/GlioblastomaRadiationCohort-v0",
            "as GlioblastomaRadiation-v0 with a new patient at every reset",
            options={
                "cohort": "population",
                "observation": "measurable",
                # Long enough for a plan to be a clinical course with weekends.
                "plan_days": 47,
            },
            evaluation_cohort="held_out",
            baseline="standard",
            effort=Effort(algorithms=("ppo", "cma_policy"), control={"mean_share": 0.5}),
        ),
    ),
    cohorts={**standard_cohorts(_NOMINAL, _SAMPLER), _SLOW.name: _SLOW},
    protocols=PROTOCOLS,
    measured_limit=MEASURED_LIMIT,
    picture=picture,
    traces=traces,
    page=__doc__ or "",
    provenance=CONSTANTS,
    literature=LITERATURE,
)
