"""The controllers of a benchmark, with the budget that its preset allows them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from oncogym.agents.mpc import MPCSettings, RecedingHorizon, find_controller
from oncogym.agents.plan import PlanAgent
from oncogym.envs.problem import Problem
from oncogym.evaluation.benchmark.presets import Preset


def control_settings(problem: Problem, preset: Preset, seed: int) -> MPCSettings:
    """How much the preset lets controllers think, on top of what suits the environment.

    Args:
        problem: Whom they treat.
        preset: Settings of the controllers.
        seed: Seed of the benchmark.

    Raises:
        ValueError: A setting is out of range.
    """
    usual = MPCSettings.suited(problem, preset.control)
    return replace(usual, belief=replace(usual.belief, seed=seed), seed=seed)


def controllers_of(
    problem: Problem,
    preset: Preset,
    seed: int,
    plans: Mapping[str, PlanAgent] | None = None,
) -> dict[str, RecedingHorizon]:
    """The preset's controllers by name, with its settings on top of the environment's.

    Args:
        problem: Whom they treat.
        preset: Names and settings of the controllers.
        seed: Seed of the benchmark.
        plans: Plans by name from which they may start, beside the clinical protocols.

    Raises:
        UnknownNameError: There is no such controller.
        ValueError: A setting is out of range.
    """
    settings = control_settings(problem, preset, seed)
    return {name: find_controller(name)(settings, plans=plans) for name in preset.controllers}
