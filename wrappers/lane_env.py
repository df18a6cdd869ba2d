"""One lane of native lanes, with what a scalar environment offers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import gymnasium
import numpy as np
from gymnasium.utils import seeding
from numpy.typing import NDArray

from oncogym.wrappers.vector_spec import scalar_spec

if TYPE_CHECKING:
    from gymnasium.envs.registration import EnvSpec

# What describes lanes together: no lane has it.
_OF_ALL_LANES = (
    "num_envs",
    "single_observation_space",
    "single_action_space",
    "autoreset_mode",
    "close_extras",
)


class LaneEnv(gymnasium.Env):
    """Lane ``lane`` of ``venv``, for :meth:`SB3VecEnv.get_attr`, ``set_attr`` and ``env_method``.

    Attributes that are set here are this lane's own. Others are looked for in the vector
    environment and its wrappers, whose lanes share them. Only stepping is not offered: lanes step
    together.
    """

    def __init__(self, venv: Any, lane: int) -> None:
        self._venv = venv
        self.lane = lane
        self.observation_space = venv.observation_space
        self.action_space = venv.action_space
        shared = venv.env.metadata
        self.metadata = {key: value for key, value in shared.items() if key != "autoreset_mode"}

    @property
    def treatment(self) -> Any:
        """The treatment record behind the lanes."""
        return self._base.treatment

    @property
    def task(self) -> Any:
        """The task, which all lanes share."""
        return self._venv.task

    @property
    def patient(self) -> Any:
        """This lane's current patient, hidden from the observation."""
        return self.treatment.patient.from_array(self.patients)

    @property
    def patients(self) -> NDArray[np.float64]:
        """This lane's row ``(fields,)`` of the vector environment's ``patients``."""
        return self._base.patients[self.lane].copy()

    @property
    def render_mode(self) -> str | None:  # type: ignore[override]
        """The render mode of the lanes."""
        return self._venv.env.render_mode

    @property
    def spec(self) -> EnvSpec | None:  # type: ignore[override]
        """The specification by which ``gymnasium.make`` builds this lane alone."""
        return scalar_spec(self._venv.env)

    @property
    def np_random_seed(self) -> int:
        """The seed with which this lane was last reset; a random one if it had none."""
        seed = self._venv.last_seeds[self.lane]
        return super().np_random_seed if seed is None else seed

    @property
    def np_random(self) -> np.random.Generator:
        """A generator with :attr:`np_random_seed`; lanes draw from keys, not from it."""
        seed = self.np_random_seed
        if self._np_random is None or self._np_random_seed != seed:
            self._np_random, self._np_random_seed = seeding.np_random(seed)
        return self._np_random

    @np_random.setter
    def np_random(self, value: np.random.Generator) -> None:
        raise AttributeError("native lanes draw from keys: give them seeds by seed() and reset()")

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[Any], dict[str, Any]]:
        """Reset this lane only."""
        return self._venv.reset_lanes([self.lane], seed=seed, options=options)[0]

    def step(self, action: Any) -> Any:
        """Not offered.

        Raises:
            NotImplementedError: Always.
        """
        raise NotImplementedError(
            "native lanes step together: use step() of the SB3VecEnv, or DummyVecEnv of scalar "
            "environments"
        )

    def render(self) -> Any:
        """This lane's frame."""
        return self._venv.env_method("render", indices=self.lane)[0]

    def to_physical(self, action: Any) -> dict[str, Any]:
        """The action in physical units, by name; units stand in ``task.action_parts``."""
        return self._base.to_physical(action)

    def safe_action(self, action: Any) -> NDArray[np.float64]:
        """The largest safe action not above ``action`` in this lane."""
        shape = self._base.single_action_space.shape
        if np.shape(action) != shape:
            raise ValueError(f"the action has shape {np.shape(action)}; allowed: {shape}")
        actions = np.zeros((self._venv.num_envs, *shape))
        actions[self.lane] = action
        return self._base.safe_actions(actions)[self.lane].copy()

    def close(self) -> None:
        """Nothing: lanes are closed together."""

    @property
    def _base(self) -> Any:
        return self._venv.env.unwrapped

    def __getattr__(self, name: str) -> Any:
        # Private names are left out: the vector environment keeps other things under them, and
        # copying asks for some before there is a `_venv`.
        if name.startswith("_") or name in _OF_ALL_LANES:
            raise AttributeError(f"a lane has no attribute {name!r}")
        return getattr(self._venv.find_owner(name), name)
