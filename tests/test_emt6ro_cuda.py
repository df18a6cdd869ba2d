"""The GPU's kernels: in numba's CUDA simulator everywhere, and on a GPU where there is one."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from emt6ro_cuda_cases import (
    LAWS,
    TREATMENTS,
    busy_arguments,
    busy_counters,
    busy_state,
    treatment,
    young,
)
from emt6ro_cuda_cases import courses as small_courses
from once import made_once
from scipy import stats

from oncogym.envs import device as devices
from oncogym.envs.device import DeviceError, choose_device
from oncogym.envs.emt6ro_fractionation import Protocol, kernels, read_protocols, simulate
from oncogym.envs.emt6ro_fractionation.records import COUNTERS
from oncogym.envs.emt6ro_fractionation.task import EMT6RoTask
from oncogym.envs.emt6ro_fractionation.tumour import State
from oncogym.envs.records import records_of

CASES = Path(__file__).parent / "emt6ro_cuda_cases.py"
PROTOCOLS = Path(__file__).parent / "data" / "emt6ro_random_protocols.txt"
needs_package = pytest.mark.skipif(find_spec("numba_cuda") is None, reason="no numba-cuda here")
needs_gpu = pytest.mark.skipif(choose_device("auto") != "cuda", reason="no GPU here")

Found = dict[str, np.ndarray]


def run_cases(folder: Path, **variables: str) -> Found:
    """What the cases give on the device ``cuda`` in a process of its own."""
    tumours, file = folder / "young.npz", folder / "cuda.npz"
    np.savez(tumours, **young())
    done = subprocess.run(
        [sys.executable, str(CASES), str(tumours), str(file)], env={**os.environ, **variables},
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-4000:]
    with np.load(file) as table:
        return dict(table)


@pytest.fixture(scope="module")
def simulated(tmp_path_factory) -> Found:
    """The simulator runs what the CPU compiles as plain Python, too; for a minute, so but once."""

    def make(folder: Path) -> Found:
        return run_cases(folder, NUMBA_ENABLE_CUDASIM="1", NUMBA_DISABLE_JIT="1")

    return made_once(tmp_path_factory, "simulated_cuda", make)[1]


@pytest.fixture(scope="module")
def measured(tmp_path_factory) -> Found:
    return run_cases(tmp_path_factory.mktemp("measured"))


def busy_on_cpu(law: str) -> tuple[State, np.ndarray]:
    given = busy_arguments(law)
    state, counters = busy_state(), busy_counters()
    kernels.advance_lanes(
        np.arange(4), state.rows, counters, given["biology"], given["settings"], given["doses"],
        given["until"], np.zeros((4, 1)), given["seeds"], given["episodes"],
    )  # fmt: skip
    return state, counters


def check_busy(found: Found, law: str) -> None:
    """Choices are the same, amounts and clocks too but for rounding."""
    state, counters = busy_on_cpu(law)
    counted = records_of(counters, COUNTERS)
    deaths = [counted[kind].sum() for kind in ("repair_deaths", "age_deaths")]
    assert min(deaths) > 0
    assert counted["births"].sum() > 0
    if law == "exact":  # some starve
        assert counted["deaths"].sum() > sum(deaths)
    assert np.array_equal(found[f"{law} counters"], counters)
    assert np.array_equal(found[f"{law} phase"], state.phase)
    assert np.array_equal(found[f"{law} mode"], state.mode)
    np.testing.assert_allclose(found[f"{law} clocks"], state.clocks, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(found[f"{law} fields"], state.fields, rtol=1e-4, atol=1e-4)


def check_courses(found: Found) -> None:
    for name, value in small_courses("cpu").items():
        np.testing.assert_allclose(found[f"courses {name}"], value, rtol=1e-4, err_msg=name)


def check_treatment(found: Found, name: str) -> None:
    for part, value in treatment("cpu", *TREATMENTS[name]).items():
        np.testing.assert_allclose(
            found[f"{name} {part}"], value, rtol=1e-4, atol=1e-4, err_msg=part
        )


@pytest.mark.slow
@needs_package
@pytest.mark.parametrize("law", LAWS)
def test_simulated_kernels_do_what_the_cpu_does(simulated, law):
    check_busy(simulated, law)
    # Plain Python rounds after every operation, as the CPU does.
    assert np.array_equal(simulated[f"{law} fields"], busy_on_cpu(law)[0].fields)


@pytest.mark.slow
@needs_package
def test_simulated_courses_are_those_of_the_cpu(simulated):
    check_courses(simulated)


@pytest.mark.slow
@needs_package
@pytest.mark.parametrize("name", TREATMENTS)
def test_simulated_treatments_are_those_of_the_cpu(simulated, name):
    check_treatment(simulated, name)


# Choice of the device


def test_a_device_that_is_not_there_is_refused_by_name(monkeypatch):
    monkeypatch.setattr(devices, "find_spec", lambda name: None)
    assert choose_device("auto") == choose_device("cpu") == "cpu"
    wanted = r"device 'cuda' was asked for, but .*oncogym\[cuda\].*; allowed here: cpu, auto"
    for ask in (
        lambda: choose_device("cuda"),
        lambda: simulate(Protocol.from_times([]), hours=0.5, device="cuda"),
        lambda: EMT6RoTask(1, device="cuda"),
    ):
        with pytest.raises(DeviceError, match=wanted):
            ask()
    with pytest.raises(ValueError, match=r"unknown device 'gpu'"):
        choose_device("gpu")


@needs_package
@pytest.mark.skipif(choose_device("auto") == "cuda", reason="there is a GPU here")
def test_a_machine_without_a_gpu_says_so():
    with pytest.raises(DeviceError, match="no NVIDIA GPU is found"):
        choose_device("cuda")


@pytest.mark.slow
def test_the_cpu_needs_nothing_of_the_gpu():
    code = (
        "import sys; from oncogym.envs.emt6ro_fractionation import simulate, Protocol; "
        "simulate(Protocol.from_times([]), hours=0.5, fidelity='screening'); "
        "print([name for name in sys.modules if name.startswith(('numba_cuda', 'cuda.'))], "
        "'oncogym.envs.gpu' in sys.modules)"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[] False"


# On a GPU


@pytest.mark.cuda
@needs_gpu
@pytest.mark.parametrize("law", LAWS)
def test_gpu_kernels_do_what_the_cpu_does(measured, law):
    check_busy(measured, law)


@pytest.mark.cuda
@needs_gpu
def test_gpu_courses_and_treatments_are_those_of_the_cpu(measured):
    check_courses(measured)
    for name in TREATMENTS:
        check_treatment(measured, name)


@pytest.mark.cuda
@needs_gpu
@pytest.mark.parametrize(("fidelity", "runs"), [("exact", 3), ("accelerated", 20)])
def test_outcomes_on_a_gpu_are_distributed_as_on_the_cpu(fidelity, runs):
    """20 protocols on ten tumours each; other seeds, so that the samples are independent."""
    protocols = read_protocols(PROTOCOLS)
    ours = simulate(protocols, runs=runs, seed=1, fidelity=fidelity, device="cuda").sites
    theirs = simulate(protocols, runs=runs, seed=2, fidelity=fidelity).sites
    pairs = list(zip(ours.reshape(20, -1), theirs.reshape(20, -1), strict=True))
    # Means first: the difference of all runs, each protocol with its own spread.
    error = np.sqrt(sum(a.var(ddof=1) + b.var(ddof=1) for a, b in pairs) / len(pairs[0][0])) / 20
    difference = float(ours.mean() - theirs.mean())
    print(f"{fidelity}: {difference:+.2f} +- {error:.2f} sites")
    assert abs(difference) < 4.0 * error
    p = [stats.ks_2samp(a, b).pvalue for a, b in pairs]
    print(f"{fidelity}: p-values {np.round(np.sort(p), 3)}")
    assert min(p) > 1e-4
    assert stats.kstest(p, "uniform").pvalue > 1e-3


@pytest.mark.cuda
@needs_gpu
def test_a_gpu_gives_the_same_again_and_in_any_batch():
    both = [Protocol.parse("2@0;2@24"), Protocol.from_times([])]
    given = {"runs": 3, "seed": 4, "hours": 60.0, "fidelity": "accelerated", "device": "cuda"}
    one, again = simulate(both, **given), simulate(both, **given)
    assert np.array_equal(one.sites, again.sites)
    alone = simulate(both[1], **{**given, "runs": 1})
    assert np.array_equal(one.sites[1, :, 0], alone.sites[0, :, 0])
