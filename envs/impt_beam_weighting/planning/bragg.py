"""Depth dose of a proton pencil beam in water, after Bortfeld."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

from oncogym.core.arrays import Floats

# Range in water R = ALPHA E^POWER [cm, MeV]; Bortfeld, Med Phys 24:2024 (1997).
ALPHA = 0.0022
POWER = 1.77
# Share of the fluence that reaches the end with a lower energy (Bortfeld's epsilon).
_TAIL = 0.2
#: Relative standard deviation of the energy of the beam.
ENERGY_SPREAD = 0.01
#: Step of depth-dose tables [cm].
TABLE_STEP = 0.05
# Finer steps of the convolution in one step of a table, at least; steps in one sigma, at least; and
# reach of the Gaussian in sigmas.
_FINE = 10
_PER_SIGMA = 8
_REACH = 8.0
# Tables end so many sigmas behind the range, where the dose is below 1e-9 of the peak.
_BEHIND = 7.0
_ENERGIES = (1.0, 350.0)  # MeV


def range_of(energy: float | Floats) -> Floats:
    """Range in water [cm] of protons of ``energy`` [MeV].

    Raises:
        ValueError: An energy is outside 1 to 350 MeV.
    """
    values = np.asarray(energy, np.float64)
    if not ((values >= _ENERGIES[0]) & (values <= _ENERGIES[1])).all():
        raise ValueError(f"energy is {energy!r}; allowed: {_ENERGIES[0]:g} to {_ENERGIES[1]:g} MeV")
    return np.asarray(ALPHA * values**POWER)


def energy_of(reach: float | Floats) -> Floats:
    """Energy [MeV] of protons with range ``reach`` [cm] in water; the inverse of :func:`range_of`.

    Raises:
        ValueError: A range is not that of 1 to 350 MeV.
    """
    values = np.asarray(reach, np.float64)
    low, high = (ALPHA * e**POWER for e in _ENERGIES)
    # Ranges go through a power and back; a hair more is allowed.
    if not ((values >= low * (1 - 1e-9)) & (values <= high * (1 + 1e-9))).all():
        raise ValueError(f"range is {reach!r}; allowed: {low:.3g} to {high:.4g} cm")
    return np.asarray((values / ALPHA) ** (1.0 / POWER))


def straggling(reach: float) -> float:
    """Standard deviation of the range [cm]: straggling in water and the beam's energy spread."""
    energy = float(energy_of(reach))
    spread = ENERGY_SPREAD * energy * ALPHA * POWER * energy ** (POWER - 1.0)
    return math.hypot(0.012 * reach**0.935, spread)


def scattering(reach: float, depth: Floats) -> Floats:
    """Lateral standard deviation [cm] from multiple scattering at ``depth`` [cm] in water."""
    share = np.maximum(np.asarray(depth, np.float64), 0.0) / reach
    return np.asarray(0.0294 * reach**0.896 * share**1.5)


@lru_cache(maxsize=1024)
def _table(reach: float) -> Floats:
    sigma = straggling(reach)
    # Below 40 MeV the Gaussian is narrower than ten steps of a table would resolve.
    fine = max(_FINE, math.ceil(_PER_SIGMA * TABLE_STEP / sigma))
    step = TABLE_STEP / fine
    points = math.ceil((reach + _BEHIND * sigma) / TABLE_STEP) + 1
    reachable = math.ceil(_REACH * sigma / step)
    # Dose before smearing has a pole at the end of the range. Its antiderivative has none, so the
    # dose is the antiderivative convolved with the derivative of the Gaussian.
    depth = step * np.arange(-reachable, (points - 1) * fine + reachable + 1)
    left = np.maximum(reach - depth, 0.0)
    ramp = 0.444 + 31.7 * _TAIL / reach
    total = 17.93 / 0.565 * left**0.565 + ramp / 1.565 * left**1.565
    at = step * np.arange(-reachable, reachable + 1)
    slope = at / (sigma**3 * math.sqrt(2.0 * math.pi)) * np.exp(-0.5 * (at / sigma) ** 2)
    dose = _convolved(total, slope) * step / (1.0 + 0.012 * reach)
    table = np.maximum(dose[::fine], 0.0)
    table[table < 1e-12 * table.max()] = 0.0
    table = np.append(table / table.max(), 0.0)
    table.flags.writeable = False
    return table


def _convolved(values: Floats, weights: Floats) -> Floats:
    """Convolution where both overlap fully; SciPy's own takes half a second to import."""
    size = 1 << (len(values) + len(weights) - 2).bit_length()
    product = np.fft.rfft(values, size) * np.fft.rfft(weights, size)
    return np.asarray(np.fft.irfft(product, size)[len(weights) - 1 : len(values)])


def depth_dose(reach: float) -> tuple[Floats, Floats]:
    """Depths [cm] and dose of a broad beam with range ``reach`` [cm], largest dose 1.

    Bortfeld's analytic curve (Med Phys 24:2024, 1997, with 0.2 for the low-energy share), smeared
    by range straggling 0.012 R^0.935 cm and an energy spread of 1 %. Depths start at 0 and are
    0.05 cm apart; the last dose is 0, and it is 0 behind.

    Raises:
        ValueError: The range is not that of 1 to 350 MeV.
    """
    energy_of(reach)
    table = _table(float(reach))
    return TABLE_STEP * np.arange(len(table), dtype=np.float64), table
