"""Numbers that studies of adaptive therapy publish; times in days unless said otherwise.

The turnover study: Strobl et al. 2021, Cancer Res 81:1135, files ``ttpComparison_*.csv``. The
learners: Gallagher et al. 2024, Cancer Res 84:1929, files and notebook outputs. The trial: Zhang et
al. 2022, eLife 11:e76284, abstract and list of times, and its fits of 32 patients (CC0).
"""

from __future__ import annotations

from typing import NamedTuple

from oncogym.envs.adaptive_therapy import AdaptivePatient


class Row(NamedTuple):
    """One tumour of the turnover study; ``None``: full dose controls it for ever."""

    turnover: float
    cost: float
    n0: float
    fR: float
    full_dose: float | None
    at50: float | None


_COSTS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5)
# By tumour (n0, fR): full dose and AT50 for each cost.
_NO_TURNOVER = {
    (0.25, 0.1): ((106, 119, 136, 157, 184, 222), (106, 119, 136, 157, 184, 222)),
    (0.25, 0.001): ((296, 327, 366, 415, 481, 573), (315, 352, 395, 454, 521, 637)),
    (0.75, 0.1): ((278, 303, 332, 367, 413, 473), (278, 303, 332, 367, 413, 473)),
    (0.75, 0.001): ((452, 491, 539, 601, 684, 800), (663, 707, 822, 931, 1116, 1235)),
}
_TURNOVER = {
    (0.25, 0.1): ((161, 186, 222, 273, 358, 523), (161, 186, 233, 293, 384, 588)),
    (0.25, 0.001): ((394, 454, 536, 657, 850, 1214), (464, 537, 648, 822, 1092, 1658)),
    (0.5, 0.1): ((242, 284, 349, 472, None, None), (278, 340, 417, 547, None, None)),
    (0.5, 0.001): ((470, 547, 660, 854, None, None), (701, 849, 1106, 1478, None, None)),
}
# By n0: full dose and AT50 for fR 0.1, 0.01 and 0.001; no cost, no turnover.
_BURDENS = {
    0.25: ((106, 207, 296), (106, 210, 315)),
    0.35: ((120, 224, 314), (120, 235, 350)),
    0.45: ((139, 246, 335), (139, 266, 394)),
    0.55: ((166, 273, 361), (166, 309, 452)),
    0.65: ((206, 310, 397), (206, 371, 535)),
    0.75: ((278, 369, 452), (278, 473, 663)),
}

#: All tumours of the turnover study; those of ``_BURDENS`` stand there once more.
TURNOVER_STUDY = (
    *(
        Row(turnover, cost, n0, fR, full, adaptive)
        for turnover, table in ((0.0, _NO_TURNOVER), (0.25, _TURNOVER))
        for (n0, fR), columns in table.items()
        for cost, full, adaptive in zip(_COSTS, *columns, strict=True)
    ),
    *(
        Row(0.0, 0.0, n0, fR, full, adaptive)
        for n0, columns in _BURDENS.items()
        for fR, full, adaptive in zip((0.1, 0.01, 0.001), *columns, strict=True)
    ),
)

#: The learners' ten synthetic patients: cost, turnover, full dose, adaptive therapy "monthly".
SYNTHETIC = (
    (0.2142290701047074, 0.6459910005143006, 1583, 2170),
    (0.3053398130241253, 0.5763103044382669, 1898, 2667),
    (0.2544211183749576, 0.6071390794931628, 1575, 2135),
    (0.2058007815806803, 0.6936897355987459, 2877, 4508),
    (0.2158757009513018, 0.5358699110056746, 796, 937),
    (0.2229072690437091, 0.5314106407505931, 804, 937),
    (0.2035569014014113, 0.5498675100044146, 803, 951),
    (0.212390461284788, 0.5040723796124017, 688, 790),
    (0.3605267792012403, 0.5395324594419115, 2336, 3388),
    (0.2012722621055397, 0.5094717882200103, 674, 776),
)
SYNTHETIC_START = {"n0": 0.1, "fR": 0.01}
#: What the learners were trained with: patient 25 of Bruchovsky's trial, as fitted there.
PATIENT_25 = AdaptivePatient(
    n0=0.4256746072629833, fR=1e-5, cost=0.2298963329411433, turnover=0.2914154353927948
)


class Learnt(NamedTuple):
    """Mean time to progression of a published learner that gives all or nothing."""

    id: str
    what: str
    patient: AdaptivePatient
    interval_days: int
    ttp: float
    note: str


LEARNERS = (
    Learnt("base_1d", "base, daily", AdaptivePatient(), 1, 800.0, "one replicate, figure 2"),
    Learnt("p25_7d", "patient 25, 7 d", PATIENT_25, 7, 2342.6, "10 replicates"),
    Learnt("p25_30d", "patient 25, 30 d", PATIENT_25, 30, 2184.0, "10 replicates"),
    Learnt("p25_42d", "patient 25, 42 d", PATIENT_25, 42, 1050.0, "10 replicates"),
    Learnt("p25_46d", "patient 25, 46 d", PATIENT_25, 46, 276.0, "10 replicates"),
    Learnt("group_7d", "patient 25, 7 d, trained on seven patients", PATIENT_25, 7, 1528.5, ""),
    Learnt("synthetic_7d", "patient 25, 7 d, trained on synthetic ones", PATIENT_25, 7, 1702.8, ""),
)

#: The trial's times to progression [months], and whether each was censored.
TRIAL_ADAPTIVE = (
    (30.6, False), (53.1, False), (11.0, False), (38.0, False), (42.8, False), (30.1, False),
    (17.0, False), (10.7, False), (54.0, True), (25.4, False), (50.0, True), (20.4, False),
    (31.4, False), (35.5, True), (10.8, False), (23.0, True),
)  # fmt: skip
TRIAL_CONTROL = (
    6.5, 3.2, 32.0, 9.0, 26.0, 15.0, 25.0, 19.6, 4.0, 14.8, 9.0, 17.3, 13.8, 17.7, 7.0, 4.2,
)  # fmt: skip
#: Medians of the abstract [months].
TRIAL_MEDIANS = {"adaptive": 33.5, "control": 14.3}
