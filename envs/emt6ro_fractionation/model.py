"""Patients and open-loop simulation of EMT6/Ro spheroids under irradiation."""

from __future__ import annotations

import hashlib
import sys
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from oncogym.core.checks import check_choice, whole_number
from oncogym.core.errors import nearest
from oncogym.envs.device import choose_device
from oncogym.envs.emt6ro_fractionation.jobs import Jobs
from oncogym.envs.emt6ro_fractionation.parameters import (
    RECOVERY,
    REPAIR_DELAY,
    REPAIR_GROWTH,
    SURVIVAL,
    Parameters,
    fidelity_of,
    parameters_of,
)
from oncogym.envs.emt6ro_fractionation.protocol import SLOT_HOURS, Protocol
from oncogym.envs.emt6ro_fractionation.records import BIOLOGY, COUNTERS, SAMPLED
from oncogym.envs.emt6ro_fractionation.rules import STEPS_PER_HOUR, STEPS_PER_SLOT
from oncogym.envs.emt6ro_fractionation.tumour import State, Tumour, stack
from oncogym.envs.emt6ro_fractionation.tumour_library import initial_states, library
from oncogym.envs.emt6ro_fractionation.validity import (
    acute_doses,
    cycle_hours,
    largest_acute_dose,
)
from oncogym.envs.patient import PatientRecord
from oncogym.envs.records import make_rows, records_of
from oncogym.envs.validity import ModelRangeWarning

#: Largest number of sites that the source counts with; its fitness is this minus the sites.
FITNESS_OFFSET = 1500
#: Columns of a time course.
RECORD = SAMPLED
_LONGEST_HOURS = 24.0 * 365.0


@dataclass(frozen=True)
class EMT6RoPatient(PatientRecord):
    """What spheroids differ in.

    Args:
        survival: Exponent of the surviving share exp(-survival dose) [1/Gy].
        repair_delay: Duration of the repair of vanishing damage [h].
        repair_growth: Its growth with damage, exp(repair_growth damage) [1/Gy].
        recovery: Time constant of the recovery that counts when a dose interrupts a repair [h].
        tumour: Number of the tumour, its random key; 1 to 10 at ten days are the shipped library.
        age: Age of the tumour at the start of treatment [d], in half hours.

    Raises:
        ValueError: A value is out of range, or the number or age is not on its grid.
    """

    FIELDS: ClassVar[tuple[str, ...]] = (
        "survival",
        "repair_delay",
        "repair_growth",
        "recovery",
        "tumour",
        "age",
    )
    RANGES: ClassVar[Mapping[str, tuple[float, float]]] = {
        "survival": (0.0, 5.0),
        "repair_delay": (0.01, 100.0),
        "repair_growth": (0.0, 2.0),
        "recovery": (0.01, 100.0),
        "tumour": (0, 2**52),
        "age": (0.0, 100.0),
    }
    UNITS: ClassVar[Mapping[str, str]] = {
        "survival": "1/Gy",
        "repair_delay": "h",
        "repair_growth": "1/Gy",
        "recovery": "h",
        "tumour": "number",
        "age": "d",
    }
    # Number and age together name a stored tumour.
    LABELS: ClassVar[tuple[str, ...]] = ("tumour", "age")

    survival: float = SURVIVAL
    repair_delay: float = REPAIR_DELAY
    repair_growth: float = REPAIR_GROWTH
    recovery: float = RECOVERY
    tumour: float = 1.0
    age: float = 10.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.tumour != int(self.tumour):
            raise ValueError(f"tumour is {self.tumour:g}; allowed: a whole number")
        if self.age * 48.0 != round(self.age * 48.0):
            raise ValueError(f"age is {self.age:g} d; allowed: whole half hours (1/48 d)")


def biology_rows(patients: NDArray[np.float64]) -> NDArray[np.float64]:
    """What the kernels read of patient rows ``(k, 6)``: rows of records."""
    rows = make_rows(len(patients), BIOLOGY)
    own = records_of(rows, BIOLOGY)
    own["survival"], own["delay_growth"] = patients[:, 0], patients[:, 2]
    own["delay"], own["recovery"] = patients[:, [1, 3]].T * STEPS_PER_HOUR
    return rows


