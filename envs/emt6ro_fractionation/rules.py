"""Rules of one lattice site, as scalar functions: the same source for every processor.

A site is vacant or holds a group of 20 cells that share one state. Time is counted in steps of 6 s,
so that clocks are whole numbers that float32 holds exactly; amounts are fmol a site, doses Gy.

Nothing here knows of arrays, lanes or threads. Numba compiles these functions into the CPU kernels
beside this file, and its CUDA target compiles the same ones for a GPU. A kernel file: it imports
nothing but numpy, numba, math, records and other kernel files.
"""

import math

import numpy as np

from oncogym.envs.compiled import compiled
from oncogym.envs.streams import normal_pair, uniform_pair

# What a site holds: nothing, or cells in one of the phases.
VACANT, G1, S, G2, M, D = range(6)
# Modes of metabolism; DIES marks a site whose cells can no longer be sustained.
AEROBIC, ANAEROBIC, AEROBIC_QUIESCENT, ANAEROBIC_QUIESCENT, DIES = range(5)

STEPS_PER_HOUR = 600
STEPS_PER_SLOT = 300  # doses lie on a grid of half an hour
CYCLE_SLOTS = 40  # the mean cycle of 20.1 h in slots

# Random draws: what they decide.
_REPAIR, _DIVIDE, _CYCLE = range(3)
_FIRST_STREAM = 16
_BLOCKS = 32
MAX_ATTEMPTS = 62

# Chance of one orthogonal neighbour; a diagonal one is farther away by sqrt(2), so rarer by that.
_ORTHOGONAL = math.sqrt(2.0) / (4.0 + 4.0 * math.sqrt(2.0))
_DIAGONAL = 1.0 / (4.0 + 4.0 * math.sqrt(2.0))

_ZERO = np.float32(0.0)
_ONE = np.float32(1.0)
_HALF = np.float32(0.5)
_TWO = np.float32(2.0)


@compiled(inline="always")
def metabolic_mode(phase, held, amounts, limits):
    """Mode of an occupied site, ``DIES`` if none is possible (spec. 3.2a).

    ``held`` says that crowding stops it before S. ``amounts`` are its glucose, oxygen and acid.
    ``limits`` are those that the modes need: glucose and oxygen of mode 0, glucose of 1, glucose
    and oxygen of 2, glucose of 3, then the acid at which proliferation and life end. Amounts and
    limits may be taken from any common origin.
    """
    cho, ox, gi = amounts
    cho0, ox0, cho1, cho2, ox2, cho3, acid_stop, acid_death = limits
    calm = gi < acid_stop
    alive = gi < acid_death
    go = (not held) & calm
    rests = (phase == G1) | (phase == G2)
    mode = np.int32(DIES)
    mode = np.int32(ANAEROBIC_QUIESCENT) if rests & alive & (cho >= cho3) else mode
    mode = np.int32(AEROBIC_QUIESCENT) if rests & alive & (cho >= cho2) & (ox >= ox2) else mode
    mode = np.int32(ANAEROBIC) if go & (cho >= cho1) else mode
    return np.int32(AEROBIC) if go & (cho >= cho0) & (ox >= ox0) else mode


@compiled(inline="always")
def by_mode(mode, values):
    """The value of a mode among those of the four, in the order of the modes; else 0."""
    value = values[0] if mode == AEROBIC else _ZERO
    value = values[1] if mode == ANAEROBIC else value
    value = values[2] if mode == AEROBIC_QUIESCENT else value
    return values[3] if mode == ANAEROBIC_QUIESCENT else value


@compiled(inline="always")
def pass_time(phase, vacant, clock, end, repaired, repair, amounts, limits, pace):
    """What nearly all sites do in a step: mode, clock, time in repair (spec. 3.2).

    Args:
        phase, vacant: The site's phase and its vacant neighbours.
        clock, end, repaired, repair: Its clock, the end of its phase, time in repair and duration
            of the repair [steps].
        amounts, limits: Its substrates and what modes need, see :func:`metabolic_mode`.
        pace: Model steps that pass; steps before the end of D at which a group that has not divided
            dies; whether the site is left to :func:`advance_exact` or :func:`advance_budget` in any
            case.

    Returns:
        (mode, 1 if the site is left to those, else 0, clock, time in repair).
    """
    run, slack, marked = pace
    crowded = (phase == G1) & (vacant <= 1)
    held = crowded & (clock > end - _TWO)
    mode = metabolic_mode(phase, held, amounts, limits)
    mode = np.int32(DIES) if (phase == D) & (clock >= end - slack) else mode
    mode = np.int32(DIES) if phase == VACANT else mode
    busy = repaired > _ZERO
    prolific = (mode == AEROBIC) | (mode == ANAEROBIC)
    goal = end - (_ONE if crowded else _ZERO)
    more = (prolific & (not busy) & (clock + run > goal)) | (phase == D)
    more = more | (busy & (repaired + run >= repair)) | (mode == DIES)
    more = (more | marked) & (phase != VACANT)
    late = clock + run if prolific & (not busy) & (not more) else clock
    healed = repaired + run if busy & (not more) else repaired
    return mode, np.int32(1) if more else np.int32(0), late, healed


