"""The bound of the adaptive environment: a new plan for the true errors of every fraction.

``python -m oncogym.evaluation.reproduce.impt.replanning --patients 40`` treats the first patients
of the cohort ``unseen`` in three ways and prints their mean scores: with the static robust plan,
with the clairvoyant rule (the nominal plan, corrected by the true errors), and with weights that
L-BFGS-B finds anew for the true displacement and range of every single fraction.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from oncogym.agents.clinical import clinical_agents
from oncogym.envs.impt_beam_weighting.anatomies import anatomy
from oncogym.envs.impt_beam_weighting.fraction_kernels import MEAN_WEIGHT
from oncogym.envs.impt_beam_weighting.plan_library import nominal_weights, scenario_of
from oncogym.envs.impt_beam_weighting.planning.beams import BeamSet, trace
from oncogym.envs.impt_beam_weighting.planning.dose_statistics import dose_statistics
from oncogym.envs.impt_beam_weighting.planning.influence import pencil_beams
from oncogym.envs.impt_beam_weighting.planning.phantom import Phantom
from oncogym.envs.impt_beam_weighting.planning.structures import REST
from oncogym.envs.problem import Problem
from oncogym.evaluation.harness import evaluate_problem, resolve
from oncogym.evaluation.statistics import Interval, stratified_bootstrap

ENV_ID = "oncogym/IMPTBeamWeighting-v0"
_HOT = 1.07


def replanned_scores(patients: int, seed: int = 0) -> NDArray[np.float64]:
    """Scores [Gy] of courses that are planned anew for the true errors of every fraction.

    Args:
        patients: Number of patients of the cohort ``unseen``, from the first on.
        seed: Key of their random errors, as ``oncogym evaluate --seed``.

    Returns:
        Scores ``(patients,)``, as the environment's metric ``score``.
    """
    problem = resolve(
        ENV_ID, cohort="unseen", patients=patients, seed=seed, options={"observation": "full"}
    )
    shifts = _true_shifts(problem)
    phantom = anatomy("abutting")
    beams = BeamSet.for_target(phantom)
    geometry = trace(phantom, beams.angles, beams.isocentre)
    scores = np.empty(patients)
    fractions = shifts.shape[1]
    with tqdm(
        total=patients * fractions, desc="planning", unit="fraction", file=sys.stderr, disable=None
    ) as bar:
        for number, row in enumerate(problem.patients):
            dose = np.zeros(phantom.num_voxels)
            weights = None
            for shift in shifts[number]:
                scenario = scenario_of([*shift, row[4]])
                influence = pencil_beams(phantom, beams, scenario, geometry=geometry)
                weights = nominal_weights(influence, weights)
                dose += influence.dose(weights) / fractions
                bar.update(1)
            scores[number] = _score(dose, phantom)
    return scores


def _true_shifts(problem: Problem) -> NDArray[np.float64]:
    """True displacements ``(patients, fractions, 2)`` [cm], as the full observation shows them."""
    task = problem.task()
    lanes = np.arange(task.num_lanes)
    rows, seeds = problem.patients, problem.seeds
    observation = task.reset(lanes, rows, seeds, np.zeros(len(lanes), np.uint64))
    actions = np.full((task.num_lanes, *task.action_space.shape), 0.5)
    active = np.ones(task.num_lanes, np.bool_)
    found = []
    for _ in range(task.num_decisions):
        found.append(observation[:, -5:-3].astype(np.float64))
        observation = task.step(actions, active).observation
    return np.stack(found, axis=1)


def _score(dose: NDArray[np.float64], phantom: Phantom) -> float:
    numbers = dose_statistics(dose, phantom)
    structures = phantom.structures
    prescription = phantom.prescribed
    target = numbers[structures.target]
    organs = [numbers[name] for name in structures.oars]
    means = sum(one["mean"] for one in organs) + numbers[REST]["mean"]
    return (
        max(prescription - target["D95"], 0.0)
        + max(target["D2"] - _HOT * prescription, 0.0)
        + sum(one["excess"] for one in organs)
        + MEAN_WEIGHT * means
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Print the scores of the three ways."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--patients", type=int, default=40, help="default 40")
    parser.add_argument("--seed", type=int, default=0, help="random seed (default 0)")
    args = parser.parse_args(argv)
    problem = resolve(ENV_ID, cohort="unseen", patients=args.patients, seed=args.seed)
    agents, _ = clinical_agents(problem.treatment, problem.task(1))
    table = evaluate_problem(problem, agents)
    scores = {str(name): own["score"].to_numpy() for name, own in table.groupby("agent")}
    scores["replanned every fraction"] = replanned_scores(args.patients, args.seed)
    for name, values in sorted(scores.items(), key=lambda pair: -pair[1].mean()):
        interval: Interval = stratified_bootstrap(values, np.mean, seed=args.seed)
        print(f"{name:<26} {interval.estimate:7.3f} [{interval.low:.3f}, {interval.high:.3f}] Gy")
    return 0


if __name__ == "__main__":
    sys.exit(main())
