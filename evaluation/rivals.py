"""What the agents of a comparison see, and whom a trained policy has to beat."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from oncogym.evaluation.metrics import per_patient
from oncogym.evaluation.statistics import Interval, hierarchical_difference

#: What an agent sees who decides everything beforehand.
NOTHING = "nothing"
MEASURABLE = "measurable"
FULL = "full state"


@dataclass(frozen=True)
class KeyNumber:
    """The result of a cohort in one number: the best trained policy against its best rival.

    Attributes:
        trained: The trained agent with the highest mean return.
        rival: The rule or controller with the highest mean return of those that see no more.
        difference: Return of the first minus that of the second, paired, over training seeds and
            patients.
        success: Success of the two.
        cost: Mean cost of the two.
    """

    trained: str
    rival: str
    difference: Interval
    success: tuple[float, float]
    cost: tuple[float, float]

    def sentence(self, labels: Mapping[str, str]) -> str:
        """Who wins, in words, with what it costs."""
        one, other = labels[self.trained], labels[self.rival]
        low, high = self.difference.low, self.difference.high
        if not low > 0.0 and not high < 0.0:
            verdict = f"{one} and {other} are within noise of each other"
        elif high < 0.0:
            verdict = f"{one} loses to {other}"
        elif self.success[0] < self.success[1] or self.cost[0] > self.cost[1]:
            verdict = f"{one} has a higher return than {other}, but less success or a higher cost"
        else:
            verdict = f"{one} beats {other}"
        return (
            f"{verdict}: return {self.difference} (success {self.success[0]:.2f} against "
            f"{self.success[1]:.2f}, cost {self.cost[0]:.3f} against {self.cost[1]:.3f})"
        )


def key_number(
    results: pd.DataFrame,
    trained: Collection[str],
    rival: str,
    *,
    seed: int = 0,
) -> KeyNumber | None:
    """The best of ``trained`` against ``rival``, nothing if there is none of them.

    The best are those of the same patients: the rival's choice favours the rival.

    Args:
        results: See :func:`oncogym.evaluation.harness.evaluate`, with ``training_seed``.
        trained: Agents that were trained.
        rival: The best of the rules and controllers that see no more than they do, or empty.
        seed: Seed of the bootstrap.
    """
    one, other = best_of(results, trained), rival
    if not one or not other:
        return None
    table = results.assign(success=results["success"].astype(float))
    means = {n: t.mean() for n, t in per_patient(table, ["success", "cost"]).items()}
    return KeyNumber(
        trained=one,
        rival=other,
        difference=against(results, one, other, seed=seed),
        success=(float(means[one]["success"]), float(means[other]["success"])),
        cost=(float(means[one]["cost"]), float(means[other]["cost"])),
    )


def best_of(results: pd.DataFrame, names: Collection[str]) -> str:
    """The agent with the highest mean return among ``names``; empty if there is none."""
    means = {
        name: table["return"].mean() for name, table in per_patient(results, ["return"]).items()
    }
    return max((name for name in means if name in names), key=means.__getitem__, default="")


def against(results: pd.DataFrame, name: str, other: str, *, seed: int = 0) -> Interval:
    """Return of an agent minus that of another one, over training seeds and patients.

    Args:
        results: One row an agent and patient, as of ``evaluate``.
        name: The agent.
        other: The one that it is compared with.
        seed: Seed of the interval.
    """
    own = results[results["agent"] == name]
    seeds = own["training_seed"] if "training_seed" in own else np.zeros(len(own))
    rows = own.assign(training_seed=seeds).pivot(
        index="training_seed", columns="patient", values="return"
    )
    values = per_patient(results[results["agent"] == other], ["return"])[other]["return"]
    return hierarchical_difference(
        rows.to_numpy(), values.reindex(rows.columns).to_numpy(), seed=seed
    )


def rivals_of(
    sees: Mapping[str, str], trained: Collection[str], unfit: Collection[str]
) -> set[str]:
    """Rules, protocols and controllers that see no more than what was trained.

    Args:
        sees: What each agent sees, by name.
        trained: Agents that were trained.
        unfit: Agents that are neither rule nor controller: optimised plans, random ones.
    """
    most = max((_rank(sees[name]) for name in trained), default=_rank(MEASURABLE))
    return {
        name
        for name, seen in sees.items()
        if name not in trained and name not in unfit and _rank(seen) <= most
    }


def _rank(sees: str) -> int:
    order = (NOTHING, MEASURABLE, FULL)
    return order.index(sees) if sees in order else len(order)
