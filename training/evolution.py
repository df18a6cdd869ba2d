"""A learner that improves a policy's weights by whole courses, without gradients."""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from gymnasium.vector import AutoresetMode
from numpy.typing import NDArray

from oncogym.agents.learned import PolicyAgent
from oncogym.agents.policy_files import Policy
from oncogym.envs.problem import Problem
from oncogym.envs.therapy import Floats
from oncogym.envs.vector_env import TherapyVectorEnv
from oncogym.training.algorithms.base import Arrays, Watcher
from oncogym.training.policy_about import policy_header
from oncogym.training.wrapper_state import restore_wrappers, save_wrappers
from oncogym.wrappers.named import NamedWrapper, wrap_lanes

#: Weights at most: the covariance has as many rows.
MOST_WEIGHTS = 1000
# Of the strategy's state: what moves from one generation to the next.
_ARRAYS = ("_mean", "_C", "_p_sigma", "_pc")
# Rooms of the seeds, so that no generation meets the patients of the first look.
_LOOK, _GENERATION = 0, 1
# Doses of the first look: shares of the largest, drawn evenly in their logarithm.
_LEAST_SHARE = 0.01
# A number that hardly varied in the first look may vary later.
_LEAST_VARIANCE = 1e-4
# A policy that does what it means to: its actions do not vary.
_LOG_STD = -20.0


