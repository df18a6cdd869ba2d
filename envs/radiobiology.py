"""Radiation outcomes that a clinician asks for: pure functions of doses, no model behind them.

All doses are in gray, or in gray times RBE if the caller's doses are weighted by :data:`RBE`. A
course whose fractions differ is given fraction by fraction, because the linear-quadratic law is not
additive in dose: biologically effective doses are computed first and added afterwards.

Sources, and which of them were read:

* RBE 1.1 as the constant of clinical proton therapy: Dalalas et al., Appl. Sci. 14, 11981 (2024),
  abstract, read; Jones, PMC4381269, abstract, read (there also why it is doubted).
* Linear-quadratic law up to about 10 gray a fraction: Brenner, Semin. Radiat. Oncol. 2008,
  PMC2750078, abstract, read. The lower end of 1 gray is the one commonly taught; sfjro.fr ("Linear
  quadratic model", read) has 1 to 6 gray.
* Parotid 39.9 gray and 0.40 on the mean dose: Dijkema et al., Int. J. Radiat. Oncol. Biol. Phys.
  78, 449 (2010), abstract, read.
* Brainstem, cord and brain: the fits of Burman et al., Int. J. Radiat. Oncol. Biol. Phys. 21, 123
  (1991), as commonly printed. The paper was not read.
* alpha/beta of 10 (tumour), 3 (late tissue) and 2 (brain and cord): textbook values, none of them
  a measurement of the tissue in a model here. No primary source was read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import scipy
from numpy.typing import ArrayLike, NDArray

from oncogym.core.arrays import Floats
from oncogym.core.checks import check_option
from oncogym.envs.literature import Publication
from oncogym.envs.outcomes import Metric

#: Relative biological effectiveness of protons, one constant for all tissues and doses.
RBE = 1.1
#: alpha/beta by kind of tissue [gray].
ALPHA_BETA: Mapping[str, float] = MappingProxyType(
    {"tumour": 10.0, "late tissue": 3.0, "brain": 2.0, "cord": 2.0}
)
#: Dose of a fraction within which the linear-quadratic law is taken to hold [gray].
LQ_RANGE = (1.0, 10.0)
#: Volume parameter of the generalised equivalent uniform dose of a target: cold spots decide.
TARGET_EXPONENT = -10.0
#: Outcome of a radiation course: 1 where a fraction lies outside :data:`LQ_RANGE`.
LQ_OUTCOME = Metric("lq_range", "Courses with fractions outside the LQ law's range", "", False)
#: What stands behind :data:`LQ_RANGE`.
LINEAR_QUADRATIC_RANGE = Publication(
    "Brenner, Semin. Radiat. Oncol. (2008), PMC2750078",
    "doses of a fraction up to which the linear-quadratic law is taken to hold",
)
#: What stands behind the complications of organs and the effectiveness of protons.
PROTON_COMPLICATIONS = (
    Publication(
        "Dalalas et al., Appl. Sci. 14, 11981 (2024), and Jones, PMC4381269",
        "relative biological effectiveness of protons",
    ),
    Publication(
        "Dijkema et al., Int. J. Radiat. Oncol. Biol. Phys. 78, 449 (2010)",
        "complications of the parotid gland",
    ),
    Publication(
        "Burman et al., Int. J. Radiat. Oncol. Biol. Phys. 21, 123 (1991), as commonly printed",
        "complications of brainstem, cord and brain",
    ),
)


@dataclass(frozen=True)
class Organ:
    """Complication of an organ in the Lyman-Kutcher-Burman model.

    Args:
        n: Volume parameter, above 0; 1 means that the mean dose decides.
        m: Slope, above 0.
        td50: Uniform dose in 2-gray fractions after which half of the patients suffer [gray].
        alpha_beta: Of the organ [gray].
    """

    n: float
    m: float
    td50: float
    alpha_beta: float

    def __post_init__(self) -> None:
        for name in ("n", "m", "td50", "alpha_beta"):
            check_option(name, getattr(self, name), 1e-6, 1e6)


#: Organs by name; sources in the text of this module.
ORGANS: Mapping[str, Organ] = MappingProxyType(
    {
        "brainstem": Organ(n=0.16, m=0.14, td50=65.0, alpha_beta=ALPHA_BETA["brain"]),
        "cord": Organ(n=0.05, m=0.175, td50=66.5, alpha_beta=ALPHA_BETA["cord"]),
        "brain": Organ(n=0.25, m=0.15, td50=60.0, alpha_beta=ALPHA_BETA["brain"]),
        "parotid": Organ(n=1.0, m=0.40, td50=39.9, alpha_beta=ALPHA_BETA["late tissue"]),
    }
)


def bed(fractions: ArrayLike, alpha_beta: ArrayLike, axis: int = -1) -> Floats:
    """Biologically effective dose, sum of d (1 + d/(alpha/beta)) over fractions.

    Complete repair between fractions, no proliferation.

    Args:
        fractions: Doses ``(…, fractions, …)`` of at least 0; days without dose add nothing.
        alpha_beta: Of the tissue [gray], above 0: one, or one for each course, ``fractions``
            without ``axis``.
        axis: Axis of the fractions, over which the sum runs.

    Returns:
        The dose, ``fractions`` without that axis.

    Raises:
        ValueError: A dose is negative or not finite, or ``alpha_beta`` out of range.
    """
    ratios = np.asarray(alpha_beta, np.float64)
    for value in (ratios.min(), ratios.max()):
        check_option("alpha_beta", float(value), 1e-6, 1e6)
    ratio = np.expand_dims(ratios, axis) if ratios.ndim else ratios
    doses = _checked("a dose", fractions)
    return np.asarray((doses * (1.0 + doses / ratio)).sum(axis=axis), np.float64)


def eqd2(fractions: ArrayLike, alpha_beta: float, axis: int = -1) -> Floats:
    """Total dose in fractions of 2 gray with the same effect, BED/(1 + 2/(alpha/beta)).

    Args:
        fractions: Doses of the fractions, at least 0, as in :func:`bed`.
        alpha_beta: alpha/beta of the tissue, above 0, in the unit of the doses.
        axis: Axis of the fractions, over which is summed.

    Result and errors are as in :func:`bed`.
    """
    return bed(fractions, alpha_beta, axis) / (1.0 + 2.0 / alpha_beta)


def geud(doses: ArrayLike, exponent: float, volumes: ArrayLike | None = None) -> float:
    """Generalised equivalent uniform dose, (sum of v_i D_i^a)^(1/a) with relative volumes v_i.

    Args:
        doses: Dose of each voxel ``(voxels,)``, at least 0.
        exponent: a, not 0: 1 gives the mean, large ones tend to the largest dose, negative ones
            (targets) are ruled by the smallest. For an organ with volume parameter n it is 1/n.
        volumes: Volume of each voxel, above 0, in any unit; equal ones by default.

    Returns:
        A dose between the smallest and the largest; 0 for a negative exponent and a voxel without
        dose.

    Raises:
        ValueError: A dose or volume is out of range, or the exponent is 0 or not finite.
    """
    if not np.isfinite(exponent) or exponent == 0.0:
        raise ValueError(f"exponent is {exponent!r}; allowed: finite numbers other than 0")
    values, shares = _voxels(doses, volumes)
    # Scaled by the dose that dominates, so that no power overflows.
    scale = float(values.max() if exponent > 0.0 else values.min())
    if scale == 0.0:
        return 0.0
    return scale * float(shares @ (values / scale) ** exponent) ** (1.0 / exponent)


def tcp(survival: ArrayLike, clonogens: ArrayLike) -> float:
    """Tumour control probability: that no clonogen survives, product over voxels of exp(-N S).

    Args:
        survival: Surviving share of each voxel, 0 to 1, from the model that delivered the dose;
            with the linear-quadratic law exp(-alpha BED).
        clonogens: Clonogens of each voxel before treatment, at least 0 (density times volume).

    Raises:
        ValueError: A value is out of range.
    """
    share, count = _checked("a survival", survival), _checked("a number of clonogens", clonogens)
    if share.size and share.max() > 1.0:
        raise ValueError(f"a survival is {share.max():g}; allowed: 0 to 1")
    return float(np.exp(-(share * count).sum()))


def ntcp(doses: ArrayLike, organ: Organ, volumes: ArrayLike | None = None) -> float:
    """Complication probability of Lyman, Kutcher and Burman, Phi((gEUD - TD50)/(m TD50)).

    Args:
        doses: Dose of each voxel in 2-gray fractions (:func:`eqd2` with the organ's alpha/beta).
        organ: Its parameters.
        volumes: As in :func:`geud`.

    Returns:
        Probability, 0 to 1; one half at a uniform TD50. Note that Phi(-1/m) > 0 remains at no dose,
        0.6 % for m = 0.4: a property of the probit, not a risk of nothing.

    Raises:
        ValueError: As in :func:`geud`.
    """
    uniform = geud(doses, 1.0 / organ.n, volumes)
    return float(scipy.special.ndtr((uniform - organ.td50) / (organ.m * organ.td50)))


def uncomplicated_control(control: ArrayLike, complication: ArrayLike) -> Floats:
    """P+ = TCP (1 - NTCP), control without complication where the two are independent.

    Raises:
        ValueError: A probability is not within 0 and 1.
    """
    good, bad = _checked("a TCP", control), _checked("an NTCP", complication)
    for name, values in (("TCP", good), ("NTCP", bad)):
        if values.size and values.max() > 1.0:
            raise ValueError(f"{name} is {values.max():g}; allowed: 0 to 1")
    return np.asarray(good * (1.0 - bad))


def hottest_dose(doses: ArrayLike, volumes: ArrayLike, hottest: float) -> float:
    """D_cc: the largest dose that at least ``hottest`` of the volume gets.

    Args:
        doses: Dose of each voxel ``(voxels,)``.
        volumes: Volume of each voxel, all in one unit.
        hottest: Volume in the same unit, above 0 and at most that of the structure.

    Raises:
        ValueError: A dose or volume is out of range, or ``hottest`` is larger than the structure.
    """
    values, shares = _voxels(doses, volumes)
    total = float(np.sum(np.broadcast_to(np.asarray(volumes, np.float64), values.shape)))
    share = check_option("hottest", hottest, 1e-12, total) / total
    order = np.argsort(values)[::-1]
    reached = np.cumsum(shares[order])
    # A volume that is met but for rounding counts as met.
    return float(values[order][np.searchsorted(reached, share * (1.0 - 1e-12), side="left")])


def volume_above(doses: ArrayLike, level: float, volumes: ArrayLike | None = None) -> float:
    """V_D: share of the volume, 0 to 1, that gets at least ``level``.

    Args:
        doses: Dose of each voxel ``(voxels,)``, at least 0.
        level: The dose, in the same unit.
        volumes: Volume of each voxel, above 0, in any unit; equal ones by default.

    Raises:
        ValueError: A dose or volume is out of range.
    """
    values, shares = _voxels(doses, volumes)
    return float(shares[values >= level].sum())


def outside_lq_range(fractions: ArrayLike, axis: int = -1) -> NDArray[np.bool_]:
    """Whether a fraction with dose lies outside :data:`LQ_RANGE`, ``fractions`` without ``axis``.

    What the linear-quadratic law says of such a course is an extrapolation.

    Raises:
        ValueError: A dose is negative or not finite.
    """
    doses = _checked("a dose", fractions)
    low, high = LQ_RANGE
    return np.asarray(((doses > 0.0) & ((doses < low) | (doses > high))).any(axis=axis))


def _checked(name: str, values: ArrayLike) -> Floats:
    array = np.asarray(values, np.float64)
    bad = ~(np.isfinite(array) & (array >= 0.0))
    if bad.any():
        raise ValueError(f"{name} is {array[bad].ravel()[0]:g}; allowed: finite and at least 0")
    return array


def _voxels(doses: ArrayLike, volumes: ArrayLike | None) -> tuple[Floats, Floats]:
    """Doses ``(voxels,)`` and relative volumes that add up to 1."""
    values = _checked("a dose", doses).ravel()
    if not values.size:
        raise ValueError("there is no voxel; allowed: at least one")
    if volumes is None:
        return values, np.full(len(values), 1.0 / len(values))
    given = _checked("a volume", volumes).ravel()
    if given.shape not in (values.shape, (1,)):
        raise ValueError(f"there are {given.size} volumes; allowed: {values.size}, or one for all")
    weights = np.broadcast_to(given, values.shape)
    if weights.min() <= 0.0:
        raise ValueError("a volume is 0; allowed: above 0")
    return values, weights / weights.sum()
