"""Lanes, joblib processes and Ray: the same bytes, and what happens when a worker dies."""

from __future__ import annotations

import json
import multiprocessing
import os
import subprocess
import sys
import threading
from concurrent import futures
from dataclasses import replace
from pathlib import Path

import deadly_work
import mortal_toy
import numpy as np
import pandas as pd
import pytest
import slot_toy
from once import made_once

from oncogym.agents import PlanAgent, RandomAgent, clinical_agents
from oncogym.agents.optimizers import PlanObjective, find_optimizer
from oncogym.agents.optimizers.genetic import GeneticAlgorithm, GeneticSettings
from oncogym.agents.optimizers.lane_batch import LaneBatch, lane_returns
from oncogym.cli.main import main
from oncogym.envs import get_treatment, register_treatment
from oncogym.envs.problem import Problem
from oncogym.evaluation.benchmark.seed_sweep import train_seeds
from oncogym.evaluation.harness import evaluate_problem, resolve
from oncogym.evaluation.robustness.perturbation import KINDS
from oncogym.evaluation.robustness.study import Request, run_robustness
from oncogym.evaluation.shards import Shard
from oncogym.parallel import (
    EXECUTORS,
    ExecutorError,
    JoblibExecutor,
    LanesExecutor,
    RayExecutor,
    open_executor,
)

COHORT = "ChemoDosingCohort-v0"
GA = GeneticSettings(population=8, parents=6, elites=2, finalists=3, finalist_replicates=2)
# One worker: how work is cut into pieces is the same for joblib and Ray, so one of them tells.
OTHERS = ["joblib-1", "joblib-2", "ray-2"]
TWO_WORKERS = pytest.mark.parametrize("executor", ["joblib-2", "ray-2"], indirect=True)


def opened(text):
    name, workers = text.split("-")
    if name == "ray":
        pytest.importorskip("ray")
    return open_executor(name, int(workers))


@pytest.fixture(scope="module", params=OTHERS)
def executor(request):
    with opened(request.param) as found:
        yield found


def chemo_problem(patients=40, max_lanes=None):
    chemo = get_treatment("chemo_dosing")
    rows = chemo.cohort("population").patients(patients)
    return PlanObjective(
        Problem.of(chemo, {"decision_interval": 10.0}, patients=rows), max_lanes=max_lanes
    )


def toy_problem():
    return PlanObjective(
        Problem.of(slot_toy.TREATMENT, {"noise": 1.0}, patients=np.array([[0.8], [1.2]])),
        replicates=2,
    )


def evaluation():
    """A problem with three shards, and an agent of each kind."""
    problem = resolve(COHORT, patients=70, seed=5, options={"observation": "measurable"})
    task = problem.task(1)
    agents, _ = clinical_agents(problem.treatment, task)
    agents["random"] = RandomAgent(1, 3)
    agents["plan"] = PlanAgent(np.full((60, 1), 0.05))
    assert agents["threshold"].options == {"observation": "full"}
    return problem, agents


# --- the same bytes --------------------------------------------------------------------------


@pytest.mark.parametrize("lanes", [1, 7, 100_000])
def test_scores_do_not_depend_on_lanes(lanes):
    plans = np.random.default_rng(0).random((12, chemo_problem(1).space.dimension))
    one, other = chemo_problem(), chemo_problem(max_lanes=lanes)
    assert one.score(plans).tobytes() == other.score(plans).tobytes()
    assert one.evaluations == other.evaluations == 12 * 40


@pytest.mark.slow
def test_scores_do_not_depend_on_the_executor(executor):
    plans = np.random.default_rng(0).random((30, chemo_problem(1).space.dimension))
    here, there = chemo_problem(), chemo_problem()
    assert here.score(plans).tobytes() == there.score(plans, executor).tobytes()
    assert here.evaluations == there.evaluations == 30 * 40
    few = chemo_problem(max_lanes=7)
    assert few.score(plans[:3], executor).tobytes() == here.score(plans[:3]).tobytes()
    assert (
        few.score_actions(np.empty((0, *few.actions(plans[0]).shape)), executor=executor).size == 0
    )