class EvolutionLearner:
    """CMA-ES on the weights of a multi-layer perceptron.

    Observations are standardised by what one round of courses with small random doses shows, before
    the first generation; this look is not counted among the decisions.

    Args:
        problem: What is treated.
        settings: ``population``, ``sigma``, ``first_action``, ``layers``, ``activation``.
        lanes: Courses at a time.
        seed: Seed of the run.
        steps_per_update: Decisions as which a generation counts.
        wrappers: Wrappers around the lanes, innermost first.

    Raises:
        ValueError: The network has more than :data:`MOST_WEIGHTS` weights.
    """

    def __init__(
        self,
        problem: Problem,
        settings: Any,
        *,
        lanes: int,
        seed: int,
        steps_per_update: int,
        wrappers: Sequence[NamedWrapper] = (),
    ) -> None:
        from cmaes import CMA

        self.steps = 0
        self.steps_per_update = steps_per_update
        self._problem, self._settings, self._seed = problem, settings, seed
        self._wrappers = tuple(wrappers)
        bare = TherapyVectorEnv(
            problem.treatment,
            lanes,
            autoreset_mode=AutoresetMode.DISABLED,
            **problem.environment_options(),
        )
        self._env = wrap_lanes(bare, self._wrappers)
        inputs = int(np.prod(self._env.single_observation_space.shape or ()))
        outputs = int(np.prod(self._env.single_action_space.shape or ()))
        self._sizes = [inputs, *settings.layers, outputs]
        weights = sum((before + 1) * after for before, after in itertools.pairwise(self._sizes))
        if weights > MOST_WEIGHTS:
            raise ValueError(
                f"layers is {list(settings.layers)}: {weights} weights behind {inputs} numbers of "
                f"an observation; allowed: at most {MOST_WEIGHTS}"
            )
        start = np.zeros(weights)
        start[-outputs:] = math.atanh(2.0 * settings.first_action - 1.0)
        self._strategy = CMA(
            mean=start,
            sigma=settings.sigma,
            seed=int(np.random.SeedSequence([seed]).generate_state(1)[0]),
            population_size=settings.population,
        )
        self._patients = max(1, lanes // settings.population)
        self._moments: tuple[Floats, Floats] | None = None
        self._header = policy_header(problem, self._wrappers, {})

    def learn(self, until: int, watcher: Watcher) -> None:
        """Generations until ``steps`` has reached ``until``."""
        while self.steps < until:
            self._generation(watcher)
            watcher.pause(last=self.steps >= until)

    def save(self) -> tuple[dict[str, Any], Arrays]:
        """The strategy, its random state, and the moments of the observations."""
        arrays: Arrays = {f"strategy/{n}": getattr(self._strategy, n).copy() for n in _ARRAYS}
        generator, keys, position, has_gauss, cached = self._strategy._rng.get_state()
        arrays["strategy/random"] = np.array(keys)
        arrays |= save_wrappers(self._env)
        if self._moments is not None:
            arrays["observation/mean"], arrays["observation/variance"] = self._moments
        return {
            "sigma": float(self._strategy._sigma),
            "generation": int(self._strategy._g),
            "generator": [generator, position, has_gauss, cached],
        }, arrays

    def restore(self, steps: int, state: Mapping[str, Any], arrays: Mapping[str, Any]) -> None:
        """Put back what :meth:`save` took.

        Raises:
            KeyError, TypeError, ValueError: It does not fit.
        """
        for name in _ARRAYS:
            self._put(name, arrays[f"strategy/{name}"])
        generator, position, has_gauss, cached = state["generator"]
        if type(position) is not int or not 0 <= position <= 624:
            raise ValueError(f"generator is at position {position}")  # numpy itself believes it
        keys = arrays["strategy/random"]
        self._strategy._rng.set_state((generator, keys, position, has_gauss, cached))
        self._strategy._sigma, self._strategy._g = float(state["sigma"]), int(state["generation"])
        if not self._strategy._sigma > 0.0:
            raise ValueError(f"sigma is {self._strategy._sigma}; allowed: above 0")
        moments = arrays["observation/mean"], arrays["observation/variance"]
        if any(found.shape != (self._sizes[0],) for found in moments):
            raise ValueError(f"the observations' moments are not of {self._sizes[0]} numbers")
        self._moments = moments[0].copy(), moments[1].copy()
        restore_wrappers(self._env, arrays)
        self.steps = steps

    def export(self, about: Mapping[str, Any]) -> Policy:
        """The policy in the middle of the distribution."""
        return self._policy(self._strategy.mean, about)

    def close(self) -> None:
        """Close the lanes."""
        self._env.close()

    def _put(self, name: str, saved: NDArray[Any]) -> None:
        shape = getattr(self._strategy, name).shape
        if saved.shape != shape or not np.isfinite(saved).all():
            raise ValueError(f"{name} of the strategy is not of finite numbers {shape}")
        setattr(self._strategy, name, saved.copy())

    def _generation(self, watcher: Watcher) -> None:
        if self._moments is None:
            self._moments = self._look()
        strategy = self._strategy
        with warnings.catch_warnings():
            # The package divides by what a flat stretch of the returns makes zero.
            warnings.simplefilter("ignore", RuntimeWarning)
            candidates = [strategy.ask() for _ in range(strategy.population_size)]
            seeds = self._seeds(_GENERATION, strategy.generation)
            returns, decisions = self._treat(candidates, seeds)
            scores = returns.mean(axis=1)
            # What cannot be scored ranks last.
            costs = np.where(np.isfinite(scores), -scores, np.inf)
            strategy.tell(list(zip(candidates, costs.tolist(), strict=True)))
        self.steps += self.steps_per_update
        watcher.advanced(self.steps_per_update)
        scalars = {
            "episode/return": float(scores.mean()),
            "episode/best_return": float(scores.max()),
            "train/sigma": float(strategy._sigma),
            "train/decisions_taken": float(decisions),
        }
        watcher.record(self.steps, scalars)

    def _seeds(self, room: int, generation: int) -> list[int]:
        """Random keys of the patients of a generation, whatever the process."""
        mixed = np.random.SeedSequence([self._seed, room, generation])
        drawn = mixed.generate_state(self._patients, np.uint64) >> np.uint64(2)
        return [int(key) for key in drawn]

    def _treat(self, candidates: Sequence[Floats], seeds: Sequence[int]) -> tuple[Floats, int]:
        """Returns ``(candidates, patients)`` of whole courses, and the decisions they took."""
        # The lanes' own wrappers act: here a policy sees what they show.
        agents = [
            PolicyAgent(replace(self._policy(weights, {}), wrappers=())) for weights in candidates
        ]
        courses = [(who, key) for who in range(len(agents)) for key in seeds]
        found, decisions = [], 0
        for first in range(0, len(courses), self._env.num_envs):
            part = courses[first : first + self._env.num_envs]
            returns, taken = self._round(agents, part)
            found.append(returns)
            decisions += taken
        return np.concatenate(found).reshape(len(agents), len(seeds)), decisions

    def _round(
        self, agents: Sequence[PolicyAgent], courses: Sequence[tuple[int, int]]
    ) -> tuple[Floats, int]:
        env, spare = self._env, self._env.num_envs - len(courses)
        seeds: Any = [*(key for _, key in courses), *[0] * spare]
        observation, _ = env.reset(seed=seeds)
        shape = env.single_action_space.shape or ()
        actions = np.zeros((env.num_envs, *shape), np.float32)
        lanes: dict[int, slice] = {}
        for lane, (who, _) in enumerate(courses):
            lanes[who] = slice(lanes.get(who, slice(lane, lane)).start, lane + 1)
        returns, decisions = np.zeros(env.num_envs), 0
        over = np.zeros(env.num_envs, np.bool_)
        while not over[: len(courses)].all():
            for who, own in lanes.items():
                actions[own], _ = agents[who].predict(observation[own], deterministic=True)
            decisions += int(np.count_nonzero(~over[: len(courses)]))
            observation, reward, terminated, truncated, _ = env.step(actions)
            returns += reward
            over |= terminated | truncated
        return returns[: len(courses)], decisions

    def _look(self) -> tuple[Floats, Floats]:
        """Mean and variance of what courses with small random doses show."""
        env = self._env
        rng = np.random.default_rng([self._seed, _LOOK])
        keys = np.random.SeedSequence([self._seed, _LOOK]).generate_state(env.num_envs, np.uint64)
        seeds: Any = [int(key >> np.uint64(2)) for key in keys]
        observation, _ = env.reset(seed=seeds)
        shape = (env.num_envs, *(env.single_action_space.shape or ()))
        share = np.exp(rng.uniform(np.log(_LEAST_SHARE), 0.0, shape))
        over = np.zeros(env.num_envs, np.bool_)
        seen = [observation]
        while not over.all():
            doses = share * rng.random(shape)
            observation, _, terminated, truncated, _ = env.step(doses)
            over |= terminated | truncated
            seen.append(observation[~over])
        rows = np.concatenate(seen).reshape(-1, self._sizes[0]).astype(np.float64)
        return rows.mean(axis=0), np.maximum(rows.var(axis=0), _LEAST_VARIANCE)

    def _policy(self, weights: Floats, about: Mapping[str, Any]) -> Policy:
        assert self._moments is not None, "no course was looked at"
        matrices, biases, place = [], [], 0
        numbers = np.asarray(weights, np.float32)
        for before, after in itertools.pairwise(self._sizes):
            matrices.append(numbers[place : place + before * after].reshape(before, after).copy())
            place += before * after
            biases.append(numbers[place : place + after].copy())
            place += after
        return Policy(
            **{**self._header, "about": about},
            rescale_actions=True,
            squash=True,
            weights=tuple(matrices),
            biases=tuple(biases),
            log_std=np.full(self._sizes[-1], _LOG_STD, np.float32),
            activation=self._settings.activation,
            mean=self._moments[0].copy(),
            variance=self._moments[1].copy(),
        )
