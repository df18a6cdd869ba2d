"""The best feedback for a patient who is known, dose by dose: value iteration on a grid.

The table of values interpolates between states, which are exact only on the grid, and lets the
value jump where one more decision fits; it may therefore err to either side. What the doses it
leads to *attain* in the exact model cannot: no optimum is below it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from oncogym.core.checks import check_choice, check_option, whole_number
from oncogym.envs.adaptive_therapy import value_kernels as kernel
from oncogym.envs.adaptive_therapy.model import (
    INTERVAL,
    LONGEST_SUBSTEP,
    PROGRESSION,
    SUBSTEP,
    AdaptiveCourse,
    AdaptivePatient,
    simulate,
)
from oncogym.envs.adaptive_therapy.records import PROBLEM, WORTH
from oncogym.envs.adaptive_therapy.step_kernels import DRUG_WEIGHT
from oncogym.envs.records import names_of, pack_record, records_of
from oncogym.envs.threads import choose

FloatArray = NDArray[np.float64]

# Rows (burden) and columns (R/S) of the grid. Where the drug is on or off the value has steps.
_GRID, _GRID_ON_OFF = (160, 240), (240, 360)
# Rows or columns at most.
_MOST = 4000
#: Longest step of the solver while the table is filled [d].
TABLE_SUBSTEP = 4.0
# Least burden in the table, in burdens of progression; largest ln(R/S); below its start by this.
_LEAST, _RESISTANT, _MARGIN = 0.01, 4.0, 1.0
# A last sweep changes no value by more than this share of the worth of an interval.
_TOLERANCE = 1e-7
# So many sweeps at most: a patient who never progresses is worth more after each.
_SWEEPS = 400
# Tables kept: one takes a third of a megabyte.
_KEPT = 256
# Doses of an open-loop course at most.
_LONGEST = 20_000


@dataclass(frozen=True)
class Objective:
    """What a course is worth, and when it is over.

    Args:
        control: Weight of a controlled day, see ``AdaptiveCourse.control_days``.
        drug: Weight of a day of full dose.
        days: Weight of a day before progression.
        visit: Weight of a visit without progression.
        holiday: Weight of a visit without progression after an interval without drug.
        punishment: Weight of progression, and of a holiday that ends above the starting burden.
        at_visits: Whether progression is only looked for at visits.
    """

    control: float = 0.0
    drug: float = 0.0
    days: float = 0.0
    visit: float = 0.0
    holiday: float = 0.0
    punishment: float = 0.0
    at_visits: bool = False

    def weights(self) -> FloatArray:
        """The weights as the kernels take them."""
        return pack_record(WORTH, **{name: getattr(self, name) for name in names_of(WORTH)})


#: Objectives by name: the sound reward and the time to progression in days, the source's reward.
OBJECTIVES = {
    "sound": Objective(control=1.0, drug=-DRUG_WEIGHT),
    "ttp": Objective(days=1.0),
    "published": Objective(visit=0.1, holiday=0.05, at_visits=True),
}


class Attained(NamedTuple):
    """A course that the best feedback leads to in the exact model."""

    value: float
    """What it is worth: no optimum is below it."""
    doses: FloatArray
    """``(decisions,)``."""
    ended: bool
    """Whether it ended by progression."""


@dataclass(frozen=True, eq=False)
class FeedbackOptimum:
    """Values and best doses of one patient, made by :func:`find_feedback_optimum`."""

    patient: AdaptivePatient
    objective: Objective
    interval_days: int
    """Days between decisions."""
    progression: float
    """Limit as a multiple of the starting burden."""
    doses: FloatArray
    """Doses of the grid, evenly spaced from 0 to 1 ``(doses,)``."""
    continuous: bool
    """Whether doses between these are given, too."""
    values: FloatArray
    """Worth of every state from then on ``(columns, rows)``."""
    best: NDArray[np.int64]
    """Number of its best dose ``(columns, rows)``."""
    change: float
    """Largest change of the last sweep: how far the iteration is from its fixed point."""
    cfg: FloatArray = field(repr=False)
    """The problem as the kernels take it."""

    def value(self, sensitive: float, resistant: float) -> float:
        """Worth of a state by the table.

        Args:
            sensitive, resistant: Burden of both clones, above 0; off the grid, that of its edge.
        """
        logs = _logs(sensitive, resistant)
        place = kernel.locate(*logs, self.cfg, self.values.shape[1], self.values.shape[0])
        return float(kernel.between(self.values, *place))

    def dose(self, sensitive: float, resistant: float, substep: float = SUBSTEP) -> float:
        """The best dose of a state, two decisions looked ahead in the exact model.

        Args:
            sensitive, resistant: Burden of both clones, above 0.
            substep: Longest step of the solver [d].
        """
        return self.dose_of_logs(*_logs(sensitive, resistant), substep)

    def dose_of_logs(self, log_s: float, log_r: float, substep: float) -> float:
        """:meth:`dose` for logarithms of both clones, which can be further apart.

        Args:
            log_s, log_r: Logarithms of the sensitive and the resistant clone.
            substep: Longest step of the solver [d].
        """
        weights = self.objective.weights()
        return float(
            kernel.choose_dose(
                log_s, log_r, substep, self.doses, self.continuous, self.cfg, weights, self.values
            )
        )

    def attain(
        self,
        sensitive: float | None = None,
        resistant: float | None = None,
        *,
        decisions: int = _LONGEST,
        substep: float = SUBSTEP,
    ) -> Attained:
        """Treat by the best doses until progression.

        Args:
            sensitive, resistant: Where to begin; by default the patient's start.
            decisions: Length of the plan.
            substep: Longest step of the solver [d].
        """
        who = self.patient
        start = (
            who.n0 * (1.0 - who.fR) if sensitive is None else sensitive,
            who.n0 * who.fR if resistant is None else resistant,
        )
        given = np.zeros(decisions)
        count, worth, ended = kernel.play(
            *_logs(*start), substep, self.doses, self.continuous, self.cfg,
            self.objective.weights(), self.values, given,
        )  # fmt: skip
        return Attained(float(worth), given[:count].copy(), bool(ended))

    def course(self, *, decisions: int = _LONGEST, substep: float = SUBSTEP) -> AdaptiveCourse:
        """The course from the patient's start as :func:`simulate` gives it."""
        return simulate(
            self.attain(decisions=decisions, substep=substep).doses,
            self.patient,
            interval_days=self.interval_days,
            progression=self.progression,
            substep=substep,
        )

    def states(self) -> tuple[FloatArray, FloatArray]:
        """Burden, in starting burdens, of the rows and R/S of the columns of the table."""
        columns, rows = self.values.shape
        problem = records_of(self.cfg, PROBLEM)
        depth = problem["depth"] * (np.arange(rows) / (rows - 1)) ** 2
        ratio = problem["low"] + problem["spacing"] * np.arange(columns)
        return self.progression * np.exp(-depth), np.exp(ratio)


