"""What the scalar and the vector environment share: lanes with their patients and random keys."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from oncogym.core.checks import whole_number
from oncogym.core.errors import nearest
from oncogym.envs.cohort import CohortName
from oncogym.envs.copies import copy_object
from oncogym.envs.registry import get_treatment
from oncogym.envs.snapshots import (
    Snapshot,
    State,
    as_run,
    check_names,
    check_shapes,
    copy_lanes,
    different_lanes,
    lane_numbers,
    owner_name,
    write_lanes,
)
from oncogym.envs.therapy import TherapyTask
from oncogym.envs.threads import limit
from oncogym.envs.treatment import Treatment

RENDER_MODES = ("ansi", "rgb_array")
# Prefix of the task's arrays in an environment's snapshot.
_OF_TASK = "task."
_SMALL_SEEDS = 2**64


class Lanes:
    """A task together with the cohort, patient and random key of each of its lanes.

    Args:
        treatment: Name of a registered treatment, or the record itself.
        num_lanes: Number of lanes.
        cohort: Cohort from which a reset draws a patient, see :meth:`Treatment.cohort`.
        patient: Patient for every reset instead of the cohort, see :meth:`Treatment.patient_rows`.
        **options: Options of the treatment's task.
    """

    def __init__(
        self,
        treatment: str | Treatment,
        num_lanes: int,
        cohort: CohortName = "nominal",
        patient: Mapping[str, float] | str | None = None,
        **options: Any,
    ) -> None:
        self.treatment = get_treatment(treatment) if isinstance(treatment, str) else treatment
        self.cohort = self.treatment.cohort(cohort)
        num_lanes = whole_number("num_lanes", num_lanes, 1, 2**31 - 1)
        with limit(num_lanes < self.treatment.task.parallel_lanes):
            self.task: TherapyTask = self.treatment.task(num_lanes, **options)
        fields = len(self.treatment.patient.FIELDS)
        self.patients = np.zeros((num_lanes, fields))
        self._fixed = None if patient is None else self.treatment.patient_rows(patient, 1)
        self._seeds = np.zeros(num_lanes, np.uint64)
        self._episodes = np.zeros(num_lanes, np.uint64)
        self._seeded = np.zeros(num_lanes, np.bool_)
        self._generator: np.random.Generator | None = None
        self._following = np.zeros(num_lanes, np.bool_)

    def __deepcopy__(self, memo: dict[int, Any]) -> Lanes:
        return copy_object(self, memo, shared=("treatment", "cohort"))

    def seed(self, lanes: NDArray[np.intp], seeds: Sequence[int]) -> None:
        """Give ``lanes`` new random keys and start their episode count at 0."""
        self._seeds[lanes] = [_key(seed) for seed in seeds]
        self._episodes[lanes] = 0
        self._seeded[lanes] = True
        self._following[lanes] = False

    def follow(self, generator: np.random.Generator) -> None:
        """Draw the key of every further reset from ``generator``, until a lane is seeded anew."""
        self._generator = generator
        self._following[:] = True
        self._seeded[:] = True

    def unseeded(self, lanes: NDArray[np.intp]) -> NDArray[np.intp]:
        """Those of ``lanes`` that have no random key yet."""
        return lanes[~self._seeded[lanes]]

    def reset(self, lanes: NDArray[np.intp], patient: Any = None) -> NDArray[Any]:
        """Start a new episode in ``lanes`` and return their observations ``(k, …)``.

        ``patient`` is what a user passed as ``options["patient"]`` (for these lanes), or ``None``.
        """
        if self._generator is not None:
            self._draw_keys(lanes[self._following[lanes]])
        if patient is not None:
            rows = self.treatment.patient_rows(patient, len(lanes))
        elif self._fixed is not None:
            rows = np.repeat(self._fixed, len(lanes), axis=0)
        else:
            rows = self.cohort.draw(self._seeds[lanes], self._episodes[lanes])
        self.patients[lanes] = rows
        with limit(self.task.num_lanes < self.task.parallel_lanes):
            observation = self.task.reset(lanes, rows, self._seeds[lanes], self._episodes[lanes])
        self._episodes[lanes] += np.uint64(1)
        return observation

    def snapshot(self, owner: str, own: State, lanes: NDArray[np.intp] | None = None) -> Snapshot:
        """Lanes with their task's state, their patients, their random keys and ``own``.

        Args:
            owner: Name of the environment and its mode.
            own: The environment's arrays, lanes first.
            lanes: Lane numbers ``(k,)``, all by default.

        Raises:
            NotImplementedError: The task has no snapshots.
            ValueError: A lane is out of range.
        """
        rows = as_run(lane_numbers(lanes, self.task.num_lanes))
        of_task = self.task.snapshot(lanes).arrays
        state = {f"{_OF_TASK}{name}": array for name, array in of_task.items()}
        return Snapshot(
            f"{owner} of {owner_name(self.task)}",
            {**copy_lanes({**self._lane_state(), **own}, rows), **state},
        )

    def restore(
        self, snapshot: Snapshot, owner: str, own: State, lanes: NDArray[np.intp] | None = None
    ) -> None:
        """Put back what :meth:`snapshot` gave; nothing is written if something does not fit.

        Args:
            snapshot: What is put back.
            owner: Name of the environment, which the snapshot must have.
            own: The environment's own arrays by name, a row a lane; changed in place.
            lanes: Lanes to write, one for each of the snapshot; all by default.

        Raises:
            NotImplementedError: The task has no snapshots.
            ValueError: The snapshot is of another environment or task, or does not fit into the
                lanes; the message names the difference.
        """
        task = self.task
        rows = as_run(different_lanes(lanes, task.num_lanes, len(snapshot)))
        arrays = snapshot.arrays
        of_task = {
            name.removeprefix(_OF_TASK): array
            for name, array in arrays.items()
            if name.startswith(_OF_TASK)
        }
        rest = {name: array for name, array in arrays.items() if not name.startswith(_OF_TASK)}
        state = {**self._lane_state(), **own}
        whose = f"{owner} of {owner_name(task)}"
        check_names(Snapshot(snapshot.owner, rest), whose, state)
        check_shapes(rest, state)
        task.restore(Snapshot(owner_name(task), of_task), lanes)
        write_lanes(state, rows, rest)

    def _lane_state(self) -> State:
        return {
            "patients": self.patients,
            "seeds": self._seeds,
            "episodes": self._episodes,
            "seeded": self._seeded,
        }

    def _draw_keys(self, lanes: NDArray[np.intp]) -> None:
        assert self._generator is not None
        if len(lanes):
            self._seeds[lanes] = self._generator.integers(2**63, size=len(lanes))
            self._episodes[lanes] = 0


def check_seed(seed: object) -> int:
    """Return ``seed`` as an integer of Python.

    Raises:
        ValueError: It is no integer, or below 0; the message names it.
    """
    if isinstance(seed, (bool, np.bool_)) or not isinstance(seed, (int, np.integer)) or seed < 0:
        raise ValueError(f"seed is {seed!r}; allowed: an integer of at least 0")
    return int(seed)


def check_flag(name: str, value: object) -> bool:
    """Return ``value`` if it is true or false."""
    if not isinstance(value, (bool, np.bool_)):
        raise ValueError(f"{name} is {value!r}; allowed: true or false")
    return bool(value)


def check_generator(value: object) -> np.random.Generator:
    """Return ``value`` if lanes can draw their keys from it."""
    if not isinstance(value, np.random.Generator):
        raise TypeError(f"np_random is a {type(value).__name__}; allowed: a numpy.random.Generator")
    return value


def _key(seed: int) -> int:
    """The random key of a seed: itself below 2**64, mixed into 64 bits from there on.

    Gymnasium's own seeds have 128 bits. NumPy's mixing keeps seeds apart that share some of them.
    """
    if seed < _SMALL_SEEDS:
        return seed
    return int(np.random.SeedSequence(seed).generate_state(1, np.uint64)[0])


def check_reset_options(options: Mapping[str, object] | None, known: tuple[str, ...]) -> None:
    """Raise an error that names the first reset option which does not exist."""
    for name in options or {}:
        if name not in known:
            raise nearest("reset option", name, known)


def check_render_mode(render_mode: str | None) -> str | None:
    """Return ``render_mode`` if it is supported."""
    if render_mode is not None and render_mode not in RENDER_MODES:
        raise nearest("render mode", render_mode, RENDER_MODES)
    return render_mode


def draw_frame(lanes: Lanes, lane: int, render_mode: str) -> Any:
    """One rendered lane: text for ``ansi``, uint8 ``(height, width, 3)`` for ``rgb_array``.

    Args:
        lanes: The lanes.
        lane: Number of the one that is drawn.
        render_mode: ``"ansi"`` or ``"rgb_array"``.
    """
    if render_mode == "ansi":
        return lanes.task.describe(lane)
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    with limit(True):
        figure = lanes.treatment.draw(lanes.task, lane)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()
