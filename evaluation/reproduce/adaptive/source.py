"""Adaptive therapy as published: the turnover study, the learners, the trial.

Trained networks are not trained again here: of a learner's time to progression it is checked
whether it can be reached at all, by the best that value iteration finds under the same visits and
doses. What cannot be reproduced fails.
"""

from __future__ import annotations

import math
import sys
from functools import partial
from pathlib import Path

import numpy as np
from scipy.stats import spearmanr
from tqdm import tqdm

from oncogym.envs.adaptive_therapy import (
    AdaptivePatient,
    Objective,
    find_continuous_optimum,
    find_feedback_optimum,
    simulate_rule,
)
from oncogym.evaluation.reproduce.adaptive import published as them
from oncogym.evaluation.reproduce.adaptive import trial
from oncogym.evaluation.reproduce.checks import Check, Source, compare, register

_YEARS_20 = 7300.0
#: The time to progression as learners count it, and the reward they learnt by.
AT_VISITS = Objective(days=1.0, at_visits=True)
_REWARD = Objective(visit=0.1, holiday=0.05, punishment=-0.1, at_visits=True)


def full_dose(marker: float, dose: float) -> float:
    """Full dose without a break."""
    return 1.0


def at50(marker: float, dose: float) -> float:
    """The trial's rule: off below half of the start, on again above it."""
    return 1.0 if marker > 1.0 else 0.0 if marker < 0.5 else dose


def check_adaptive(seed: int) -> list[Check]:
    """All checks; nothing is random."""
    parts = (
        _turnover_study, _controlled_for_ever, _synthetic_patients, _learners, _trial,
    )  # fmt: skip
    found: list[Check] = []
    with tqdm(parts, desc="adaptive", unit="part", file=sys.stderr, disable=None) as bar:
        for part in bar:
            found += part()
    return found


def _turnover_study() -> list[Check]:
    """Their solver looks once a day: its times are ours, rounded up to its grid."""
    found = []
    for number, row in enumerate(them.TURNOVER_STUDY):
        who = AdaptivePatient(n0=row.n0, fR=row.fR, cost=row.cost, turnover=row.turnover)
        about = (
            f"n0 {row.n0:g}, fR {row.fR:g}, cost {row.cost:g}, turnover {row.turnover:g}, TTP [d]"
        )
        rules = (("MTD", full_dose, row.full_dose), ("AT50", at50, row.at50))
        for name, rule, printed in rules:
            if printed is None:
                continue
            ours = simulate_rule(rule, who, interval_days=1, horizon=_YEARS_20).ttp
            found.append(
                compare(
                    f"turnover_{number:02d}_{name}", f"{name}: {about}", printed, ours, 1.0 + 1e-2,
                    "visits every day; the source's grid of 1 d rounds up", valid=ours <= printed,
                )
            )  # fmt: skip
    return found


def _controlled_for_ever() -> list[Check]:
    rows = [row for row in them.TURNOVER_STUDY if row.full_dose is None]
    held = 0
    for row in rows:
        who = AdaptivePatient(n0=row.n0, fR=row.fR, cost=row.cost, turnover=row.turnover)
        held += not who.can_progress()
    note = "turnover at least (1 - 1.2 n0)(1 - cost), each under full dose and AT50"
    return [
        compare("turnover_controlled", "Tumours controlled for ever", len(rows), held, 0.0, note)
    ]


def _synthetic_patients() -> list[Check]:
    found = []
    for number, (cost, turnover, printed, monthly) in enumerate(them.SYNTHETIC):
        who = AdaptivePatient(cost=cost, turnover=turnover, **them.SYNTHETIC_START)
        ours = simulate_rule(full_dose, who, interval_days=1, horizon=_YEARS_20).ttp
        what = f"Synthetic patient {number}"
        found.append(
            compare(
                f"synthetic_{number}_MTD", f"{what}, MTD: TTP [d]", printed, ours, 1.0,
                "rounded down there", valid=ours >= printed,
            )
        )  # fmt: skip
        ours = simulate_rule(at50, who, interval_days=30, horizon=_YEARS_20).ttp
        found.append(
            compare(
                f"synthetic_{number}_AT", f"{what}, AT50 monthly: TTP [d]", monthly, ours, 31.0,
                "the source's ATProgression_Monthly against 30 d: no single interval from 1 to 31 "
                "d gives all ten",
            )
        )  # fmt: skip
    return found


