"""Run an agent over many patients at once, one episode each."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from oncogym.agents.agent import Agent, attending
from oncogym.envs.therapy import Floats, TherapyTask


@dataclass(frozen=True)
class Rollout:
    """One finished episode for each lane.

    Attributes:
        returns: Undiscounted sum of rewards ``(lanes,)``.
        lengths: Decisions taken ``(lanes,)``.
        terms: Summed reward terms, unweighted ``(lanes, terms)``.
        costs: Summed costs ``(lanes, costs)``.
        outcome: Clinical metrics at the end ``(lanes, metrics)``.
        success: ``(lanes,)``.
        clipped: Decisions whose action lay outside the box ``(lanes,)``.
        actions: Actions taken ``(lanes, decisions, action size)``, NaN after the end; empty unless
            they were asked for.
    """

    returns: Floats
    lengths: NDArray[np.int64]
    terms: Floats
    costs: Floats
    outcome: Floats
    success: NDArray[np.bool_]
    clipped: NDArray[np.int64]
    actions: Floats


def rollout(
    task: TherapyTask,
    agent: Agent,
    patients: Floats,
    seeds: NDArray[np.uint64] | None = None,
    *,
    record_actions: bool = False,
) -> Rollout:
    """Treat ``task.num_lanes`` patients with ``agent``, deterministically, to the end.

    Args:
        task: The task; its lanes are reset.
        agent: Any agent.
        patients: Patient rows ``(lanes, fields)``.
        seeds: Random key of each lane ``(lanes,)``; by default the lane number. The same seed is
            the same measurement noise and the same chance in the model, whatever the agent.
        record_actions: Keep the actions.
    """
    lanes = task.num_lanes
    index = np.arange(lanes)
    keys = index.astype(np.uint64) if seeds is None else np.asarray(seeds, np.uint64)
    observation = task.reset(index, patients, keys, np.zeros(lanes, np.uint64))
    agent = attending(agent, task)
    active = np.ones(lanes, np.bool_)
    returns = np.zeros(lanes)
    lengths = np.zeros(lanes, np.int64)
    terms = np.zeros((lanes, len(task.reward_terms)))
    costs = np.zeros((lanes, len(task.costs)))
    outcome = np.zeros((lanes, len(task.metrics)))
    success = np.zeros(lanes, np.bool_)
    clips = np.zeros(lanes, np.int64)
    taken: list[Floats] = []
    start = np.ones(lanes, np.bool_)
    state: object = None
    leave = getattr(agent, "leave", None)
    while active.any():
        wanted, state = agent.predict(
            observation, state=state, episode_start=start, deterministic=True
        )
        actions, clipped = task.check_actions(wanted, active)
        result = task.step(actions, active)
        reward = task.weighted_reward(result.reward_terms)
        returns[active] += reward[active]
        terms[active] += result.reward_terms[active]
        costs[active] += result.costs[active]
        lengths += active
        clips += clipped
        if record_actions:
            taken.append(np.where(active[:, None], actions.reshape(lanes, -1), np.nan))
        ended = active & (result.terminated | result.truncated)
        outcome[ended] = result.outcome[ended]
        success[ended] = (result.success & result.terminated)[ended]
        active &= ~ended
        if leave is not None and ended.any():
            leave(state, ~active)
        start[:] = False
        observation = result.observation
    history = np.stack(taken, axis=1) if taken else np.zeros((lanes, 0, 0))
    return Rollout(returns, lengths, terms, costs, outcome, success, clips, history)
