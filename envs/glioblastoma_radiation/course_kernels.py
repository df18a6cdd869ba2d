"""Open-loop plans: growth to detection, and a course of daily doses from that day.

A kernel file: it imports nothing but numpy, numba, math, records and other kernel files.
"""

import numpy as np

from oncogym.envs.glioblastoma_radiation.day_kernels import (
    grow_to_detection,
    make_tumour,
    outer_density,
    pass_day,
    put_at_detection,
    run_out,
)
from oncogym.envs.glioblastoma_radiation.kernels import LEFTOVER, field_radius, row_of
from oncogym.envs.glioblastoma_radiation.records import (
    DAY,
    PATIENT,
    PLAN,
    PROBLEM,
    START,
    TUMOUR,
)
from oncogym.envs.lane_kernels import ITEM, ROW, WHOLE, Shared, inlined, over_lanes, record_at
from oncogym.envs.unowned import unowned


@inlined
def make_cells(cells):
    """Room for a course from a row: two rows, of which the second is empty."""
    room = np.zeros(2 * cells.shape[0])
    room[: cells.shape[0]] = cells
    return room


@inlined
def _grow(cells, taps, tumours, patient, settings, start, row):
    cells = unowned(cells)
    tumour = record_at(tumours, 0, TUMOUR)  # type: ignore[var-annotated]
    grow_to_detection(cells, taps, tumour, patient, settings, start, settings.last_day)
    a, _ = row_of(tumour, settings)
    for j in range(row.shape[0]):
        row[j] = cells[a + j]


def grow_patient(patient, taps, settings, start, row):
    """Growth of a patient.

    Args:
        patient, settings, start: Records, see ``records.py``; the last is written.
        taps: Of the heat kernel, for the accurate solver.
        row: Cells on the day of detection; written.
    """
    if settings.accurate > 0.0:
        _grow(row, taps, make_tumour(), patient, settings, start, row)
    else:
        cells = np.zeros(2 * row.shape[0])
        _grow(cells, taps, make_tumour(), patient, settings, start, row)


@inlined
def _last_dose(doses):
    """Days until the last dose of a plan was given."""
    last = 0
    for day in range(doses.shape[0]):
        if doses[day] > 0.0:
            last = day + 1
    return last


@inlined
def _note(days, day, tumour, settings, dose):
    """Write a day of the record, if there is one."""
    if days.shape[0] > 0:
        note = record_at(days, day, DAY)  # type: ignore[var-annotated]
        note.t1_radius, note.t2_radius = tumour.t1, tumour.t2
        note.field_radius = field_radius(tumour.t2, settings)
        note.safe_dose, note.dose = tumour.limit, dose


@inlined
def _note_cells(density, day, cells, tumour, settings):
    """Write the densities of a day, if they are wanted."""
    if density.shape[0] > 0:
        a, _ = row_of(tumour, settings)
        for j in range(int(settings.nodes)):
            density[day, j] = cells[a + j]


@inlined
def _add_dose(plan, dose, limit):
    """Add a day's dose [Gy] to the plan's outcome."""
    plan.total_dose += dose
    plan.peak_dose = max(plan.peak_dose, dose)
    if dose > limit:
        plan.violations += 1.0
        plan.excess_dose += dose - limit


@inlined
def _conclude(plan, cells, tumour, start, settings):
    """The outcome of a course that is over."""
    plan.died = 1.0 if tumour.end >= 0.0 else 0.0
    plan.death_day = tumour.end if tumour.end >= 0.0 else settings.last_day
    if plan.therapy_days < 0.0:
        over = plan.death_day if settings.accurate > 0.0 else tumour.day
        plan.therapy_days = over - start.growth
    plan.quality_days = tumour.quality
    plan.boundary = outer_density(cells, tumour, settings)


@inlined
def _run_course(cells, taps, tumours, doses, patient, settings, start, days, density, plan):
    """Give the doses of a plan day by day, then let the tumour grow."""
    cells = unowned(cells)
    tumour = record_at(tumours, 0, TUMOUR)  # type: ignore[var-annotated]
    put_at_detection(cells, tumour, start, settings, 0.0)
    plan.total_dose = plan.peak_dose = plan.violations = plan.excess_dose = 0.0
    plan.therapy_days = -1.0
    treated = _last_dose(doses)
    length = int(settings.last_day - start.growth)
    day = 0
    while day < length and tumour.end < 0.0 and (day < treated or days.shape[0] > 0):
        dose = doses[day] if day < doses.shape[0] else 0.0
        _note(days, day, tumour, settings, dose)
        if dose > 0.0:
            _add_dose(plan, dose, tumour.limit)
        pass_day(cells, taps, tumour, patient, settings, dose)
        if dose > 0.0 and tumour.end >= 0.0 and settings.accurate == 0.0:
            tumour.end = tumour.day  # whoever gets a dose lives through the day
        day += 1
        if plan.therapy_days < 0.0 and settings.total - plan.total_dose < LEFTOVER:
            plan.therapy_days = day
        _note_cells(density, day, cells, tumour, settings)
    if tumour.end < 0.0 and day < length:
        run_out(cells, taps, tumour, patient, settings, length - day)
    if days.shape[0] > 0:
        note = record_at(days, day, DAY)
        note.t1_radius, note.t2_radius = tumour.t1, tumour.t2
    _conclude(plan, cells, tumour, start, settings)
    return day


def follow_plan(doses, which, rows, taps, starts, patients, settings, days, density, plan):
    """One treatment course from the day of detection; returns the number of days recorded.

    Args:
        doses: Gy, one a day.
        which: Whose: row of the next four.
        rows, taps, starts, patients: Cells at detection, heat kernels, records.
        settings, plan: Records, see ``records.py``; the last is written.
        days: One ``DAY`` a day from the day of detection, written; none: not wanted.
        density: Cells on each of these days, written; none: not wanted.
    """
    patient = record_at(patients, which, PATIENT)  # type: ignore[var-annotated]
    start = record_at(starts, which, START)
    return _run_course(make_cells(rows[which]), taps[which], make_tumour(), doses, patient,
                       settings, start, days, density, plan)  # fmt: skip


grow_patients, _ = over_lanes(
    grow_patient, patients=PATIENT, taps=ROW, settings=Shared(PROBLEM), starts=START, rows=ROW
)
follow_plans, follow_plans_parallel = over_lanes(
    follow_plan,
    doses=ROW,
    which=ITEM,
    rows=WHOLE,
    taps=WHOLE,
    starts=WHOLE,
    patients=WHOLE,
    settings=Shared(PROBLEM),
    days=WHOLE,
    density=WHOLE,
    plans=PLAN,
    returns=("recorded",),
)
