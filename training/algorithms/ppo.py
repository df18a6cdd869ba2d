"""Proximal policy optimisation, by Stable-Baselines3.

Schulman, Wolski, Dhariwal, Radford and Klimov, "Proximal policy optimization algorithms",
arXiv:1707.06347 (2017).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from oncogym.core.checks import check_choice
from oncogym.envs.problem import Problem
from oncogym.training.checks import SCHEDULES, check_flags, check_layers, check_numbers

if TYPE_CHECKING:
    from oncogym.training.sb3_learner import SB3Learner
    from oncogym.wrappers.named import NamedWrapper


@dataclass(frozen=True)
class PPOSettings:
    """Hyper-parameters of PPO; names follow Stable-Baselines3 where it has the same thing.

    Args:
        n_steps: Decisions of each lane between two updates.
        batch_size: Decisions in a minibatch.
        n_epochs: Passes over the collected decisions in an update.
        learning_rate: Adam's step size at the start.
        learning_rate_schedule: ``"constant"``, or ``"linear"`` down to 0 at the last step.
        gamma: Discount factor. Reported returns are never discounted.
        gae_lambda: Trade-off of bias and variance in the advantage.
        clip_range: Largest relative change of an action's probability in an update.
        ent_coef: Weight of the entropy bonus.
        vf_coef: Weight of the value loss.
        max_grad_norm: Bound of the gradient's norm.
        target_kl: Stop an update when the policy has moved this far; 0 for never.
        log_std_init: Logarithm of the first standard deviation of the action.
        layers: Units of the hidden layers, the same for policy and value.
        activation: ``"tanh"`` or ``"relu"``.
        rescale_actions: Train on actions in [-1, 1], so that the first policy gives half the
            maximum; without it actions lie in [0, 1] and it gives almost nothing.
        normalize_observation: Standardise observations by their running mean and variance.
        normalize_reward: Divide rewards by the running standard deviation of the return.
        network: ``"mlp"``, or ``"cnn"`` for convolutions before the layers, where an observation
            is an image (channels, height, width).
    """

    n_steps: int
    batch_size: int
    n_epochs: int
    learning_rate: float
    learning_rate_schedule: str
    gamma: float
    gae_lambda: float
    clip_range: float
    ent_coef: float
    vf_coef: float
    max_grad_norm: float
    target_kl: float
    log_std_init: float
    layers: tuple[int, ...]
    activation: str
    rescale_actions: bool
    normalize_observation: bool
    normalize_reward: bool
    network: str = "mlp"

    def __post_init__(self) -> None:
        check_numbers(
            self,
            whole={"n_steps": (1, 10**6), "batch_size": (2, 10**9), "n_epochs": (1, 1000)},
            real={
                "learning_rate": (0.0, 1.0),
                "gamma": (0.0, 1.0),
                "gae_lambda": (0.0, 1.0),
                "clip_range": (1e-6, 100.0),
                "ent_coef": (0.0, 100.0),
                "vf_coef": (0.0, 100.0),
                "max_grad_norm": (1e-6, 1e6),
                "target_kl": (0.0, 100.0),
                "log_std_init": (-20.0, 5.0),
            },
        )
        check_flags(self, "rescale_actions", "normalize_observation", "normalize_reward")
        check_choice("learning_rate_schedule", self.learning_rate_schedule, SCHEDULES)
        check_layers(self)
        check_choice("network", self.network, ("mlp", "cnn"))


class PPO:
    """The algorithm ``ppo``."""

    name = "ppo"
    title = "PPO"
    Settings: type[PPOSettings] = PPOSettings
    defaults = None

    def steps_per_update(self, settings: PPOSettings, lanes: int, steps: int) -> int:
        """A rollout of all lanes."""
        return lanes * settings.n_steps

    def require(self) -> None:
        """Make sure that the package with the model is there.

        Raises:
            ModuleNotFoundError: It is not installed.
        """
        self._model_class()

    def _model_class(self) -> Any:
        import stable_baselines3

        return stable_baselines3.PPO

    def _policy(self, settings: Any) -> str:
        """Name of the model's networks."""
        return "CnnPolicy" if settings.network == "cnn" else "MlpPolicy"

    def _more_of_policy(self, settings: Any) -> dict[str, Any]:
        """What its networks take besides what all proximal policies share."""
        return {"normalize_images": False} if settings.network == "cnn" else {}

    def _more_of_network(self) -> dict[str, Any]:
        """What a policy file says besides, see ``SB3Learner``."""
        return {}

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
            ValueError: The network is one of images, and observations are none.
        """
        make_model = self._model_class()

        from oncogym.training import sb3_learner as sb3

        env = sb3.native_lanes(
            problem,
            lanes,
            rescale_actions=settings.rescale_actions,
            normalize_observation=settings.normalize_observation,
            normalize_reward=settings.normalize_reward,
            gamma=settings.gamma,
            wrappers=wrappers,
        )
        update = self.steps_per_update(settings, lanes, steps)
        images = settings.network == "cnn"
        if images and len(env.observation_space.shape or ()) != 3:
            raise ValueError(
                f"network is 'cnn' and an observation has shape {env.observation_space.shape}; "
                "allowed: images (channels, height, width)"
            )
        model = make_model(
            self._policy(settings),
            env,
            n_steps=settings.n_steps,
            batch_size=min(settings.batch_size, update),
            n_epochs=settings.n_epochs,
            learning_rate=sb3.schedule_of(settings.learning_rate, settings.learning_rate_schedule),
            gamma=settings.gamma,
            gae_lambda=settings.gae_lambda,
            clip_range=settings.clip_range,
            ent_coef=settings.ent_coef,
            vf_coef=settings.vf_coef,
            max_grad_norm=settings.max_grad_norm,
            target_kl=settings.target_kl or None,
            policy_kwargs={
                "net_arch": list(settings.layers),
                "activation_fn": sb3.ACTIVATIONS[settings.activation],
                "log_std_init": settings.log_std_init,
                **self._more_of_policy(settings),
            },
            seed=seed,
            device="cpu",
        )
        return sb3.SB3Learner(
            model,
            env,
            problem,
            steps_per_update=update,
            seed=seed,
            start=start,
            wrappers=wrappers,
            layers=None
            if images
            else lambda model: [
                *sb3.linear_layers(model.policy.mlp_extractor.policy_net),
                model.policy.action_net,
            ],
            actor=(lambda model: sb3.GaussianActor(model.policy)) if images else None,
            network={
                "activation": settings.activation,
                "rescale_actions": settings.rescale_actions,
                "log_std": lambda model: model.policy.log_std.detach().numpy().copy(),
                **self._more_of_network(),
            },
        )


ALGORITHM = PPO()
