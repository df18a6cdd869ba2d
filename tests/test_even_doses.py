"""The rule whose safe doses come out even: what it foresees, holds back, remembers and gives."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest

from oncogym.envs import get_treatment
from oncogym.envs.protocols import HiddenError

GLIOBLASTOMA = get_treatment("glioblastoma_radiation")
RULE = GLIOBLASTOMA.protocol("even_doses")
EXACT = {"share": 1.0, "shrink": 0.0, "trust": 8.0, "spread": 0.5}


def measuring():
    return GLIOBLASTOMA.task(1, observation="measurable")


def seen(task, *, t2, left, since=0.0):
    """A T2 radius [mm], the share of the dose that is left and the time since the last scan."""
    row = np.zeros((1, *task.observation_space.shape), np.float32)
    for name, value in (("t2", t2 / 35.0), ("dose_left", left), ("since_scan", since)):
        row[0, task.observed.index(name)] = value
    return row


def doses(task, rows, **settings):
    """What the rule gives [Gy] at each observation of a course."""
    rule, memory, given = RULE.with_settings(**{**EXACT, **settings}), None, []
    for row in rows:
        actions, memory = rule.actions(task, row, memory)
        given.append(float(actions[0, 0]) * task.total_dose)
    return given


@pytest.mark.parametrize(
    ("full_doses", "spread", "first"),
    [
        (1.0, 0.5, 1.0),  # the last one
        (0.4, 0.5, 0.4),  # what is left of the dose
        (2.0, 0.5, 1.0),
        (1.5, 0.0, 0.5),  # the first one bears all that is held back
        (1.5, 1.0, 0.75),  # both bear it alike
        (1.5, 0.5, 0.625),
    ],
)
def test_what_the_last_days_need_not_give_is_held_back(full_doses, spread, first):
    task = measuring()
    safe = float(task.safe_doses(np.array([28.0]))[0])
    left = full_doses * safe / task.total_dose
    given = doses(task, [seen(task, t2=28.0, left=left)], spread=spread)
    assert given[0] == pytest.approx(first * safe, rel=1e-5)


def test_the_field_is_foreseen_between_scans_and_corrected_by_the_next():
    task = measuring()

    def second_dose(second, since):
        """After half of the total dose."""
        rows = [seen(task, t2=28.0, left=1.0), seen(task, t2=second, left=0.5, since=since)]
        return doses(task, rows, shrink=0.01, share=0.1, spread=0.0)[1]

    # 1 % of the rim of 13 mm for each of 30.6 Gy.
    foreseen = 28.0 - 0.01 * 13.0 * 30.6
    shown, expected = second_dose(28.0, 0.5), second_dose(foreseen, 0.0)
    assert shown == pytest.approx(expected, rel=1e-4)
    assert shown != pytest.approx(second_dose(28.0, 0.0), rel=0.01)


def test_doses_come_out_even_where_the_state_is_known():
    """No dose above its limit, all of the dose given, no more days than at the safe dose."""
    env = gym.make("oncogym/GlioblastomaRadiation-v0").unwrapped
    courses = {}
    for name in ("greedy", "even_doses"):
        rule, memory = GLIOBLASTOMA.protocol(name), None
        observation, info = env.reset(seed=0)
        over, shares = False, []
        while not over:
            actions, memory = rule.actions(env.task, observation[None], memory)
            limit = float(env.task.shown_safe_actions(observation[None])[0, 0])
            observation, _, terminated, truncated, info = env.step(actions[0].astype(np.float32))
            shares.append(float(actions[0, 0]) / limit)
            over = terminated or truncated
        assert info["outcome"]["violations"] == 0.0
        assert info["outcome"]["total_dose"] > 61.1
        courses[name] = np.array(shares), info["outcome"]["quality_days"]
    even, greedy = courses["even_doses"], courses["greedy"]
    treated = np.flatnonzero(even[0] > 1e-3)
    assert len(treated) <= len(np.flatnonzero(greedy[0] > 1e-3))
    assert even[0][treated[-1]] > 0.95
    assert even[0][treated[0]] < even[0][treated[-2]]
    assert even[1] > greedy[1] + 0.3


def test_densities_do_not_show_what_is_left():
    task = GLIOBLASTOMA.task(1, formulation="published")
    with pytest.raises(HiddenError, match="'density' does not show the dose"):
        RULE.actions(task, np.zeros((1, *task.observation_space.shape), np.float32))