def usual_grid(doses: int) -> tuple[int, int]:
    """Rows and columns of the table that suit a number of doses."""
    return _GRID_ON_OFF if doses == 2 else _GRID


def find_feedback_optimum(
    patient: AdaptivePatient | None = None,
    *,
    objective: str | Objective = "sound",
    doses: int = 11,
    continuous: bool = False,
    interval_days: int = int(INTERVAL),
    progression: float = PROGRESSION,
    grid: tuple[int, int] | None = None,
    substep: float = TABLE_SUBSTEP,
) -> FeedbackOptimum:
    """The best doses for a patient whose clones are seen at every visit.

    Args:
        patient: The published nominal one by default.
        objective: ``"sound"`` (the sound reward, in days), ``"ttp"`` (days to progression),
            ``"published"`` (the source's reward without punishment), or one of your own.
        doses: Number of doses of the grid, evenly spaced from none to full, 2 to 101.
        continuous: Whether doses between these can be given, too.
        interval_days: Days between decisions, a whole number from 1 to 120.
        progression: Limit as a multiple of the starting burden, above 1, its product with n0
            below 1.
        grid: Rows (burden) and columns (R/S) of the table, 8 to 4000 each; by default 160 and 240,
            240 and 360 for two doses.
        substep: Longest step of the solver while the table is filled [d], 0.001 to 7.

    Returns:
        The optimum; the same object for the same arguments while it is kept in memory.

    Raises:
        ValueError: A value is out of range, or full dose controls the patient for ever, so that
            the optimum is infinite; the message names it.
    """
    who = patient or AdaptivePatient()
    if isinstance(objective, str):
        objective = OBJECTIVES[check_choice("objective", objective, tuple(OBJECTIVES))]
    whole_number("interval_days", interval_days, 1, 120)
    whole_number("doses", doses, 2, 101)
    check_option("substep", substep, 1e-3, LONGEST_SUBSTEP, "d")
    grid = usual_grid(doses) if grid is None else grid
    for name, count in zip(("rows", "columns"), grid, strict=True):
        whole_number(f"{name} of the grid", count, 8, _MOST)
    if not 1.0 < progression < 1.0 / who.n0:
        raise ValueError(
            f"progression is {progression}; allowed: above 1 and below 1/n0 = {1.0 / who.n0:g}"
        )
    if not who.can_progress(progression):
        raise ValueError(
            f"turnover is {who.turnover}: full dose controls this patient for ever, and no "
            "treatment is the best"
        )
    return solve(who, objective, doses, continuous, interval_days, progression, grid, substep)


