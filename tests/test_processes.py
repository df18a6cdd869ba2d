"""Environments in other people's programs: forked, spawned, and in several threads."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

from oncogym.envs import threads, treatments

HERE = Path(__file__).resolve().parent
IDS = [variant.id for one in treatments().values() for variant in one.variants]


def run(*command, **environment):
    # A worker that hangs is a failure, not a test run that never ends.
    return subprocess.run(
        [sys.executable, *map(str, command)], capture_output=True, text=True, timeout=400,
        env={**os.environ, "PYTHONPATH": str(HERE), "OMP_WAIT_POLICY": "PASSIVE", **environment},
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("method", ["fork", "forkserver", "spawn"])
def test_every_id_works_in_other_processes(method):
    """Pools, Gymnasium's and SB3's workers, before and after the parent has used threads."""
    out = run(HERE / "process_cases.py", method)
    assert out.returncode == 0, out.stderr
    assert f"{method} after threads" in out.stdout


NO_THREADS = """
    import os, sys
    import gymnasium as gym, matplotlib.figure, numpy as np, oncogym
    from numba.np.ufunc import parallel
    from oncogym.envs import find_variant
    import scipy.linalg  # numba loads it for its kernels, and its BLAS has threads from then on

    def threads():
        return len(os.listdir("/proc/self/task"))

    before = threads()
    for env_id in sys.argv[1:]:
        options = {"fidelity": "screening"} if "EMT6Ro" in env_id else {}
        env = gym.make(env_id, render_mode="rgb_array", **options)
        env.reset(seed=0)
        env.step(np.full(env.action_space.shape, 0.1, np.float32))
        env.render()
        lanes = find_variant(env_id)[0].task.parallel_lanes - 1
        batch = gym.make_vec(env_id, num_envs=lanes, cohort="nominal", **options)
        batch.reset(seed=0)
        batch.step(np.full(batch.action_space.shape, 0.1, np.float32))
        assert not parallel._is_initialized, f"{env_id} started numba's threads"
        assert threads() == before, f"{env_id}: {before} threads, now {threads()}"
    # The other way round: the check sees threads where there are some.
    large = gym.make_vec("oncogym/ChemoDosing-v0", num_envs=256)
    large.reset(seed=0)
    assert parallel._is_initialized and threads() > before
"""


@pytest.mark.slow
@pytest.mark.skipif(not os.path.isdir("/proc/self/task"), reason="counts threads in /proc")
def test_scalar_environments_and_small_batches_start_no_threads():
    out = run("-c", textwrap.dedent(NO_THREADS), *IDS, NUMBA_NUM_THREADS="2")
    assert out.returncode == 0, out.stderr


TWO_THREADS = """
    import threading
    import gymnasium as gym, numba, numpy as np, oncogym

    def course(seed, out):
        lanes = gym.make_vec("oncogym/ChemoDosing-v0", num_envs=512)
        lanes.reset(seed=seed)
        actions = np.full((512, 1), 0.05, np.float32)
        out[seed] = b"".join(lanes.step(actions)[0].tobytes() for _ in range(150))

    alone, together = {}, {}
    for seed in range(2):
        course(seed, alone)
    workers = [threading.Thread(target=course, args=(seed, together)) for seed in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert together == alone
    print(numba.threading_layer())
"""


@pytest.mark.slow
@pytest.mark.parametrize("layer", ["workqueue", "omp"])
def test_two_threads_may_step_two_batches(layer):
    out = run(
        "-c", textwrap.dedent(TWO_THREADS), NUMBA_THREADING_LAYER=layer, NUMBA_NUM_THREADS="2"
    )
    if layer == "omp" and "No threading layer could be loaded" in out.stderr:
        pytest.skip("no OpenMP here")
    assert out.returncode == 0, out.stderr
    assert out.stdout.strip() == layer


AFTER_TORCH = """
    import multiprocessing, sys
    import torch
    import gymnasium as gym, numpy as np, oncogym
    from process_cases import batch

    torch.set_num_threads(2)
    big = torch.ones(600, 600)
    for _ in range(3):
        big = torch.sin(big @ big / 600.0)
    with multiprocessing.get_context("fork").Pool(1) as pool:
        found = pool.apply_async(batch, ("oncogym/ChemoDosing-v0",)).get(60)
    assert found == batch("oncogym/ChemoDosing-v0")
"""


@pytest.mark.slow
def test_a_child_of_a_process_with_torch_computes():
    """PyTorch and numba share one pool of OpenMP threads, which a forked child lacks."""
    pytest.importorskip("torch")
    out = run("-c", textwrap.dedent(AFTER_TORCH), NUMBA_NUM_THREADS="2")
    assert out.returncode == 0, out.stderr


def test_the_twin_is_chosen_by_size_limit_and_origin(monkeypatch):
    def serial():
        return "serial"

    def parallel():
        return "parallel"

    assert threads.choose(serial, parallel)() == "parallel"
    assert threads.choose(serial, parallel, False)() == "serial"
    with threads.limit(True):
        assert threads.choose(serial, parallel)() == "serial"
        with threads.limit(False):
            assert threads.choose(serial, parallel)() == "serial"
        assert threads.choose(serial, parallel)() == "serial"
    assert threads.choose(serial, parallel)() == "parallel"
    monkeypatch.setattr(threads, "_inherited", True)
    assert threads.choose(serial, parallel)() == "serial"
    assert threads.serial_only()


def test_planning_is_the_same_serially_and_in_parallel(monkeypatch):
    from oncogym.envs.impt_beam_weighting import plan_library as library
    from oncogym.envs.impt_beam_weighting.anatomies import anatomy
    from oncogym.envs.impt_beam_weighting.planning import objective
    from oncogym.envs.impt_beam_weighting.planning.beams import BeamSet
    from oncogym.envs.impt_beam_weighting.planning.influence import pencil_beams
    from oncogym.envs.impt_beam_weighting.planning.objective import Objective, Problem
    from oncogym.envs.impt_beam_weighting.planning.planner import accelerate

    # A few iterations on coarse lattices take every kernel that a whole library takes.
    monkeypatch.setattr(library, "_ROBUST_ITERATIONS", 5)
    monkeypatch.setattr(library, "_FINE", (0.625, 0.05))
    monkeypatch.setattr(objective, "_PARALLEL", 10_000)
    monkeypatch.setattr(objective, "_CHUNK", 5_000)
    phantom = anatomy("abutting", 0)

    def results():
        own = library.library_of_phantom(phantom)
        influence = pencil_beams(phantom, BeamSet.for_target(phantom))
        goal = Objective.standard(influence.structures, influence.prescription)
        problem = Problem(influence, goal)
        assert len(problem._chunks) > 3
        weights = np.random.default_rng(0).random((3, influence.num_spots))
        value, gradient = problem(weights[0])
        found = [own.weights, own.doses, own.normal, influence.data, influence.indices,
                 influence.dose(weights), np.array(value), gradient,
                 *accelerate(problem, weights, 10)]  # fmt: skip
        return [array.tobytes() for array in found]

    with threads.limit(True):
        serial = results()
    assert serial == results()
