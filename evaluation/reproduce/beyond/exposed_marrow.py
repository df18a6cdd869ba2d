"""Neutrophils under printed concentrations of docetaxel instead of doses.

A kernel file: it imports nothing but records and other kernel files.
"""

from oncogym.envs.chemo_neutrophils.kernels import begin_course, prepare, step_body
from oncogym.envs.chemo_neutrophils.records import CONSTANTS, COURSE, PATIENT, PROBLEM
from oncogym.envs.lane_kernels import ROW, WHOLE, Shared, over_lanes

# Longest step [d].
_STEP = 0.05


def expose(patient, ends, levels, counts, constants, settings, state):
    """Follow a marrow from rest while the concentration is constant from time to time.

    Args:
        patient, constants, settings, state: Records, see the records of ``chemo_neutrophils``; the
            second and the last are written.
        ends: Times at which the intervals end, from 0 on ``(times,)`` [d].
        levels: Concentrations in them ``(times,)`` [mg/L].
        counts: Neutrophils at their ends ``(times,)`` [10^9/L], written.
    """
    prepare(constants, patient, settings)
    begin_course(state, patient)
    begin = 0.0
    for number in range(ends.shape[0]):
        length, level = ends[number] - begin, levels[number]
        steps = int(length / _STEP) + 4
        for _ in range(steps):
            step_body(state, constants, level, level, level, length / steps)
        begin = ends[number]
        counts[number] = state.count


expose_patients, _ = over_lanes(
    expose,
    patient=PATIENT,
    ends=WHOLE,
    levels=WHOLE,
    counts=ROW,
    constants=CONSTANTS,
    settings=Shared(PROBLEM),
    state=COURSE,
)
