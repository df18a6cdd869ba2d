"""Numba's file cache: whatever is kept there is found again by all sources that it was made of."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
from numba.core.caching import NullCache
from numba.core.dispatcher import Dispatcher
from numba.core.registry import cpu_target

from oncogym.envs.compiled import SourceCache
from oncogym.envs.source_digest import digest_of

ROOT = Path(__file__).resolve().parents[1]
MAKERS = re.compile(r"^from oncogym\.envs\.(compiled|lane_kernels|twins) import", re.MULTILINE)
KERNELS = [
    path
    for path in sorted([*ROOT.glob("envs/**/*.py"), *ROOT.glob("agents/**/*.py")])
    if MAKERS.search(path.read_text(encoding="utf-8"))
]


def cached_functions(module: str) -> list[Dispatcher]:
    """Compiled functions of a module that numba keeps in files."""
    found = [one for one in vars(import_module(module)).values() if isinstance(one, Dispatcher)]
    return [one for one in found if not isinstance(one._cache, NullCache)]


@pytest.mark.parametrize("path", KERNELS, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_cache_of_every_kernel_goes_by_all_its_sources(path):
    module = ".".join(("oncogym", *path.relative_to(ROOT).with_suffix("").parts))
    codegen = cpu_target.target_context.codegen()
    for function in cached_functions(module):
        assert isinstance(function._cache, SourceCache), function
        key = function._cache._index_key(None, codegen)
        assert key[-1] == digest_of(function.py_func.__module__)


def test_there_are_kernels_of_all_models():
    found = {path.parent.name for path in KERNELS}
    assert {"emt6ro_fractionation", "impt_beam_weighting", "chemo_dosing", "agents"} <= found
    assert cached_functions("oncogym.envs.impt_beam_weighting.planning.objective_kernels")
    assert cached_functions("oncogym.envs.emt6ro_fractionation.diffusion_kernels")


#: What a kernel gives, and a change of another file that is compiled into it: of random draws, of a
#: function that is inlined into the automaton's diffusion, of a number of the tiles of influence.
PLANTED = {
    "patients": (
        "from oncogym.envs.emt6ro_fractionation.step_kernels import patient_draws\n"
        "one = np.ones(1, np.uint64)\n"
        "four = np.ones(4)\n"
        "print(patient_draws(one, one, 1, four, four, np.ones(1), 1e6)[0, 4])\n",
        "streams.py",
        ("_INV52 = 1.0 /", "_INV52 = 0.5 /"),
    ),
    "diffusion": (
        "from oncogym.envs.emt6ro_fractionation.kernels import diffuse_tumour\n"
        "from oncogym.envs.emt6ro_fractionation.records import SETTINGS, TUMOUR\n"
        "tumours, settings = np.zeros(1, TUMOUR), np.zeros(1, SETTINGS)\n"
        "tumours['phase'][0, [1198, 1300, 1402]] = 1\n"
        "tumours['fields'][0, 0, 1300] = 1.0\n"
        "settings['kappa'], settings['substeps'] = 0.1, 2\n"
        "diffuse_tumour(tumours, settings.view(np.float64))\n"
        "print(tumours['fields'][0, 0, 1300])\n",
        "emt6ro_fractionation/diffusion_kernels.py",
        ("_SIDE = np.float32(1.0 / ROOT)", "_SIDE = np.float32(0.5 / ROOT)"),
    ),
    "objective": (
        "from oncogym.envs.impt_beam_weighting.planning.objective_kernels import diagonal\n"
        "out, terms = np.zeros(2), np.array([[0.0, 1.0, 0.0, 1.0, 0.0]])\n"
        "tiles = np.array([[1, 0, 1], [1, 0, 1]])\n"
        "diagonal(np.arange(16.0), np.arange(2), np.arange(3), tiles, terms, 0.0, out)\n"
        "print(out[1])\n",
        "impt_beam_weighting/planning/tile_kernels.py",
        ("ROWS = 8", "ROWS = 4"),
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("case", PLANTED)
def test_a_kernel_notices_a_change_in_another_file(case, tmp_path):
    """The kernels of a copy of the package, of which one file is changed and changed back."""
    program, changed, (old, new) = PLANTED[case]
    envs = tmp_path / "oncogym" / "envs"
    shutil.copytree(ROOT / "envs", envs, ignore=shutil.ignore_patterns("__pycache__", "*.npz"))
    (tmp_path / "oncogym" / "__init__.py").touch()
    rooms = ("emt6ro_fractionation", "impt_beam_weighting", "impt_beam_weighting/planning")
    for folder in (envs, *(envs / room for room in rooms)):
        (folder / "__init__.py").write_text("", encoding="utf-8")

    def found() -> str:
        done = subprocess.run(
            [sys.executable, "-c", f"import numpy as np\n{program}"], cwd=tmp_path,
            capture_output=True, text=True, timeout=300,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-2000:]
        return done.stdout.strip()

    def plant(text: str) -> None:
        (envs / changed).write_text(text, encoding="utf-8")

    text = (envs / changed).read_text(encoding="utf-8")
    assert text.count(old) == 1
    first = found()
    plant(text.replace(old, new))
    second = found()
    assert second != first
    plant(text)
    assert found() == first