def _at_most(id: str, quantity: str, published: float, most: float, note: str) -> Check:
    """A published number that no treatment can exceed; holds if it does not."""
    return Check(id, quantity, published, most, math.inf, published <= most, note)


def _learners() -> list[Check]:
    found = []
    for one in them.LEARNERS:
        solve = partial(
            find_feedback_optimum, one.patient, doses=2, interval_days=one.interval_days
        )
        if one.interval_days > 1:
            best = solve(objective=AT_VISITS).attain().value
            note = "published at most what value iteration attains, looked for at visits"
        else:
            best = find_continuous_optimum(one.patient).ttp + one.interval_days
            note = "published at most what is proved for continuous time, and one visit"
        if one.interval_days in (7, 30):
            own = solve(objective=_REWARD).attain()
            days = len(own.doses) * one.interval_days
            note += f"; the best by the learner's own reward lasts {days} d"
        note += f"; {one.note}" if one.note else ""
        found.append(
            _at_most(
                f"learner_{one.id}", f"Learner, {one.what}: TTP [d] against the best",
                one.ttp, best, note,
            )
        )  # fmt: skip
    base = AdaptivePatient()
    longest = find_feedback_optimum(base, objective="ttp", doses=2).attain().value
    usual = simulate_rule(full_dose, base).ttp
    found.append(
        _at_most(
            "doubling", "'More than doubling' of the TTP by drug or holiday, base, 28 d", 2.0,
            longest / usual,
            f"value iteration attains {longest:.1f} d, full dose {usual:.1f} d; in continuous time "
            f"and dose {find_continuous_optimum(base).ttp:.1f} d",
        )
    )  # fmt: skip
    return found


def _trial() -> list[Check]:
    control = [(months, False) for months in them.TRIAL_CONTROL]
    median = float(np.median(them.TRIAL_CONTROL))
    kaplan = trial.median_survival(them.TRIAL_ADAPTIVE)
    plain = float(np.median([months for months, _ in them.TRIAL_ADAPTIVE]))
    modelled = trial.treat_trial_patients(trial.CONTROLS) / trial.MONTH
    seen = trial.CONTROLS[:, 2]
    rank = float(spearmanr(modelled, seen).statistic)
    everybody = np.concatenate([trial.CONTROLS[:, :2], trial.ADAPTIVE])
    never = int(np.isinf(trial.treat_trial_patients(everybody, interval_days=1)).sum())
    treated = int(np.isinf(trial.treat_trial_patients(trial.ADAPTIVE, interval_days=1)).sum())
    # With the patient whom the list of the survival curve leaves out.
    lost = sum(not censored for _, censored in them.TRIAL_ADAPTIVE) + 1
    return [
        compare(
            "trial_control", "Control arm: median TTP [months]", them.TRIAL_MEDIANS["control"],
            median, 0.05,
            f"from the source's list of {len(control)}; Kaplan-Meier "
            f"{trial.median_survival(control):g}",
        ),
        compare(
            "trial_adaptive", "Adaptive arm: median TTP [months]", them.TRIAL_MEDIANS["adaptive"],
            kaplan, 0.05,
            f"Kaplan-Meier of the source's list of {len(them.TRIAL_ADAPTIVE)}, four of them "
            f"censored; plain median {plain:g}. The list is older than the abstract and lacks one "
            "patient",
        ),
        compare(
            "trial_model_control", "Trial's model, control arm: median TTP [months]",
            float(np.median(seen)), float(np.median(modelled)), 1.0,
            "marker above 1.2 times its start; the fits have seen these markers",
        ),
        compare(
            "trial_model_rank", "Trial's model, control arm: rank correlation of TTP", 1.0, rank,
            0.05, "with the radiographic times of the same 15 patients",
        ),
        compare(
            "trial_model_adaptive", "Trial's model, adaptive arm: patients who progress",
            lost, len(trial.ADAPTIVE) - treated, 2.0,
            f"daily AT50; of all 32 fits {never} never progress in 20 years, since the sensitive "
            "clone wipes out the resistant one in a holiday: the model explains the control arm, "
            "not this one",
        ),
    ]  # fmt: skip


def _figures(folder: Path, seed: int) -> list[Path]:
    from oncogym.evaluation.reproduce.adaptive.figures import save_figures

    return save_figures(folder)


register(
    Source(
        "adaptive",
        "Adaptive therapy: turnover study (2021), learners (2024), trial (2022)",
        check_adaptive,
        _figures,
    )
)