@dataclass(frozen=True)
class EMT6RoResult:
    """What :func:`simulate` returns; arrays are ``(protocols, tumours, runs, …)``.

    Attributes:
        protocols: The protocols.
        sites: Occupied sites at the end, int64.
        burden: Occupied sites averaged over the time simulated.
        births, deaths: Divisions and deaths of sites; ``repair_deaths`` of the latter are by
            radiation, ``age_deaths`` for want of a place to divide, the rest by starvation.
        hours: Times of the courses [h] ``(times,)``; empty unless they were asked for.
        courses: ``(protocols, tumours, runs, times, columns)`` float32; columns are in
            :data:`RECORD`: numbers of sites, and mean amounts [fmol a site] of occupied ones.
        fidelity: Name of the fidelity and its compression.
        out_of_range: Runs in which the tumour reached the edge of the lattice, or a dose was beyond
            the law of repair; bool.
    """

    protocols: tuple[Protocol, ...]
    sites: NDArray[np.int64]
    burden: NDArray[np.float64]
    births: NDArray[np.int64]
    deaths: NDArray[np.int64]
    repair_deaths: NDArray[np.int64]
    age_deaths: NDArray[np.int64]
    hours: NDArray[np.float64]
    courses: NDArray[np.float32]
    fidelity: tuple[str, int]
    out_of_range: NDArray[np.bool_]

    @property
    def fitness(self) -> NDArray[np.int64]:
        """The source's fitness, 1500 minus the occupied sites."""
        return FITNESS_OFFSET - self.sites

    def course(self, column: str) -> NDArray[np.float32]:
        """One column of the courses ``(protocols, tumours, runs, times)``.

        Raises:
            UnknownNameError: There is no such column; the message suggests the nearest.
        """
        if column not in RECORD:
            raise nearest("column", column, RECORD)
        return self.courses[..., RECORD.index(column)]


def simulate(
    protocols: Protocol | Sequence[Protocol],
    tumours: Tumour | Sequence[Tumour] | None = None,
    runs: int = 1,
    seed: int = 0,
    hours: float = 240.0,
    fidelity: str = "exact",
    record: str | Iterable[float] | None = None,
    *,
    patient: EMT6RoPatient | None = None,
    parameters: Parameters | Mapping[str, object] | None = None,
    compression: int | None = None,
    acid: str = "auto",
    paired: bool = False,
    device: str = "cpu",
    parallel: bool = True,
    progress: bool = False,
) -> EMT6RoResult:
    """Simulate every protocol on every tumour, ``runs`` times each.

    A run depends on the seed, its protocol, the tumour's place in the list and its own number, not
    on what else is simulated, nor on threads.

    Args:
        protocols: One or more protocols on the grid of half an hour; nothing else is asked of them.
        tumours: Initial tumours; by default the shipped ten, or that of ``patient``.
        runs: Simulations of each protocol and tumour.
        seed: Key of the random streams.
        hours: Duration, in half hours.
        fidelity: ``"exact"``, ``"accelerated"`` (cell clocks run 20 times as fast as the fields) or
            ``"screening"`` (40 times, and fewer diffusion sub-steps).
        record: ``"hourly"``, or times [h] on the grid, for time courses.
        patient: Radiosensitivity and repair, by default the source's.
        parameters: Physics and cell biology, or a mapping of those that differ from the source's.
        compression: Another compression than the fidelity's, 1 to 60.
        acid: ``"auto"`` samples the acid while it is far from acting, which leaves the cells
            unchanged; ``"always"`` computes it in every step, as a record of it needs.
        paired: Give all protocols the same random numbers.
        device: ``"cpu"``, ``"cuda"`` (an NVIDIA GPU; needs ``oncogym[cuda]``) or ``"auto"`` (a GPU
            where there is one). Draws are the same on both; fields differ by float32 rounding, so
            that courses part after a while and outcomes agree in distribution.
        parallel: Use all threads of the processor.
        progress: Show a bar on standard error.

    Raises:
        ValueError: An argument is out of range.
        ProtocolError: A dose lies at or after ``hours``.
        DeviceError: There is no such device here.

    Warns:
        ModelRangeWarning: A tumour reaches the edge of the lattice, or the doses within a cell
            cycle are beyond the law of repair; see ``out_of_range`` of the result.
    """
    several = (protocols,) if isinstance(protocols, Protocol) else tuple(protocols)
    if not several:
        raise ValueError("there is no protocol to simulate")
    whole_number("runs", runs, 1, 10**9)
    slots = on_grid("hours", hours, SLOT_HOURS, _LONGEST_HOURS)
    times = _times(record, slots)
    check_choice("acid", acid, ("auto", "always"))
    where = choose_device(device)
    key = _seed(seed)
    chosen = fidelity_of(fidelity, compression)
    settings = parameters_of(parameters).settings(chosen, acid == "always")  # type: ignore[arg-type]
    state = _initial(tumours, patient)
    doses = np.stack([protocol.slots(slots) for protocol in several])
    count = len(state)
    shape = (len(several), count, int(runs))
    p, t, _ = (index.ravel() for index in np.indices(shape))
    episodes = _episodes(doses, count, int(runs), paired)
    row = biology_rows((patient or EMT6RoPatient()).to_array()[None])[0]
    jobs = Jobs(
        t, p, state, row, settings, doses, key, episodes, slots * STEPS_PER_SLOT,
        times * STEPS_PER_SLOT,
    )  # fmt: skip
    with tqdm(
        total=len(p),
        desc="simulations",
        unit="sim",
        file=sys.stderr,
        disable=None if progress else True,
    ) as bar:
        samples, counters = jobs.run(where, parallel, bar.update if progress else None)
    counted = records_of(counters, COUNTERS).reshape(shape)
    out_of_range = _beyond_repair(several, doses, patient or EMT6RoPatient(), hours)[:, None, None]
    out_of_range = out_of_range | _beyond_edge(counted["at_edge"] > 0)
    columns = samples.view(np.float32).reshape(*shape, len(times), len(RECORD))
    return EMT6RoResult(
        protocols=several,
        sites=counted["sites"].copy(),
        burden=counted["burden"] / (slots * STEPS_PER_SLOT),
        births=counted["births"].copy(),
        deaths=counted["deaths"].copy(),
        repair_deaths=counted["repair_deaths"].copy(),
        age_deaths=counted["age_deaths"].copy(),
        hours=np.asarray(times * SLOT_HOURS, np.float64),
        courses=columns,
        fidelity=(fidelity, chosen.compression),
        out_of_range=out_of_range,
    )


