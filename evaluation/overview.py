"""One table a treatment that fits a terminal: who did how well, seeing what."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd

from oncogym.evaluation.comparison import Comparison
from oncogym.evaluation.report.labels import visible
from oncogym.evaluation.rivals import against
from oncogym.evaluation.statistics import Interval

#: Columns of a terminal that the table fits.
WIDTH = 100
# What the agents' names take of it at least.
_NAME = 16


def overview(comparison: Comparison) -> pd.DataFrame:
    """One row an agent, in the order of its return.

    Returns:
        ``agent``, ``sees``, ``outcome`` (mean of the treatment's first metric), ``return``,
        ``success``, ``cost``, ``score`` (NaN without a scale) and ``minus_rival``, the paired
        difference of the return to :attr:`Comparison.rival`, nothing for the rival itself.
    """
    main = comparison.problem.treatment.task.metrics[0]
    wide = comparison.summary.pivot(index="agent", columns="metric", values="mean")
    means: dict[Any, dict[Any, float]] = wide.T.to_dict()
    scores = comparison.scores.get("mean", {})
    rows = []
    for name, label in comparison.labels.items():
        other = comparison.rival
        gap = against(comparison.results, name, other) if other and other != name else None
        rows.append(
            {
                "agent": label,
                "sees": comparison.sees.get(name, ""),
                "outcome": float(means[name][main.name]),
                "return": float(means[name]["return"]),
                "success": comparison.success[name].estimate,
                "cost": float(means[name]["cost"]),
                "score": scores[name].estimate if name in scores else math.nan,
                "minus_rival": gap,
            }
        )
    return pd.DataFrame(rows).sort_values("return", ascending=False, ignore_index=True)


def print_overview(comparison: Comparison) -> None:
    """Print the table, what its columns mean, and who wins."""
    problem = comparison.problem
    table = overview(comparison)
    main = problem.treatment.task.metrics[0]
    unit = f" [{main.unit}]" if main.unit else ""
    print(f"\n{problem.variant.id}: {len(problem.patients)} patients of {problem.cohort.name!r}")
    if comparison.key is not None:
        print(f"{visible(comparison.key.sentence(comparison.labels))}")
    digits = _digits(table["return"]) + 1
    lines = [("agent", "sees", "outcome", "success", "cost", "score", "return minus best rule")]
    for row in table.to_dict("records"):
        gap = row["minus_rival"]
        lines.append(
            (
                visible(row["agent"]),
                visible(row["sees"]),
                f"{row['outcome']:.{_digits(table['outcome'])}f}",
                f"{row['success']:.2f}",
                f"{row['cost']:.3f}",
                "" if math.isnan(row["score"]) else f"{row['score']:.2f}",
                "(best rule)" if gap is None else _interval(gap, digits),
            )
        )
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    rest = sum(2 + width for width in widths[1:])
    widths[0] = max(min(widths[0], WIDTH - rest), _NAME)
    for line in lines:
        line = (_short(line[0], widths[0]), *line[1:])
        cells = (
            cell.ljust(width) if column < 2 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        print("  ".join(cells).rstrip())
    rival = visible(comparison.labels.get(comparison.rival, "none"))
    scale = (
        f"score: 0 {visible(comparison.labels[comparison.baseline])}, "
        f"1 {visible(comparison.labels[comparison.reference])}"
        if comparison.scores
        else f"no score: {visible(comparison.no_scale)}"
    )
    print(f"outcome: {visible(main.label)}{unit}; best rule or controller: {rival}; {scale}")


def _interval(value: Interval, digits: int) -> str:
    if math.isnan(value.low):
        return f"{value.estimate:.{digits}f}"
    return f"{value.estimate:.{digits}f} [{value.low:.{digits}f}, {value.high:.{digits}f}]"


def _digits(values: pd.Series) -> int:
    """Decimals that leave three significant digits of the largest value."""
    largest = float(values.abs().max())
    return 3 if not largest > 0.0 else min(max(2 - math.floor(math.log10(largest)), 0), 4)


def _short(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1] + "\N{HORIZONTAL ELLIPSIS}"
