"""What a reader sees first: one chart of scores over all treatments, and three sentences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from oncogym.core.json_types import JsonObject
from oncogym.evaluation.report.page import Report, with_minus_signs
from oncogym.evaluation.rivals import NOTHING, KeyNumber
from oncogym.evaluation.statistics import Interval

#: Agents of a treatment in the chart at most, those with the highest scores; beside them the ends
#: of the scale, the best rule and what was trained, whatever their scores.
MOST = 6


@dataclass(frozen=True)
class Standing:
    """How one environment went, in the terms of the first screen.

    Attributes:
        env_id: Id of the environment.
        treatment: Title of its treatment.
        patients: Number of patients.
        labels: What each agent is called.
        sees: What each agent sees.
        scores: Score of each agent; empty without a scale.
        ends: Names of the agents with the scores 0 and 1, empty where there is none.
        best: The agent with the highest mean return of the trained ones and of all others, plans
            among them, that see no more.
        gain: Its return minus that of score 0, paired.
        key: The best trained agent against the best rule or controller, if there are both.
        shown: Agents that the chart shows in any case.
        trained: Those that were trained.
    """

    env_id: str
    treatment: str
    patients: int
    labels: Mapping[str, str]
    sees: Mapping[str, str]
    scores: Mapping[str, Interval]
    ends: tuple[str, str]
    best: str
    gain: Interval
    key: KeyNumber | None
    shown: Sequence[str] = ()
    trained: Sequence[str] = ()

    def rows(self) -> list[str]:
        """Agents of the chart, the highest score first."""
        ranked = sorted(self.scores, key=lambda name: -self.scores[name].estimate)
        kept = {*ranked[:MOST], *self.shown}
        return [name for name in ranked if name in kept]

    def to_json(self, title: str) -> JsonObject:
        """A group of the chart."""
        return {
            "title": title,
            "zero": self.labels[self.ends[0]],
            "one": self.labels[self.ends[1]],
            "rows": [
                {
                    "label": self.labels[name],
                    "sees": self.sees.get(name, ""),
                    "kind": self._kind(name),
                    "estimate": _short(self.scores[name].estimate),
                    "low": _short(self.scores[name].low),
                    "high": _short(self.scores[name].high),
                }
                for name in self.rows()
            ],
        }

    def _kind(self, name: str) -> str:
        if name in self.trained:
            return "trained"
        return "fixed" if self.sees.get(name) == NOTHING else "reacts"


def names_of(standings: Sequence[Standing]) -> list[str]:
    """What a reader calls the environments: by their treatments, or by id where these repeat."""
    titles = [one.treatment for one in standings]
    if len(set(titles)) == len(titles):
        return titles
    return [one.env_id.rpartition("/")[2] for one in standings]


def add_first_screen(report: Report, standings: Sequence[Standing]) -> None:
    """Append the sentences and the chart."""
    report.add_text(sentences(standings))
    chart = scores_of_all(standings)
    if chart is not None:
        without = [
            name for name, one in zip(names_of(standings), standings, strict=True) if not one.scores
        ]
        report.add_chart(
            chart,
            f"Normalised scores with their 95 % intervals: the {MOST} highest of each treatment, "
            "the best rule or controller, and what was trained. The lines are the ends of the "
            "scale, 0 the clinic's protocol and 1 the reference; what lies further out than "
            "\N{MINUS SIGN}1 or 2 is drawn at the edge. Scales differ, so scores are not averaged "
            "over treatments." + (f" Without a scale: {', '.join(without)}." if without else ""),
            "Scores of all treatments",
        )


def scores_of_all(standings: Sequence[Standing]) -> JsonObject | None:
    """The chart over all treatments that have a scale; nothing if none has."""
    named = zip(names_of(standings), standings, strict=True)
    groups = [one.to_json(name) for name, one in named if one.scores]
    return {"kind": "groups", "groups": groups} if groups else None


def sentences(standings: Sequence[Standing]) -> str:
    """Who wins where, by how much, and whether that is beyond the best rule or controller."""
    text = "\n\n".join((_winners(standings), _margins(standings), _verdict(standings)))
    return with_minus_signs(text)


def _winners(standings: Sequence[Standing]) -> str:
    parts = [
        f"{one.labels[one.best]} ({name})"
        for name, one in zip(names_of(standings), standings, strict=True)
    ]
    return (
        "The highest mean return of all that see no more than a clinic can measure, or than what "
        f"was trained, has {'; '.join(parts)}."
    )


def _margins(standings: Sequence[Standing]) -> str:
    named = list(zip(names_of(standings), standings, strict=True))
    parts = [
        f"{one.labels[one.key.trained]} minus {one.labels[one.key.rival]}: "
        f"{one.key.difference} ({name})"
        for name, one in named
        if one.key is not None
    ]
    if parts:
        what = "The best trained policy minus the best rule or controller"
    else:
        what = "The best minus the clinic's protocol"
        parts = [
            f"{one.labels[one.best]} minus {one.labels[one.ends[0]]}: {one.gain} ({name})"
            for name, one in named
        ]
    return f"{what}, in return [95 % interval], is {'; '.join(parts)}."


def _verdict(standings: Sequence[Standing]) -> str:
    keys = [one.key for one in standings if one.key is not None]
    if not keys:
        return "Nothing was trained here, so no policy is held against a rule."
    above = sum(key.difference.low > 0.0 for key in keys)
    below = sum(key.difference.high < 0.0 for key in keys)
    where = f"{len(keys)} environments" if len(keys) > 1 else "one environment"
    return (
        f"In {where} with a trained policy, it is beyond the best rule or controller in {above}, "
        f"behind it in {below}, and within noise of it in {len(keys) - above - below}."
    )


def _short(value: float) -> float | None:
    return float(f"{value:.5g}") if value == value else None