def test_searches_do_not_depend_on_the_executor(executor, tmp_path):
    for optimizer, make in (
        (find_optimizer("de", {"popsize": 3}), lambda: chemo_problem(4)),
        (GeneticAlgorithm(GA), toy_problem),
    ):
        problem = make()
        budget = 60 if optimizer.name == "de" else 24
        budget = max(budget, 6 * problem.space.dimension * (optimizer.name == "de"))
        here = optimizer.optimize(problem, budget, 1)
        there = optimizer.optimize(make(), budget, 1, executor=executor)
        assert here.plan.tobytes() == there.plan.tobytes()
        assert here.actions.tobytes() == there.actions.tobytes()
        assert (here.score, here.history) == (there.score, there.history)
        assert (here.evaluations, here.settings) == (there.evaluations, there.settings)


def test_a_search_goes_on_with_another_executor(executor, tmp_path):
    def search(folder, **arguments):
        return GeneticAlgorithm(GA).optimize(toy_problem(), 40, 3, folder=folder, **arguments)

    def stop(generation, best, simulations):
        if generation == 3:
            raise KeyboardInterrupt

    whole = search(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        search(tmp_path / "parts", progress=stop)
    parts = search(tmp_path / "parts", resume=True, executor=executor)
    assert (whole.plan == parts.plan).all()
    assert (whole.score, whole.evaluations) == (parts.score, parts.evaluations)
    tables = [pd.read_csv(tmp_path / n / "history.csv") for n in ("whole", "parts")]
    first, second = (table.drop(columns="seconds") for table in tables)
    pd.testing.assert_frame_equal(first, second, check_exact=True)


def test_evaluations_do_not_depend_on_the_executor(executor):
    problem, agents = evaluation()
    here = evaluate_problem(problem, agents)
    there = evaluate_problem(problem, agents, executor)
    again = evaluate_problem(problem, agents, executor)
    assert here.to_csv() == there.to_csv() == again.to_csv()
    assert list(here["agent"].unique()) == list(agents)


def studied(executor=None):
    """A study of every kind, with an agent of each kind: its table and its document."""
    problem, agents = evaluation()
    agents = {name: agents[name] for name in ("daily", "threshold", "random", "plan")}
    requests = [Request(kind, when=(2,) * about.event) for kind, about in KINDS.items()]
    found = run_robustness(problem, agents, requests, resamples=20, executor=executor)
    assert set(found.results["kind"]) == {"none", *KINDS}
    return found.results.to_csv(), json.dumps(found.document())


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """What this process finds."""
    return made_once(tmp_path_factory, "study", lambda folder: studied())[1]


@pytest.mark.slow
def test_studies_of_robustness_do_not_depend_on_the_executor(executor, study):
    assert studied(executor) == study


@pytest.mark.slow
@pytest.mark.parametrize("lanes", [1, 7, 1000])
def test_evaluations_do_not_depend_on_lanes(lanes):
    problem, agents = evaluation()
    assert (
        evaluate_problem(problem, agents, lanes=lanes).to_csv()
        == evaluate_problem(problem, agents).to_csv()
    )


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Two short runs that this process trains: the folder, and what each gave."""
    pytest.importorskip("stable_baselines3")
    folder = tmp_path_factory.mktemp("here")
    return folder, train_seeds(resolve(COHORT, patients=1), folder, "ppo", [1, 2], steps=5000)


@pytest.mark.slow
@TWO_WORKERS
def test_training_does_not_depend_on_the_executor(executor, trained, tmp_path):
    folder, here = trained
    # What an interrupted run left behind is not gone on with.
    left = tmp_path / "ppo-2"
    left.mkdir(parents=True)
    (left / "config.json").write_bytes((folder / "ppo-2/config.json").read_bytes())
    (left / "progress.csv").write_text("steps\n1\n")
    problem = resolve(COHORT, patients=1)
    there = train_seeds(problem, tmp_path, "ppo", [1, 2], steps=5000, executor=executor)
    for one, other in zip(here, there, strict=True):
        assert (one.seed, one.steps, one.best_return) == (
            other.seed,
            other.steps,
            other.best_return,
        )
        arrays = [np.load(result.policy / "policy.npz") for result in (one, other)]
        assert set(arrays[0].files) == set(arrays[1].files)
        assert all((arrays[0][k] == arrays[1][k]).all() for k in arrays[0].files)


@pytest.mark.slow
def test_finished_runs_are_taken_as_they_are(trained):
    folder, here = trained
    again = train_seeds(resolve(COHORT, patients=1), folder, "ppo", [1, 2], steps=5000)
    assert [result.best_return for result in again] == [result.best_return for result in here]
    assert [result.resumed_from for result in again] == [result.steps for result in here]


# --- lost workers ----------------------------------------------------------------------------


@pytest.mark.slow
@TWO_WORKERS
def test_work_of_a_lost_worker_is_done_again(executor, tmp_path):
    tomb = str(tmp_path / "tomb")
    items = [(k, tomb if k == 5 else "", os.getpid()) for k in range(12)]
    assert list(executor.map(deadly_work.die_once, items)) == [2 * k for k in range(12)]
    assert os.path.exists(tomb)
    assert list(executor.map(deadly_work.die_once, items[:2])) == [0, 2]


@pytest.mark.slow
@TWO_WORKERS
def test_simulations_of_a_lost_worker_count_once(executor, tmp_path):
    register_treatment(mortal_toy.TREATMENT)
    try:
        tomb = tmp_path / "tomb"
        rows = np.array([[0.8], [1.0], [1.2]])
        actions = np.random.default_rng(0).random((40, slot_toy.SLOTS, 1))
        options = {"noise": 1.0, "tomb": str(tomb), "parent": os.getpid()}
        plain = PlanObjective(Problem.of(slot_toy.TREATMENT, {"noise": 1.0}, patients=rows))
        deadly = PlanObjective(Problem.of(mortal_toy.TREATMENT, options, patients=rows))
        scores = deadly.score_actions(actions, executor=executor)
        assert tomb.exists()
        assert scores.tobytes() == plain.score_actions(actions).tobytes()
        assert deadly.evaluations == plain.evaluations == 120
    finally:
        from oncogym.envs import registry

        registry._TREATMENTS.pop("mortal_toy")


@pytest.mark.slow
@TWO_WORKERS
def test_a_study_survives_a_lost_worker(executor, tmp_path):
    register_treatment(mortal_toy.TREATMENT)
    try:
        tomb = tmp_path / "tomb"
        toy = slot_toy.TREATMENT
        cohort = toy.cohort("held_out")
        rows = cohort.patients(70)
        rows[50] = 1.2
        keys = np.arange(70, dtype=np.uint64)
        plain = Problem(toy, toy.variants[0], {"noise": 1.0}, cohort, rows, keys)
        options = {**plain.options, "tomb": str(tomb), "parent": os.getpid()}
        deadly = replace(plain, treatment=mortal_toy.TREATMENT, options=options)
        agents = clinical_agents(plain.treatment, plain.task(1))[0]
        requests = [Request("missed", when=(1, 2)), Request("dose_bias")]
        here = run_robustness(plain, agents, requests, resamples=20)
        there = run_robustness(deadly, agents, requests, resamples=20, executor=executor)
        assert tomb.exists()
        assert here.results.to_csv() == there.results.to_csv()
    finally:
        from oncogym.envs import registry

        registry._TREATMENTS.pop("mortal_toy")


@pytest.mark.slow
@TWO_WORKERS
def test_work_that_kills_every_worker_is_given_up(executor):
    with pytest.raises(ExecutorError, match="died 4 times over the same work"):
        executor.map(deadly_work.die_always, [os.getpid()])
    assert list(executor.map(deadly_work.refuse, [1, 2])) == [1, 2]


# --- the standard interface -----------------------------------------------------------------------


@pytest.mark.slow
@TWO_WORKERS
def test_single_calls_have_futures(executor, tmp_path):
    tomb = str(tmp_path / "tomb")
    items = [(k, tomb if k == 1 else "", os.getpid()) for k in range(4)]
    calls = [executor.submit(deadly_work.die_once, item) for item in items]
    refused = executor.submit(deadly_work.refuse, number=3)
    unsent = executor.submit(deadly_work.refuse, threading.Lock())
    assert [call.result(timeout=60) for call in calls] == [0, 2, 4, 6]
    assert os.path.exists(tomb)
    with pytest.raises(LookupError, match="three is not here"):
        refused.result(timeout=60)
    with pytest.raises(ExecutorError, match="cannot be sent"):
        unsent.result(timeout=60)
    assert executor.submit(deadly_work.refuse, 5).result(timeout=60) == 5


def test_an_executor_is_a_standard_one():
    with LanesExecutor() as executor:
        assert isinstance(executor, futures.Executor)
        assert list(executor.map(pow, (2, 3, 4), (5, 2))) == [32, 9]
        assert executor.submit(pow, 2, exp=3).result() == 8
        with pytest.raises(ValueError, match=r"timeout is 1\.0; allowed: None"):
            executor.map(abs, [1], timeout=1.0)
    with pytest.raises(RuntimeError, match="was shut down"):
        executor.submit(abs, 1)


def test_what_has_not_begun_can_be_cancelled():
    begun, go = threading.Event(), threading.Event()

    def wait():
        begun.set()
        return go.wait(60)

    executor = LanesExecutor()
    first, second = executor.submit(wait), None
    assert begun.wait(60)
    second = executor.submit(abs, 1)
    closing = threading.Thread(target=executor.shutdown, kwargs={"cancel_futures": True})
    closing.start()
    while not second.cancelled():
        assert closing.is_alive()
    go.set()
    closing.join()
    assert first.result() is True


@pytest.mark.parametrize("kind", ["threads", "processes"])
def test_any_standard_executor_does_the_work(kind):
    problem, agents = evaluation()
    agents = {name: agents[name] for name in ("daily", "threshold", "random", "plan")}
    here = evaluate_problem(problem, agents)
    optimizer = find_optimizer("de", {"popsize": 2})
    found = optimizer.optimize(chemo_problem(2), 300, 1)
    with (
        futures.ThreadPoolExecutor(2)
        if kind == "threads"
        else futures.ProcessPoolExecutor(2, multiprocessing.get_context("forkserver"))
    ) as executor:
        assert evaluate_problem(problem, agents, executor).to_csv() == here.to_csv()
        again = optimizer.optimize(chemo_problem(2), 300, 1, executor=executor)
    assert again.plan.tobytes() == found.plan.tobytes()


# --- errors ----------------------------------------------------------------------------------


@pytest.mark.slow
@TWO_WORKERS
def test_errors_of_the_work_keep_their_type(executor):
    with pytest.raises(LookupError, match="three is not here"):
        executor.map(deadly_work.refuse, list(range(10)))
    assert list(executor.map(deadly_work.refuse, [4, 2])) == [4, 2]
    assert list(executor.map(deadly_work.refuse, [])) == []


@TWO_WORKERS
def test_what_cannot_be_sent_is_said(executor):
    with pytest.raises(ExecutorError, match="cannot be sent"):
        executor.map(deadly_work.refuse, [threading.Lock()])
    assert list(LanesExecutor().map(id, [threading.Lock()]))


@TWO_WORKERS
def test_treatments_that_workers_do_not_know(executor):
    rows = np.ones((1, 1))
    actions = np.zeros((2, slot_toy.SLOTS, 1))
    nowhere = replace(slot_toy.TREATMENT, name="nowhere")
    with pytest.raises(ExecutorError, match="does not know the treatment 'nowhere'"):
        PlanObjective(Problem.of(nowhere, {}, patients=rows)).score_actions(
            actions, executor=executor
        )
    other = replace(slot_toy.TREATMENT, task=mortal_toy.MortalTask)
    assert PlanObjective(Problem.of(other, {}, patients=rows)).score_actions(actions).size == 2
    # Workers find the name with another class: its scores would not be those of this treatment.
    PlanObjective(Problem.of(slot_toy.TREATMENT, {}, patients=rows)).score_actions(
        actions, executor=executor
    )
    with pytest.raises(ExecutorError, match=r"has the task slot_toy\.SlotToyTask, not mortal_toy"):
        PlanObjective(Problem.of(other, {}, patients=rows)).score_actions(
            actions, executor=executor
        )


@pytest.mark.slow
def test_treatment_of_another_package_in_workers(tmp_path):
    about = tmp_path / "slot_toy-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: slot-toy\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[oncogym.treatments]\ntoy = slot_toy:TREATMENT\n")
    folders = (str(tmp_path), os.path.dirname(slot_toy.__file__))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(folders)}
    command = [sys.executable, "-m", "oncogym.cli.main", "evaluate", "toy/Slots-v0",
               "--cohort", "held_out", "--patients", "40", "--json"]  # fmt: skip
    printed = []
    for more in ([], ["--workers", "2"]):
        done = subprocess.run([*command, *more], capture_output=True, text=True, env=environment)
        assert done.returncode == 0, done.stderr
        printed.append(done.stdout)
    assert printed[0] == printed[1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("joblib", 0), "workers is 0; allowed: an integer from 1"),
        (("joblib", 1.5), "workers is 1.5"),
        (("ray", -1), "workers is -1"),
        (("lanes", 2), "workers is 2, which has no meaning for the executor lanes"),
        (("joblib", 2, "10.0.0.1:6379"), "address has no meaning for the executor joblib"),
        (("dask",), "executor is 'dask'; allowed: lanes, joblib, ray"),
    ],
)
def test_bad_executors(arguments, message):
    with pytest.raises(ValueError, match=message):
        open_executor(*arguments)


def test_defaults():
    assert EXECUTORS == ("lanes", "joblib", "ray")
    assert isinstance(open_executor(), LanesExecutor)
    assert isinstance(open_executor(workers=3), JoblibExecutor)
    assert JoblibExecutor().workers >= 1


class _Cluster:
    """What a Ray executor asks Ray when the work needs GPUs."""

    exceptions = None

    def __init__(self, gpus):
        self._gpus = gpus

    def cluster_resources(self):
        return {"CPU": 8.0, "GPU": float(self._gpus)}


class _Call:
    def options(self, num_gpus):
        assert num_gpus == 1
        return self


def test_work_for_a_gpu_says_so_and_is_cut_for_the_gpus_there_are():
    plain = Problem.of(get_treatment("chemo_dosing"))
    auto, cuda = (plain.with_options({"device": device}) for device in ("auto", "cuda"))
    assert (plain.gpus, auto.gpus, cuda.gpus) == (0, 0, 1)
    batch = LaneBatch(cuda, np.zeros((0, 1)), np.zeros(0, np.intp), 0)
    assert batch.gpus == Shard(cuda, None).gpus == 1
    assert [LanesExecutor().pieces_of(gpus) for gpus in (0, 1)] == [1, 1]
    assert [JoblibExecutor(1).pieces_of(gpus) for gpus in (0, 1)] == [64, 1]
    ray = object.__new__(RayExecutor)
    ray._call = _Call()
    ray._ray = _Cluster(4)
    assert [ray.pieces_of(gpus) for gpus in (0, 1)] == [64, 4]
    ray._ray = _Cluster(0)
    assert ray.pieces_of(1) == 1
    with pytest.raises(ExecutorError, match="asks for a GPU, and Ray finds none"):
        ray.map(lane_returns, [batch])


def test_ray_is_an_extra(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ExecutorError, match=r'pip install "oncogym\[ray\]"'):
        open_executor("ray")
    assert main(["evaluate", COHORT, "--executor", "ray"]) == 2
    assert 'pip install "oncogym[ray]"' in capsys.readouterr().err


@pytest.mark.parametrize("address", ["127.0.0.1:9", "ray://127.0.0.1:9", "nonsense"])
def test_no_cluster_there(address, monkeypatch):
    ray = pytest.importorskip("ray")
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    with pytest.raises(ExecutorError, match=f"no Ray cluster at {address}"):
        RayExecutor(1, address)


@pytest.mark.slow
def test_other_versions_in_the_cluster(monkeypatch):
    pytest.importorskip("ray")
    from oncogym.parallel import ray_cluster

    own = ray_cluster.versions
    monkeypatch.setattr(RayExecutor, "_apply", lambda *_: [{**own(("numpy",)), "numpy": "1.0"}])
    monkeypatch.setattr(ray_cluster, "SAME_VERSIONS", ("numpy",))
    with pytest.raises(ExecutorError, match=r"other versions: numpy 1\.0, here [^1]"):
        RayExecutor(1)


# --- command line ----------------------------------------------------------------------------


@pytest.mark.slow
def test_commands_print_the_same_with_workers(capsys, tmp_path):
    for arguments in (
        ["evaluate", COHORT, "weekly", "random", "--baseline", "weekly", "--patients", "40"],
        ["optimize", "ChemoDosingPublished-v0", "--budget", "400"],
        ["robustness", COHORT, "weekly", "random", "--patients", "40", "--perturb", "missed@1,2"],
    ):
        documents = []
        one = ["--executor", "joblib", "--workers", "1"]
        for more in ([], ["--workers", "2"], *([one] if arguments[0] == "evaluate" else [])):
            assert main([*arguments, *more, "--json"]) == 0
            document = json.loads(capsys.readouterr().out)
            for other in ("seconds", "manifest"):
                document.pop(other, None)
            documents.append(document)
        assert all(document == documents[0] for document in documents[1:])


def test_bad_executor_leaves_everything_as_it_is(capsys, tmp_path):
    folder = tmp_path / "benchmark"
    folder.mkdir()
    (folder / "settings.json").write_text("{}")
    search = tmp_path / "search"
    for arguments in (
        ["benchmark", "--fresh", "--out", str(folder)],
        ["optimize", "ChemoDosingPublished-v0", "--out", str(search)],
    ):
        assert main([*arguments, "--executor", "lanes", "--workers", "2"]) == 2
        assert "no meaning for the executor lanes" in capsys.readouterr().err
    assert (folder / "settings.json").exists()
    assert not search.exists()
    for wrong in (["--workers", "0"], ["--executor", "dask"]):
        with pytest.raises(SystemExit) as stop:
            main(["evaluate", COHORT, *wrong])
        assert stop.value.code == 2


def test_workers_with_progress_bars_leave_nothing_behind():
    code = (
        "import deadly_work\nfrom oncogym.parallel import open_executor\n"
        "with open_executor('joblib', 1) as executor:\n"
        "    print(list(executor.map(deadly_work.show_progress, [3, 4])))\n"
    )
    paths = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True, text=True, check=True, env={**os.environ, "PYTHONPATH": paths},
    )  # fmt: skip
    assert done.stdout == "[3, 4]\n"
    assert "leaked" not in done.stderr