def _beyond_repair(
    protocols: Sequence[Protocol], doses: NDArray[np.float64], patient: EMT6RoPatient, hours: float
) -> NDArray[np.bool_]:
    """Which protocols have doses beyond the law of repair; warns of them."""
    largest = float(largest_acute_dose(patient.repair_delay, patient.repair_growth, hours))
    acute = acute_doses(doses)
    beyond = acute > largest * (1.0 + 1e-9)
    if beyond.any():
        worst = int(np.argmax(acute))
        warnings.warn(
            f"{protocols[worst].name or 'a protocol'} gives {acute[worst]:g} Gy within "
            f"{cycle_hours():g} h; above {largest:.4g} Gy the law of repair does not hold over "
            f"{hours:g} h: cells outlive the simulation in repair, and the tumour seems healed",
            ModelRangeWarning,
            stacklevel=3,
        )
    return beyond


def _beyond_edge(edge: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """``edge`` itself; warns of the runs in which the border of the lattice was occupied."""
    if edge.any():
        warnings.warn(
            f"the tumour reached the edge of the lattice in {int(edge.sum())} of {edge.size} runs, "
            "which stops its growth",
            ModelRangeWarning,
            stacklevel=3,
        )
    return edge


def on_grid(name: str, hours: float, least: float, most: float) -> int:
    """Number of half hours in ``hours``.

    Args:
        name: What it is, for the message.
        hours: Length of time [h].
        least, most: The allowed range [h].

    Raises:
        ValueError: It is no whole number of them, or out of range.
    """
    count = round(hours / SLOT_HOURS) if np.isfinite(hours) else -1
    if not least <= hours <= most or abs(count * SLOT_HOURS - hours) > 1e-9:
        raise ValueError(f"{name} is {hours:g} h; allowed: {least:g} to {most:g} h in half hours")
    return count


def _times(record: str | Iterable[float] | None, slots: int) -> NDArray[np.int64]:
    if record is None:
        return np.zeros(0, np.int64)
    if isinstance(record, str):
        check_choice("record", record, ("hourly",))
        return np.arange(0, slots + 1, 2)
    wanted = [on_grid("a time to record", float(h), 0.0, slots * SLOT_HOURS) for h in record]
    if wanted != sorted(set(wanted)):
        raise ValueError("times to record must rise")
    return np.array(wanted, np.int64)


def _initial(tumours: Tumour | Sequence[Tumour] | None, patient: EMT6RoPatient | None) -> State:
    if isinstance(tumours, Tumour):
        return stack([tumours])
    if tumours is not None:
        if not len(tumours):
            raise ValueError("there is no tumour to simulate")
        return stack(tumours)
    if patient is None:
        return stack(library())
    state = State.empty(1)
    initial_states(
        np.array([int(patient.tumour)]), np.array([patient.age]), state, np.zeros(1, np.intp)
    )
    return state


def _seed(seed: int) -> int:
    if seed != int(seed) or not 0 <= seed < 2**64:
        raise ValueError(f"seed is {seed!r}; allowed: an integer from 0 to 2**64 - 1")
    return int(seed)


def _episodes(
    doses: NDArray[np.float64], tumours: int, runs: int, paired: bool
) -> NDArray[np.uint64]:
    """Key of each job: a hash of protocol and tumour, and the run on top."""
    keys = np.empty((len(doses), tumours), np.uint64)
    for protocol, row in enumerate(doses):
        given = b"" if paired else np.trim_zeros(row, "b").tobytes()
        for tumour in range(tumours):
            digest = hashlib.blake2b(given + b"|%d" % tumour, digest_size=8).digest()
            keys[protocol, tumour] = int.from_bytes(digest, "little")
    return np.asarray(keys[..., None] + np.arange(runs, dtype=np.uint64), np.uint64).ravel()
