"""Soft actor-critic, by Stable-Baselines3.

Haarnoja, Zhou, Hartikainen et al., "Soft actor-critic algorithms and applications",
arXiv:1812.05905 (2018).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from oncogym.core.checks import check_choice, check_option
from oncogym.envs.problem import Problem
from oncogym.training.checks import SCHEDULES, check_flags, check_layers, check_numbers

if TYPE_CHECKING:
    from oncogym.training.sb3_learner import OwnState, SB3Learner
    from oncogym.wrappers.named import NamedWrapper

# A pause after each step would cost more than the learning; so many in a run are enough.
_PAUSES = 200


@dataclass(frozen=True)
class SACSettings:
    """Hyper-parameters of SAC; names follow Stable-Baselines3 where it has the same thing.

    Args:
        learning_rate: Adam's step size at the start, the same for actor, critics and entropy.
        learning_rate_schedule: ``"constant"``, or ``"linear"`` down to 0 at the last step.
        buffer_size: Decisions that are kept for replay; they are part of each checkpoint.
        learning_starts: Decisions at random before the first update.
        batch_size: Decisions in a minibatch.
        tau: Share of the critics that the target critics take over in an update.
        gamma: Discount factor. Reported returns are never discounted.
        gradient_steps: Updates after each decision of all lanes; -1 for one a lane.
        ent_coef: Weight of the entropy, or ``"auto"`` to have it learnt.
        layers: Units of the hidden layers, the same for actor and critics.
        activation: ``"tanh"`` or ``"relu"``.
        normalize_observation: Standardise observations by their running mean and variance.
        normalize_reward: Divide rewards by the running standard deviation of the return.
    """

    learning_rate: float
    learning_rate_schedule: str
    buffer_size: int
    learning_starts: int
    batch_size: int
    tau: float
    gamma: float
    gradient_steps: int
    ent_coef: float | str
    layers: tuple[int, ...]
    activation: str
    normalize_observation: bool
    normalize_reward: bool

    def __post_init__(self) -> None:
        check_numbers(
            self,
            whole={
                "buffer_size": (100, 10**7),
                "learning_starts": (0, 10**9),
                "batch_size": (2, 10**6),
                "gradient_steps": (-1, 10**6),
            },
            real={"learning_rate": (0.0, 1.0), "tau": (0.0, 1.0), "gamma": (0.0, 1.0)},
        )
        if self.ent_coef != "auto":
            check_option("ent_coef", self.ent_coef, 0.0, 100.0)  # type: ignore[arg-type]
        check_flags(self, "normalize_observation", "normalize_reward")
        check_choice("learning_rate_schedule", self.learning_rate_schedule, SCHEDULES)
        check_layers(self)


class SAC:
    """The algorithm ``sac``."""

    name = "sac"
    title = "SAC"
    Settings: type[SACSettings] = SACSettings
    defaults = None

    def steps_per_update(self, settings: SACSettings, lanes: int, steps: int) -> int:
        """Whole decisions of all lanes, about a two-hundredth of the run."""
        return lanes * max(1, -(-steps // (lanes * _PAUSES)))

    def require(self) -> None:
        """Make sure that the package with the model is there.

        Raises:
            ModuleNotFoundError: It is not installed.
        """
        self._model_class()

    def _model_class(self) -> Any:
        import stable_baselines3

        return stable_baselines3.SAC

    def _more_of_model(self, settings: Any) -> dict[str, Any]:
        """What the model takes besides what all soft actor-critics share."""
        return {}

    def _more_of_policy(self, settings: Any) -> dict[str, Any]:
        """What its networks take besides."""
        return {}

    def _activation(self, name: str) -> Any:
        """The networks' non-linearity."""
        from oncogym.training.sb3_learner import ACTIVATIONS

        return ACTIVATIONS[name]

    def _actor_layers(self, model: Any) -> list[Any]:
        """The linear layers of the actor; the last gives means and logarithms of deviations."""
        from oncogym.training.sb3_learner import linear_layers, side_by_side

        actor = model.actor
        return [*linear_layers(actor.latent_pi), side_by_side(actor.mu, actor.log_std)]

    def _own_state(self, model: Any) -> OwnState | None:
        """What a checkpoint keeps besides torch's parameters and optimisers."""
        return None

    def build(
        self,
        problem: Problem,
        settings: Any,
        *,
        lanes: int,
        seed: int,
        steps: int,
        start: int,
        wrappers: Sequence[NamedWrapper] = (),
    ) -> SB3Learner:
        """The learner at its beginning.

        Raises:
            ModuleNotFoundError: The package with the model is not installed.
        """
        make_model = self._model_class()

        from oncogym.training import sb3_learner as sb3

        env = sb3.native_lanes(
            problem,
            lanes,
            rescale_actions=True,
            normalize_observation=settings.normalize_observation,
            normalize_reward=settings.normalize_reward,
            gamma=settings.gamma,
            wrappers=wrappers,
        )
        model = make_model(
            "MlpPolicy",
            env,
            learning_rate=sb3.schedule_of(settings.learning_rate, settings.learning_rate_schedule),
            buffer_size=settings.buffer_size,
            learning_starts=settings.learning_starts,
            batch_size=settings.batch_size,
            tau=settings.tau,
            gamma=settings.gamma,
            train_freq=1,
            gradient_steps=lanes if settings.gradient_steps < 0 else settings.gradient_steps,
            ent_coef="auto" if settings.ent_coef == "auto" else float(settings.ent_coef),
            policy_kwargs={
                "net_arch": list(settings.layers),
                "activation_fn": self._activation(settings.activation),
                **self._more_of_policy(settings),
            },
            seed=seed,
            device="cpu",
            **self._more_of_model(settings),
        )
        return sb3.SB3Learner(
            model,
            env,
            problem,
            steps_per_update=self.steps_per_update(settings, lanes, steps),
            seed=seed,
            start=start,
            wrappers=wrappers,
            layers=self._actor_layers,
            own_state=self._own_state(model),
            network={
                "activation": settings.activation,
                "rescale_actions": True,
                "squash": True,
                "log_std": None,
            },
        )


ALGORITHM = SAC()
