"""One day of a tumour in either solver: its growth before detection, a day with a dose, the rest.

A kernel file: it imports nothing but numpy, numba, math, records and other kernel files. Settings
are any record with the fields of ``PROBLEM`` but its last day, a *tumour* any with those of
``TUMOUR``, see ``records.py``. ``cells`` are two padded rows in the source's solver and one row in
the accurate one, ``taps`` the latter's heat kernel.
"""

import numpy as np

from oncogym.envs.glioblastoma_radiation.kernels import (
    T2_LEVEL,
    detect,
    field_radius,
    find_regions,
    follow_t2,
    let_grow,
    outermost,
    read_radii,
    row_of,
    safe_dose,
    treat_day,
)
from oncogym.envs.glioblastoma_radiation.records import TUMOUR
from oncogym.envs.glioblastoma_radiation.split_kernels import (
    grow_split,
    pass_days_split,
    read_radii_split,
)
from oncogym.envs.lane_kernels import inlined
from oncogym.envs.records import width_of

_TUMOUR_NUMBERS = width_of(TUMOUR)


@inlined
def make_tumour():
    """Room for a tumour ``(1, numbers)``; what takes its record must be another function."""
    return np.zeros((1, _TUMOUR_NUMBERS))


@inlined
def grow_to_detection(cells, taps, tumour, patient, settings, start, max_days):
    """Silent growth (spec. 4); what is kept of it is written to the record ``start``."""
    if settings.accurate > 0.0:
        grow_split(cells, tumour, taps, patient, settings, max_days)
        start.detection = tumour.end
        start.growth = tumour.day if tumour.end >= 0.0 else -1.0
    else:
        detect(cells, tumour, patient, settings, max_days)
        start.detection = start.growth = tumour.day
    start.window = tumour.window
    tumour.end = -1.0


@inlined
def measure(cells, tumour, settings):
    """Radii of the regions and safe dose of the field (spec. 3 and 5)."""
    before = tumour.t2
    if settings.accurate > 0.0:
        read_radii_split(cells, tumour, settings)
    else:
        read_radii(cells, tumour, settings)
    if tumour.t2 != before:
        tumour.limit = safe_dose(field_radius(tumour.t2, settings), settings.cap)


@inlined
def put_at_detection(cells, tumour, start, settings, side):
    """A tumour whose cells, in a row, are those of the day of detection."""
    tumour.day, tumour.window, tumour.end = start.growth, start.window, -1.0
    tumour.side, tumour.quality = side, 0.0
    tumour.edge1 = tumour.edge2 = -1.0
    tumour.bound1 = tumour.bound2 = tumour.t1 = 0.0
    tumour.t2 = tumour.limit = -2.0  # no radius: the safe dose is computed
    if settings.accurate == 0.0:
        find_regions(cells, tumour, settings)
    measure(cells, tumour, settings)


@inlined
def pass_day(cells, taps, tumour, patient, settings, dose):
    """Let one day pass with a dose [Gy] at its start; ``end`` is set when the patient dies."""
    if settings.accurate > 0.0:
        pass_days_split(cells, tumour, taps, patient, settings, dose, 1.0)
    else:
        if dose > 0.0:
            treat_day(cells, tumour, patient, settings, dose)
        else:
            let_grow(cells, tumour, patient, settings, tumour.day + 1.0)
        follow_t2(cells, tumour, patient, settings)
    measure(cells, tumour, settings)


@inlined
def run_out(cells, taps, tumour, patient, settings, days):
    """Let the tumour grow for days, or to death before that."""
    if settings.accurate > 0.0:
        pass_days_split(cells, tumour, taps, patient, settings, 0.0, days)
    else:
        let_grow(cells, tumour, patient, settings, tumour.day + days)
        a, _ = row_of(tumour, settings)
        hi = int(tumour.window)
        tumour.edge2 = outermost(cells, a, int(tumour.edge2), hi, T2_LEVEL)
    measure(cells, tumour, settings)


@inlined
def outer_density(cells, tumour, settings):
    """Density at the outer boundary as a share of K."""
    if settings.accurate > 0.0:
        return cells[cells.shape[0] - 1]
    a, _ = row_of(tumour, settings)
    return cells[a + int(settings.nodes) - 1]
