"""The simulations behind the EMT6/Ro checks and figures, each computed once, when it is needed."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from oncogym.core.checks import check_choice
from oncogym.envs.device import choose_device
from oncogym.envs.emt6ro_fractionation import Protocol, Tumour, library, read_tumour, simulate
from oncogym.evaluation.reproduce.emt6ro.runs import simulate_sites
from oncogym.evaluation.reproduce.emt6ro.sample_statistics import random_protocols
from oncogym.evaluation.reproduce.emt6ro.tables import (
    COURSE,
    COURSE_DOSES,
    NORMALITY_RUNS,
    PROTOCOLS,
    RANDOM_PROTOCOLS,
    find_protocol,
)

#: How a fidelity is offered, from the exact one to the cheapest.
FIDELITIES = ("exact", "accelerated", "screening")
#: Sites by which the mean of a protocol may be off at each fidelity without being wrong. Tumours
#: differ by 4 sites after treatment, so that a library of ten is off by 1.3, and two by 3 at most.
#: Faster clocks add their bias against the exact law and its uncertainty: +2.0 +- 0.8 sites were
#: measured at m = 20 and +2.9 +- 1.5 at m = 40 on other programs (section 10.3 of the
#: specification).
ALLOWANCE = {"exact": 3.0, "accelerated": 6.0, "screening": 9.0}
#: Share of the sites by which a phase may be off at a faster fidelity, which the specification saw
#: differ by 0.006 to 0.010, noise included (section 10.3).
SHARE_ALLOWANCE = 0.01
#: Columns of the courses that are compared: all sites, then those in the phases that last.
COURSE_COLUMNS = ("sites", "g1", "s", "g2", "m")
#: Protocols of these courses by the identifiers of their checks: many early doses, few late ones.
COMPARED = {
    "b1": Protocol.parse(COURSE_DOSES, "8 x 1.25 Gy, 17 h"),
    "ga4": find_protocol("GA4.0-1").protocol,
}
# Runs of each of them in all, at least.
_COURSE_RUNS = 60
# Streams of the exact law, when it stands beside a faster one with the user's seed.
_OTHER = 0x5EED0000


def read_library(folder: Path) -> list[Tumour]:
    """The tumours ``tumor-1.txt``, ``tumor-2.txt``, … of a folder, by their numbers.

    Raises:
        FileNotFoundError: The folder has none.
        TumourFileError: A file is malformed; the message names file, line and value.
    """
    found = {}
    for path in folder.glob("tumor-*.txt"):
        number = re.fullmatch(r"tumor-(\d+)\.txt", path.name)
        if number:
            found[int(number[1])] = path
    if not found:
        raise FileNotFoundError(f"{folder}: no tumours tumor-1.txt, tumor-2.txt, …")
    return [read_tumour(found[number]) for number in sorted(found)]


@dataclass(frozen=True)
class Sample:
    """Mean and standard deviation of ``count`` independent outcomes."""

    mean: float
    sd: float
    count: int

    @classmethod
    def of(cls, values: NDArray) -> Sample:
        """The sample of all values of an array, at least two."""
        return cls(float(values.mean()), float(values.std(ddof=1)), values.size)

    @property
    def error(self) -> float:
        """Standard error of the mean."""
        return self.sd / self.count**0.5


class Study:
    """One choice of settings; every attribute is computed on first use.

    Args:
        seed: Key of all simulations.
        fidelity: One of :data:`FIDELITIES`.
        runs: Simulations of each printed protocol in all, a multiple of the number of tumours.
        equality: Simulations of each random protocol and fidelity in all, likewise; 0 for none.
        tumours: Initial tumours; the shipped ten by default.
        folder: Where outcomes are kept, or ``None``.
        device: As :func:`simulate` takes it.

    Raises:
        DeviceError: There is no such device here.
        ValueError: A number is out of range, or ``equality`` is asked of the exact law itself.
    """

    def __init__(
        self,
        seed: int = 0,
        fidelity: str = "accelerated",
        runs: int = 100,
        equality: int = 0,
        tumours: Sequence[Tumour] | None = None,
        folder: Path | None = None,
        device: str = "cpu",
    ) -> None:
        self.seed = seed
        self.device = choose_device(device)
        self.fidelity = check_choice("fidelity", fidelity, FIDELITIES)
        self.tumours = list(library() if tumours is None else tumours)
        self.folder = folder
        self.runs_each = self._each("runs", runs)
        self.equality_each = self._each("equality", equality) if equality else 0
        if equality and fidelity == "exact":
            raise ValueError("equality compares a faster fidelity with the exact one; allowed: "
                             "accelerated, screening")  # fmt: skip

    def _each(self, name: str, runs: int) -> int:
        count = len(self.tumours)
        if runs < 2 * count or runs % count:
            raise ValueError(
                f"{name} is {runs}; allowed: multiples of {count}, the number of tumours, from "
                f"{2 * count}"
            )
        return runs // count

    @property
    def allowance(self) -> float:
        """Systematic allowance of the fidelity [sites], see :data:`ALLOWANCE`."""
        return ALLOWANCE[self.fidelity]

    def _simulate(
        self,
        name: str,
        protocols: Sequence[Protocol],
        runs: int,
        *,
        fidelity: str = "",
        seed: int | None = None,
        tumours: Sequence[Tumour] | None = None,
    ) -> NDArray[np.int16]:
        return simulate_sites(
            name,
            protocols,
            self.tumours if tumours is None else tumours,
            runs,
            self.seed if seed is None else seed,
            fidelity or self.fidelity,
            None if self.folder is None else self.folder / f"{name}.npz",
            self.device,
        )

    @cached_property
    def fitness(self) -> dict[str, Sample]:
        """Fitness of the printed protocols by name."""
        sites = self._simulate("protocols", [row.protocol for row in PROTOCOLS], self.runs_each)
        return {row.name: Sample.of(1500.0 - sites[number]) for number, row in enumerate(PROTOCOLS)}

    @cached_property
    def random(self) -> list[Protocol]:
        """Random protocols for the comparison of fidelities."""
        return random_protocols(RANDOM_PROTOCOLS, self.seed)

    @cached_property
    def normality_sites(self) -> NDArray[np.int16]:
        """Sites after many runs of one random protocol on one tumour."""
        runs = min(NORMALITY_RUNS, 20 * self.runs_each * len(self.tumours))
        return self._simulate(
            "normality", self.random[:1], runs, tumours=self.tumours[:1]
        ).ravel()  # fmt: skip

    @cached_property
    def equality_sites(self) -> tuple[NDArray[np.int16], NDArray[np.int16]]:
        """Sites ``(protocols, runs)`` of the random protocols: this fidelity, the exact law."""
        count, each = len(self.random), self.equality_each
        ours = self._simulate(f"equality-{self.fidelity}", self.random, each)
        exact = self._simulate("equality-exact", self.random, each, fidelity="exact",
                               seed=self.seed ^ _OTHER)  # fmt: skip
        return ours.reshape(count, -1), exact.reshape(count, -1)

    @cached_property
    def course(self) -> NDArray[np.float64]:
        """Sites ``(tumours, runs, hours)`` of the published time course at its hours."""
        result = simulate(
            Protocol.parse(COURSE_DOSES, "b1"), self.tumours, self.runs_each, self.seed,
            fidelity=self.fidelity, record=[hour for hour, _, _ in COURSE], device=self.device,
        )  # fmt: skip
        return result.course("sites")[0].astype(np.float64)

    @cached_property
    def compared_courses(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Hourly courses of :data:`COMPARED` at this fidelity and at the exact one, same tumours.

        ``(protocols, tumours, runs, 241, columns)``, columns in :data:`COURSE_COLUMNS`.
        """
        runs = max(2, -(-_COURSE_RUNS // len(self.tumours)))
        found = []
        for fidelity, seed in ((self.fidelity, self.seed), ("exact", self.seed ^ _OTHER)):
            result = simulate(list(COMPARED.values()), self.tumours, runs, seed,
                              fidelity=fidelity, record="hourly", device=self.device)  # fmt: skip
            found.append(np.stack([result.course(name) for name in COURSE_COLUMNS], axis=-1))
        return found[0], found[1]
