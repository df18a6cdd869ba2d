"""Parameters of the automaton, and how faithfully it is computed."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import NDArray

from oncogym.core.checks import check_choice, whole_number
from oncogym.core.errors import nearest
from oncogym.envs.emt6ro_fractionation.diffusion_kernels import KAPPA_FACTOR
from oncogym.envs.emt6ro_fractionation.records import SETTINGS
from oncogym.envs.emt6ro_fractionation.rules import STEPS_PER_HOUR
from oncogym.envs.records import make_rows, records_of

# The source's law of the repair duration, a exp(b damage), of survival, and of the recovery from a
# dose during the repair of the one before.
REPAIR_DELAY = 3.3414  # h
REPAIR_GROWTH = 0.1492  # 1/Gy
SURVIVAL = 0.4993  # 1/Gy
RECOVERY = 0.8  # h

SUBSTEP_SECONDS = 0.25
SUBSTEPS = 24
# Largest weight of a sub-step: beyond it the scheme may oscillate.
_LARGEST_KAPPA = 2.0 / (4.0 + 2.0 * np.sqrt(2.0) + 2.0 * np.sqrt(2.0))


@dataclass(frozen=True)
class Fidelity:
    """How a course is computed.

    Args:
        compression: Model steps of 6 s that cell clocks advance for each step of the fields, 1 to
            60; 1 is the exact law.
        substeps: Diffusion sub-steps of glucose, oxygen and acid in a field step; 24 is the
            model's, fewer are cheaper and less exact.
        momentum: Share of a field's last change that is added to it in the next field step, from
            0 to below 1; the exact law has none. Fields that step 20 times more rarely than cells
            lag behind them, interior cells starve late, and without it a tumour has 3.8 [1.3, 6.3]
            sites too many after ten days, of about 405, at a compression of 20. With 0.7 it has 6.7
            [4.0, 9.4] too few. The value, 0.25, is interpolated between these two and was then
            checked on other random numbers: 1.6 [-0.9, 4.1] too many.
    """

    compression: int = 1
    substeps: tuple[int, int, int] = (SUBSTEPS, SUBSTEPS, SUBSTEPS)
    momentum: float = 0.0


#: The exact law; the compressed one for reported numbers; the cheapest one, for searches.
FIDELITIES = {
    "exact": Fidelity(),
    "accelerated": Fidelity(20, momentum=0.25),
    "screening": Fidelity(40, (12, 18, 12), 0.25),
}


def fidelity_of(name: str, compression: int | None = None) -> Fidelity:
    """The fidelity called ``name``, with another ``compression`` if one is given.

    Raises:
        ValueError: There is no such name, or the compression is out of range.
    """
    chosen = FIDELITIES[check_choice("fidelity", name, tuple(FIDELITIES))]
    if compression is None:
        return chosen
    whole_number("compression", compression, 1, 60)
    return replace(chosen, compression=int(compression))


@dataclass(frozen=True)
class Parameters:
    """Physics and cell biology that all patients share, by default those of the source.

    Args:
        diffusion_glucose, diffusion_oxygen, diffusion_acid: Diffusion coefficients [sites^2/s].
        bath_glucose, bath_oxygen, bath_acid: Amounts outside the tumour [fmol a site].
        glucose_use: Glucose that a site consumes in 6 s [fmol] in each mode: aerobic, anaerobic,
            aerobic quiescent, anaerobic quiescent. It is also what the mode needs.
        oxygen_use: The same for oxygen.
        acid_made: Acid that a site makes in 6 s [fmol] in each mode.
        acid_stop: Acid at which proliferation ends [fmol a site] (pH 6.4).
        acid_death: Acid at which life ends [fmol a site] (pH 6.0).
        g1, g1_sd, s, s_sd: Mean and standard deviation of the phases G1 and S [h].
        g2, m, d: Durations of G2, M and of the time to divide [h].

    Raises:
        ValueError: A value is not finite or negative, or a diffusion coefficient makes the scheme
            unstable.
    """

    diffusion_glucose: float = 0.7
    diffusion_oxygen: float = 1.3409874655051011
    diffusion_acid: float = 0.81048692970088532
    bath_glucose: float = 275.0
    bath_oxygen: float = 14.0
    bath_acid: float = 1.99e-3
    glucose_use: tuple[float, float, float, float] = (21.6, 54.0, 18.0, 45.0)
    oxygen_use: tuple[float, float, float, float] = (9.96, 0.0, 8.28, 0.0)
    acid_made: tuple[float, float, float, float] = (0.0, 3e-3, 0.0, 3e-5)
    acid_stop: float = 1.99e-2
    acid_death: float = 5e-2
    g1: float = 6.0
    g1_sd: float = 1.0
    s: float = 10.0
    s_sd: float = 2.0
    g2: float = 2.0
    m: float = 2.0
    d: float = 0.1

    def __post_init__(self) -> None:
        for field in fields(self):
            value = np.asarray(getattr(self, field.name), np.float64)
            if value.shape not in ((), (4,)) or not np.isfinite(value).all() or value.min() < 0.0:
                raise ValueError(
                    f"{field.name} is {getattr(self, field.name)!r}; allowed: finite, at least 0"
                )

    @property
    def bath(self) -> NDArray[np.float64]:
        """Amounts outside the tumour ``(3,)`` [fmol a site]."""
        return np.array([self.bath_glucose, self.bath_oxygen, self.bath_acid])

    def settings(self, fidelity: Fidelity, follow_acid: bool = False) -> NDArray[np.float64]:
        """The row that the kernels read.

        Args:
            fidelity: How the course is computed.
            follow_acid: Compute the acid in every step. By default it is sampled while it is far
                from the amount at which it acts, which leaves the cells as they are.

        Raises:
            ValueError: A sub-step is unstable or a number of sub-steps is odd.
        """
        (row,) = make_rows(1, SETTINGS)
        own = records_of(row, SETTINGS)
        own["external"] = self.bath
        own["kappa"] = self._kappa(fidelity)
        own["substeps"] = fidelity.substeps
        own["glucose_use"], own["oxygen_use"] = self.glucose_use, self.oxygen_use
        own["acid_made"] = self.acid_made
        own["acid_stop"], own["acid_death"] = self.acid_stop, self.acid_death
        for name in ("g1", "g1_sd", "s", "s_sd", "g2", "m", "d"):
            own[name] = getattr(self, name) * STEPS_PER_HOUR
        own["length"] = fidelity.compression
        own["momentum"] = 0.0 if fidelity.compression == 1 else fidelity.momentum
        # Odd numbers: the modes of a starving site alternate from step to step, and both count.
        sampled = 9 if fidelity.compression == 1 else 3
        own["acid_every"] = 1 if follow_acid else sampled
        return row

    def _kappa(self, fidelity: Fidelity) -> list[float]:
        """Weight of a sub-step of each substrate."""
        found = []
        spread = (self.diffusion_glucose, self.diffusion_oxygen, self.diffusion_acid)
        for coefficient, count in zip(spread, fidelity.substeps, strict=True):
            if count < 2 or count % 2:
                raise ValueError(f"substeps is {fidelity.substeps}; allowed: even, at least 2")
            kappa = coefficient * SUBSTEP_SECONDS * KAPPA_FACTOR * SUBSTEPS / count
            if kappa >= _LARGEST_KAPPA:
                raise ValueError(
                    f"{count} sub-steps with a diffusion coefficient of {coefficient:g} sites^2/s "
                    f"are unstable: kappa is {kappa:.4g}; allowed: below {_LARGEST_KAPPA:.4g}"
                )
            found.append(kappa)
        return found


def parameters_of(values: Parameters | dict[str, float] | None) -> Parameters:
    """``values`` as :class:`Parameters`; a mapping replaces single ones of the source's.

    Raises:
        UnknownNameError: A name is no parameter; the message suggests the nearest.
    """
    if values is None:
        return Parameters()
    if isinstance(values, Parameters):
        return values
    known = [field.name for field in fields(Parameters)]
    for name in values:
        if name not in known:
            raise nearest("parameter", name, known)
    return Parameters(**values)  # type: ignore[arg-type]
