"""What measurements tell about one patient: the belief before treatment and later, and the truth.

``python -m oncogym.evaluation.belief_picture ENV --patient N --out FILE.png`` treats one held-out
patient by a clinical schedule and draws, for each parameter that varies, how the belief narrows.
"""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure

from oncogym.agents.belief import Belief, BeliefSettings
from oncogym.core.files import write_bytes_atomic
from oncogym.envs.problem import Problem
from oncogym.envs.therapy import Floats
from oncogym.evaluation.belief_calibration import careful_settings, measured_patients, schedule_of

# Shades of one hue, the latest darkest, and the truth apart from them.
_SHADES = ("#C9DDF0", "#7FB0DC", "#2E75B6", "#0B3C68")
_TRUTH = "#D55E00"


@dataclass(frozen=True)
class Posterior:
    """A belief about one patient at one time.

    Attributes:
        decisions: Decisions carried out.
        weights: Weights of the particles ``(particles,)``, which sum to 1.
        patients: Their rows ``(particles, fields)``.
    """

    decisions: int
    weights: Floats
    patients: Floats


def follow(
    problem: Problem, actions: Floats, times: Sequence[int], settings: BeliefSettings | None = None
) -> tuple[list[Posterior], tuple[int, ...]]:
    """Treat the only patient of a problem, and keep the belief at some times.

    Args:
        problem: One patient of a cohort's law.
        actions: What is given ``(decisions, action size)``.
        times: Numbers of decisions after which the belief is kept, ascending, the first 0.
        settings: Settings of the belief.

    Returns:
        The beliefs, fewer than ``times`` if the treatment ends early, and the columns of a patient
        row that vary.

    Raises:
        ValueError: The problem has not one patient, or the times are not ascending from 0 to the
            number of ``actions``.
    """
    if len(problem.patients) != 1:
        raise ValueError(f"a problem of {len(problem.patients)} patients; allowed: 1")
    wanted = list(times)
    if wanted[:1] != [0] or wanted != sorted(set(wanted)) or wanted[-1] > len(actions):
        raise ValueError(f"times are {wanted}; allowed: ascending from 0 to {len(actions)}")
    task, belief = problem.task(), Belief(problem, settings)
    first = np.zeros(1, np.intp)
    belief.begin(task.reset(first, problem.patients, problem.seeds, np.zeros(1, np.uint64)))
    kept = [Posterior(0, belief.weights[0].copy(), belief.patients[0].copy())]
    for number, action in enumerate(actions[: wanted[-1]], start=1):
        given = np.asarray(action).reshape(1, *task.action_space.shape)
        result = task.step(given, np.ones(1, np.bool_))
        belief.update(given.reshape(1, -1), result.observation)
        if number in wanted:
            kept.append(Posterior(number, belief.weights[0].copy(), belief.patients[0].copy()))
        if result.terminated[0] or result.truncated[0]:
            break
    return kept, tuple(belief.varied)


def draw(problem: Problem, beliefs: Sequence[Posterior], varied: Sequence[int]) -> Figure:
    """One panel a parameter: weighted histograms of the beliefs, and a line at the truth.

    Args:
        problem: Whose patients the beliefs are about.
        beliefs: What is believed, one a time.
        varied: Numbers of the parameters that are drawn.
    """
    fields = problem.treatment.patient.FIELDS
    columns = min(3, len(varied))
    rows = -(-len(varied) // columns)
    figure = Figure(figsize=(3.0 * columns, 2.1 * rows + 0.5), dpi=100, layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for axis, field in zip(axes, varied, strict=False):
        held = np.concatenate([one.patients[:, field] for one in beliefs])
        low, high = np.quantile(held, (0.002, 0.998))
        edges = np.linspace(low, high, 33)
        for one, shade in zip(beliefs, _SHADES, strict=False):
            axis.hist(
                one.patients[:, field],
                edges,
                weights=one.weights / np.diff(edges)[0],
                color=shade,
                histtype="stepfilled" if one.decisions == 0 else "step",
                linewidth=1.6,
                label="before treatment"
                if one.decisions == 0
                else f"after {one.decisions} decisions",
            )
        truth = float(problem.patients[0, field])
        axis.axvline(truth, color=_TRUTH, linestyle="--", linewidth=1.4, label="true value")
        axis.set_xlabel(fields[field].replace("_", " "))
        axis.set_yticks([])
    for axis in axes[len(varied) :]:
        axis.set_visible(False)
    figure.legend(
        *axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=5, frameon=False
    )
    return figure


def main(arguments: list[str] | None = None) -> int:
    """Draw the picture that the documentation shows."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("env", help="id of an environment")
    parser.add_argument("--protocol", default="daily", help="schedule that is given")
    parser.add_argument("--patient", type=int, default=0, help="number among the held-out patients")
    parser.add_argument("--after", type=int, nargs="+", default=[5, 15, 45], help="decisions")
    parser.add_argument("--particles", type=int, default=2048)
    parser.add_argument("--moves", type=int, default=9)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", required=True, help="PNG file")
    args = parser.parse_args(arguments)
    if args.patient < 0:
        parser.error(f"--patient is {args.patient}; allowed: 0 and more")
    if len(args.after) >= len(_SHADES):
        parser.error(f"{len(args.after)} times; allowed: {len(_SHADES) - 1} at most")
    problem = measured_patients(args.env, args.patient + 1)
    problem = problem.part(slice(args.patient, args.patient + 1))
    try:
        actions = schedule_of(problem, args.protocol)
        beliefs, varied = follow(problem, actions, [0, *args.after], careful_settings(args))
    except ValueError as error:
        parser.error(str(error))
    stream = io.BytesIO()
    draw(problem, beliefs, varied).savefig(stream, format="png", metadata={"Software": None})
    write_bytes_atomic(args.out, stream.getvalue())
    for one in beliefs:
        spread = np.sqrt(np.cov(one.patients[:, list(varied)].T, aweights=one.weights).diagonal())
        names = (problem.treatment.patient.FIELDS[field] for field in varied)
        pairs = ", ".join(f"{name} {value:.3g}" for name, value in zip(names, spread, strict=True))
        sys.stdout.write(f"standard deviation after {one.decisions} decisions: {pairs}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
