"""The trial's own model (Zhang et al. 2022) and the statistics of its two arms.

    S' = rS S (1 - (S + R) / (10000 - 9500 u)),   R' = rR R (1 - (6 S + R) / 10000)

with u = 1 on drug. The source prints rates of 0.0156 x 8 and 0.0091 x 8 in a unit of time of which
its code advances a sixth while it counts a day: rates a day are a sixth of these. With 8 a day 22
of its 32 patients would never progress under full dose.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from oncogym.core.arrays import Floats

_SENSITIVE, _RESISTANT = 0.0156 * 8.0 / 6.0, 0.0091 * 8.0 / 6.0  # 1/d
_LIMIT = 1.2
#: Days followed at most: 20 years.
LONGEST = 7300
#: Days of a month.
MONTH = 30.44

#: Fits of the control arm: S and R at the first dose, months to radiographic progression.
CONTROLS = np.array([
    (2250.42459113938, 136.14482190546317, 9.0), (1867.68, 1.0, 26.0),
    (1976.1519328417237, 32.96298188259085, 15.0), (2435.969217660615, 617.0567013865034, 4.2),
    (2696.5841322316564, 600.3873610950732, 7.0), (1998.858198446355, 25.70037528015065, 17.7),
    (6552.52127690169, 166.29029493700227, 17.3), (4362.58, 24.08, 19.6),
    (4545.919668760874, 787.3068065400952, 6.5), (4951.7893664424455, 472.51636740799404, 9.0),
    (2953.6013930328086, 772.31127699776, 4.0), (7754.8530367641415, 15.283055906355559, 25.0),
    (2113.105301799033, 72.77774714720012, 13.8), (2645.666062308652, 44.97782450631907, 14.8),
    (2356.24, 683.69, 3.2),
])  # fmt: skip
#: Fits of the adaptive arm: S and R at the first dose.
ADAPTIVE = np.array([
    (2158.32, 52.35), (2365.35, 62.36), (5782.98, 105.32), (3475.7039532283197, 1621.8051158368457),
    (4407.489359234151, 7.773595509746336), (2483.024146035653, 603.7962643318508),
    (3503.41424026896, 203.60808441112553), (2830.425746159625, 156.89426524673507),
    (2407.9310027464526, 1765.2385902014955), (3285.31, 26.37),
    (2530.6452207997836, 706.2309542245346), (4708.015710204863, 127.90510615657274),
    (3757.2372863746473, 23.554776162602533), (6418.037828674586, 678.7396396927452),
    (7268.0732653417635, 557.3005578799729), (1887.8814049776463, 315.84927038782195),
    (3534.4159457670353, 346.120271867458),
])  # fmt: skip


def treat_trial_patients(start: Floats, *, interval_days: int = 0) -> Floats:
    """Days until the marker exceeds 1.2 times that at the first dose, infinite within 20 years.

    Args:
        start: S and R at the first dose ``(patients, 2)``.
        interval_days: Days between visits of the trial's rule (off below half, on again above the
            start); 0 for full dose without a break.
    """
    s, r = np.array(start[:, 0]), np.array(start[:, 1])
    first = s + r
    dose, progressed = np.ones(len(s)), np.full(len(s), np.inf)

    def slopes(s: Floats, r: Floats) -> tuple[Floats, Floats]:
        room = 10_000.0 - 9500.0 * dose
        return (
            _SENSITIVE * s * (1.0 - (s + r) / room),
            _RESISTANT * r * (1.0 - (6.0 * s + r) / 10_000.0),
        )

    for day in range(LONGEST):
        if interval_days and day % interval_days == 0:
            marker = (s + r) / first
            dose = np.where(marker < 0.5, 0.0, np.where(marker > 1.0, 1.0, dose))
        a_s, a_r = slopes(s, r)
        b_s, b_r = slopes(s + 0.5 * a_s, r + 0.5 * a_r)
        c_s, c_r = slopes(s + 0.5 * b_s, r + 0.5 * b_r)
        d_s, d_r = slopes(s + c_s, r + c_r)
        s = np.clip(s + (a_s + 2.0 * b_s + 2.0 * c_s + d_s) / 6.0, 0.0, 10_000.0)
        r = np.clip(r + (a_r + 2.0 * b_r + 2.0 * c_r + d_r) / 6.0, 0.0, 10_000.0)
        over = (s + r > _LIMIT * first) & np.isinf(progressed)
        progressed[over] = day + 1
        if not np.isinf(progressed).any():
            break
    return progressed


def median_survival(times: Sequence[tuple[float, bool]]) -> float:
    """Kaplan and Meier's median: when half of the patients or fewer are left.

    Args:
        times: Time of each patient, and whether it was censored; an event at the same time counts
            before a censoring.
    """
    left, share = len(times), 1.0
    for time, censored in sorted(times):
        if not censored:
            share *= 1.0 - 1.0 / left
            if share <= 0.5 + 1e-12:
                return time
        left -= 1
    return float("inf")