def compute_optimum(
    who: AdaptivePatient,
    objective: Objective,
    doses: int,
    continuous: bool,
    interval_days: int,
    progression: float,
    grid: tuple[int, int],
    substep: float,
) -> FeedbackOptimum:
    """:func:`find_feedback_optimum` without checks, for patients who never progress, too.

    Args:
        who: The patient.
        objective: What a course is worth.
        doses: Number of doses of the grid.
        continuous: Whether doses between these can be given, too.
        interval_days: Days between decisions.
        progression: Limit as a multiple of the starting burden.
        grid: Rows and columns of the table.
        substep: Longest step of the solver while the table is filled [d].
    """
    rows, columns = grid
    low = math.log(who.fR / (1.0 - who.fR)) - _MARGIN
    cfg = pack_record(
        PROBLEM,
        sensitive_growth=who.rS,
        resistant_growth=who.resistant_growth,
        death=who.turnover * who.rS,
        kill=who.dD,
        start=who.n0,
        limit=progression * who.n0,
        interval=interval_days,
        substep=substep,
        at_visits=objective.at_visits,
        depth=-math.log(_LEAST),
        low=low,
        spacing=(_RESISTANT - low) / (columns - 1),
    )
    amounts = np.linspace(0.0, 1.0, doses)
    weights = objective.weights()
    # Places and worths are read in every sweep: half the memory is half the time.
    places = np.zeros((columns, rows, doses, 2), np.float32)
    worth = np.zeros((columns, rows, doses), np.float32)
    tabulate = choose(kernel.tabulate, kernel.tabulate_parallel)
    tabulate(cfg, weights, amounts, rows, places, worth)
    values = np.zeros((columns, rows))
    best = np.zeros((columns, rows), np.int64)
    tolerance = _TOLERANCE * float(np.abs(worth).max())
    change, _ = kernel.iterate(places, worth, tolerance, _SWEEPS, values, best)
    for table in (values, best):
        table.setflags(write=False)  # shared by all who ask for the same optimum
    return FeedbackOptimum(
        who, objective, interval_days, progression, amounts, continuous, values, best,
        float(change), cfg,
    )  # fmt: skip


#: :func:`compute_optimum`, which keeps what it has found.
solve = lru_cache(maxsize=_KEPT)(compute_optimum)


def _logs(sensitive: float, resistant: float) -> tuple[float, float]:
    check_option("sensitive", sensitive, 1e-300, 1.0)
    check_option("resistant", resistant, 1e-300, 1.0)
    return math.log(sensitive), math.log(resistant)