@compiled(inline="always")
def stream_of(site, what, block):
    """Random stream of a site's draw; the step is the index within it."""
    return _FIRST_STREAM + (site * 3 + what) * _BLOCKS + block


@compiled(inline="always")
def repair_time(damage, biology):
    """Duration of the repair of ``damage`` [Gy], in steps: a exp(b R) (spec. 2)."""
    return np.float32(biology.delay * math.exp(biology.delay_growth * damage))


@compiled
def acute_dose(doses, slot):
    """Sum of the doses [Gy] within one cell cycle up to ``slot``.

    Damage of a cell that has not begun a repair adds up, and it begins one within a cycle unless it
    rests.
    """
    total = 0.0
    for earlier in range(max(slot - CYCLE_SLOTS + 1, 0), slot + 1):
        total += doses[earlier]
    return total


@compiled(inline="always")
def irradiate(damage, repaired, dose, biology):
    """Damage [Gy] after a dose (spec. 3.2b).

    An interrupted repair of ``repaired`` steps counts in part.
    """
    return np.float32(damage / (1.0 + repaired / biology.recovery) + dose)


@compiled(inline="always")
def killed(damage, biology, chance, site):
    """Whether the cells die at the end of the repair of ``damage`` [Gy] (spec. 3.2e)."""
    u, _ = uniform_pair(chance.seed, chance.episode, stream_of(site, _REPAIR, 0), chance.step)
    return u < -math.expm1(-biology.survival * damage)


@compiled
def advance_exact(phase, clock, ends, damage, repaired, repair, prolific, biology, chance, site):
    """Clock, repair and division of one step of 6 s (spec. 3.2d to f).

    ``ends`` are the ends of the five phases [steps]. Returns (phase, clock, damage, repaired,
    repair, attempts at division); phase ``VACANT`` means death.
    """
    changed = False
    if prolific and repaired == _ZERO:
        clock += _ONE
        if clock > ends[phase - 1] and phase < D:
            phase += 1
            changed = phase != D
    if repaired > _ZERO or (damage > _ZERO and changed):
        repaired += _ONE
        if repaired >= repair:
            if killed(damage, biology, chance, site):
                return VACANT, clock, damage, repaired, repair, 0
            damage = repaired = repair = _ZERO
    return phase, clock, damage, repaired, repair, 1 if phase == D else 0


@compiled
def advance_budget(phase, clock, ends, damage, repaired, repair, prolific, crowded, length, biology,
                   chance, site):  # fmt: skip
    """Clock, repair and division over ``length`` steps at once (spec. 10.2).

    As :func:`advance_exact`, but for ``crowded``: whether at most one neighbour is vacant.

    The time is spent event by event, so that what is left after the end of a phase or of a repair
    counts for the next one.
    """
    left = np.float32(length)
    while True:
        if repaired > _ZERO:
            if repair - repaired > left:
                return phase, clock, damage, repaired + left, repair, 0
            left -= max(repair - repaired, _ZERO)
            if killed(damage, biology, chance, site):
                return VACANT, clock, damage, repaired, repair, 0
            damage = repaired = repair = _ZERO
        if not prolific:
            return phase, clock, damage, repaired, repair, 0
        if phase == D:
            # Rounds half up, alike on all processors.
            room = math.ceil(ends[D - 1] - _ONE - clock)
            attempts = max(0, min(int(left + _HALF), int(room), MAX_ATTEMPTS))
            return phase, clock + left, damage, repaired, repair, attempts
        # Cells in a crowd wait before S for the next test of their neighbourhood.
        clamped = phase == G1 and crowded
        end = ends[phase - 1] - _ONE if clamped else ends[phase - 1]
        if end - clock >= left:
            return phase, clock + left, damage, repaired, repair, 0
        left -= max(end - clock, _ZERO)
        clock = max(clock, end)
        if clamped:
            return phase, clock, damage, repaired, repair, 0
        phase += 1
        if damage > _ZERO and phase != D:
            # A repair that has begun has a time above 0.
            repaired = min(np.float32(1e-3), _HALF * repair)


@compiled
def division_draw(chance, site, number):
    """Draw ``number`` of a site's division: 0 orders the sites, then one for each attempt."""
    stream = stream_of(site, _DIVIDE, number // 2)
    u, v = uniform_pair(chance.seed, chance.episode, stream, chance.step)
    return v if number % 2 else u


@compiled
def direction(u):
    """Neighbour ``(row, column)`` offset that a uniform draw picks, vacant or not (spec. 3.3)."""
    if u < 4.0 * _ORTHOGONAL:
        k = int(u / _ORTHOGONAL)
        if k == 0:
            return -1, 0
        if k == 1:
            return 0, -1
        return (0, 1) if k == 2 else (1, 0)
    k = int((u - 4.0 * _ORTHOGONAL) / _DIAGONAL)
    return (-1 if k < 2 else 1), (-1 if k % 2 == 0 else 1)


@compiled
def new_cycle(settings, chance, site):
    """Ends of G1 and S [steps] of a new group, normally distributed (spec. 2)."""
    x, y = normal_pair(chance.seed, chance.episode, stream_of(site, _CYCLE, 0), chance.step)
    first = np.float32(settings.g1 + settings.g1_sd * x)
    return first, np.float32(first + settings.s + settings.s_sd * y)
