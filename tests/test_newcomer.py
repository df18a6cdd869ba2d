"""What a newcomer edits to add a reward term and an observed number to a model: two files.

In a copy of the package: the record names them, and the kernel writes them. Names, spaces, weights,
``info`` and tables follow; one that is named and not written is an error that names it.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import oncogym.envs

FOLDER = "envs/chemo_dosing"
#: File, text that is there, and what is put before it.
IN_RECORD = ("records.py", '    "violation",\n)', '    "spared",\n')
IN_KERNEL = (
    "step_kernels.py",
    "    terms.exposure = (state.auc",
    "    terms.spared = -dose * dose\n",
)
NUMBER_IN_RECORD = ("records.py", "}\nOBSERVATION = make_record(", '    "doses": (0.0, 1000.0),\n')
NUMBER_IN_KERNEL = ("step_kernels.py", "    seen.time = ", "    seen.doses = state.doses\n")

PROGRAM = """
import json, numpy as np, gymnasium as gym, oncogym
terms = gym.make("oncogym/ChemoDosing-v0").unwrapped.task.reward_terms
found = []
for weight in (3.0, 0.0):
    weights = {"spared": weight} if "spared" in terms else {}
    one = gym.make("oncogym/ChemoDosing-v0", reward_weights=weights)
    one.reset(seed=1)
    seen, reward, _, _, info = one.step(np.array([0.5], np.float32))
    shown = dict(zip(one.unwrapped.task.observed, seen.tolist(), strict=True))
    found.append({"shown": shown, "reward": reward, "terms": info["reward_terms"]})
print(json.dumps(found, default=float))
"""


@pytest.fixture(scope="module")
def copied(tmp_path_factory):
    """The package in a folder of its own, with the compiled code of what is not edited."""
    root = Path(oncogym.envs.__file__).parents[1]
    folder = tmp_path_factory.mktemp("newcomer") / "oncogym"
    shutil.copytree(root / "src" / "oncogym", folder)
    for part in ("envs", "agents", "wrappers", "training", "evaluation"):
        shutil.copytree(root / part, folder / part, ignore=shutil.ignore_patterns("results"))
    return folder


def edited(copied: Path, *edits: tuple[str, str, str]) -> subprocess.CompletedProcess[str]:
    """The program in the copy, with texts inserted before others, which are undone after it."""
    before = {}
    for name, old, new in edits:
        path = copied / FOLDER / name
        text = path.read_text(encoding="utf-8")
        before.setdefault(path, text)
        assert text.count(old) == 1, (name, old)
        path.write_text(text.replace(old, new + old), encoding="utf-8")
    environment = os.environ | {"PYTHONPATH": str(copied.parent), "ONCOGYM_CHECK_RESULTS": "1"}
    try:
        return subprocess.run(
            [sys.executable, "-c", PROGRAM],
            cwd=copied.parent, env=environment, capture_output=True, text=True, timeout=600,
        )  # fmt: skip
    finally:
        for path, text in before.items():
            path.write_text(text, encoding="utf-8")


@pytest.mark.slow
def test_two_files_make_a_reward_term_and_an_observed_number(copied):
    done = edited(copied, IN_RECORD, IN_KERNEL, NUMBER_IN_RECORD, NUMBER_IN_KERNEL)
    assert done.returncode == 0, done.stderr
    weighted, plain = json.loads(done.stdout)
    # Half of the largest dose, 5 mg/L, was given once.
    assert weighted["shown"]["doses"] == 1.0
    assert weighted["terms"]["spared"] == pytest.approx(-25.0)
    assert weighted["reward"] - plain["reward"] == pytest.approx(-75.0)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kept", "message"),
    [
        (IN_RECORD, "ChemoTask left reward term 'spared'"),
        (NUMBER_IN_RECORD, "ChemoTask left observed number 'doses'"),
    ],
    ids=["term", "number"],
)
def test_a_number_that_is_named_and_not_written_is_named(copied, kept, message):
    done = edited(copied, kept)
    assert done.returncode != 0
    assert message in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kept", "message"),
    [(IN_KERNEL, "spared"), (NUMBER_IN_KERNEL, "doses")],
    ids=["term", "number"],
)
def test_a_number_that_is_written_and_not_named_is_named(copied, kept, message):
    done = edited(copied, kept)
    assert done.returncode != 0
    assert f"'{message}'" in done.stderr
