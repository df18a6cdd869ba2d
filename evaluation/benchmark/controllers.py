"""The controllers of a benchmark, with the budget that its preset allows them."""

from __future__ import annotations

from oncogym.agents.agent import Agent
from oncogym.agents.belief import BeliefSettings
from oncogym.agents.mpc import MPCSettings, find_controller
from oncogym.evaluation.benchmark.presets import Preset


def controllers_of(preset: Preset, seed: int) -> dict[str, Agent]:
    """The preset's controllers by name.

    Raises:
        UnknownNameError: There is no such controller.
        ValueError: A setting is out of range.
    """
    settings = MPCSettings(**preset.control, seed=seed, belief=BeliefSettings(seed=seed))
    return {name: find_controller(name)(settings) for name in preset.controllers}
