"""TD3 by Stable-Baselines3: a learning algorithm that oncogym finds by an entry point."""

from dataclasses import dataclass

from oncogym.training.checks import check_flags, check_layers, check_numbers


@dataclass(frozen=True)
class TD3Settings:
    """Hyper-parameters of TD3.

    Args:
        learning_rate: Adam's step size.
        buffer_size: Decisions that are kept for replay.
        learning_starts: Decisions at random before the first update.
        batch_size: Decisions in a minibatch.
        gamma: Discount factor.
        noise: Standard deviation of what is added to an action in training.
        layers: Units of the hidden layers.
        activation: ``"tanh"`` or ``"relu"``.
        normalize_observation: Standardise observations by their running mean and variance.
    """

    learning_rate: float = 0.001
    buffer_size: int = 50_000
    learning_starts: int = 100
    batch_size: int = 64
    gamma: float = 1.0
    noise: float = 0.1
    layers: tuple = (64, 64)
    activation: str = "relu"
    normalize_observation: bool = True

    def __post_init__(self):
        check_numbers(
            self,
            whole={
                "buffer_size": (100, 10**7),
                "learning_starts": (0, 10**9),
                "batch_size": (2, 10**6),
            },
            real={"learning_rate": (0.0, 1.0), "gamma": (0.0, 1.0), "noise": (0.0, 1.0)},
        )
        check_flags(self, "normalize_observation")
        check_layers(self)


class TD3:
    """The algorithm ``td3``."""

    name = "td3"
    title = "TD3"
    Settings = TD3Settings
    defaults = {
        "default": {
            "steps": 20_000,
            "lanes": 8,
            "evaluations": 10,
            "evaluation_patients": 64,
        }
    }

    def steps_per_update(self, settings, lanes, steps):
        return lanes * max(1, steps // (100 * lanes))

    def build(self, problem, settings, *, lanes, seed, steps, start):
        import numpy as np
        import stable_baselines3
        from stable_baselines3.common.noise import NormalActionNoise

        from oncogym.training import sb3_learner as sb3

        env = sb3.native_lanes(
            problem,
            lanes,
            rescale_actions=True,
            normalize_observation=settings.normalize_observation,
            normalize_reward=False,
            gamma=settings.gamma,
        )
        size = env.action_space.shape
        model = stable_baselines3.TD3(
            "MlpPolicy",
            env,
            learning_rate=settings.learning_rate,
            buffer_size=settings.buffer_size,
            learning_starts=settings.learning_starts,
            batch_size=settings.batch_size,
            gamma=settings.gamma,
            action_noise=NormalActionNoise(np.zeros(size), np.full(size, settings.noise)),
            policy_kwargs={
                "net_arch": list(settings.layers),
                "activation_fn": sb3.ACTIVATIONS[settings.activation],
            },
            seed=seed,
            device="cpu",
        )
        spread = np.full(size, np.log(max(settings.noise, 1e-6)), np.float32)
        return sb3.SB3Learner(
            model,
            env,
            problem,
            steps_per_update=self.steps_per_update(settings, lanes, steps),
            seed=seed,
            start=start,
            layers=lambda model: sb3.linear_layers(model.actor.mu),
            network={
                "activation": settings.activation,
                "rescale_actions": True,
                "squash": True,
                "log_std": lambda model: spread.ravel(),
            },
        )
