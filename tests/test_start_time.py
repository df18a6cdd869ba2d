"""What a start loads: models and compiler, but nothing that draws, tabulates, plans or learns."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest

from oncogym.cli.commands import COMMANDS
from oncogym.cli.main import build_parser

HEAVY = ("matplotlib", "pandas", "scipy.linalg", "scipy.optimize", "scipy.sparse", "torch")
COUNT = f"""
import json, sys
print(json.dumps([name for name in {HEAVY!r} if name in sys.modules]), file=sys.stderr)
"""
START = {
    "import": "import oncogym",
    "envs": "from oncogym.cli.main import main; assert main(['envs']) == 0",
    "help": "import contextlib; from oncogym.cli.main import main\n"
    "with contextlib.suppress(SystemExit): main(['--help'])",
}


@pytest.mark.parametrize("name", START)
def test_a_start_loads_nothing_heavy(name):
    done = subprocess.run(
        [sys.executable, "-c", START[name] + COUNT], capture_output=True, text=True, check=True
    )
    assert json.loads(done.stderr.splitlines()[-1]) == []
    if name == "envs":
        assert "oncogym/ChemoDosing-v0" in done.stdout
    if name == "help":
        assert re.findall(r"^    (\w+)", done.stdout, re.M) == list(COMMANDS)


def test_a_planner_finds_the_blas_of_scipy_in_a_fresh_process():
    """It is loaded on demand now, and has to be there when threads are limited."""
    code = (
        "import oncogym\n"
        "from oncogym.envs.impt_beam_weighting.planning.planner import _blas\n"
        "early = sorted(one['filepath'] for one in _blas().info())\n"
        "import scipy.linalg, scipy.optimize\n"
        "from threadpoolctl import ThreadpoolController\n"
        "blas = ThreadpoolController().select(user_api='blas').info()\n"
        "late = sorted(one['filepath'] for one in blas)\n"
        "assert late and set(late) <= set(early), (early, late)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def commands_of(parser):
    (action,) = [a for a in parser._actions if a.dest == "command"]
    return action


@pytest.mark.parametrize("only", ["cite", "--help"])
def test_parsers_without_arguments_stand_for_the_whole_ones(only):
    """The same commands with the same lines; the named one takes what it takes."""
    whole, part = commands_of(build_parser()), commands_of(build_parser(only))
    assert list(part.choices) == list(whole.choices) == list(COMMANDS)
    lines = [[(one.dest, one.help) for one in each._choices_actions] for each in (whole, part)]
    assert lines[0] == lines[1] == list(COMMANDS.items())
    if only in COMMANDS:
        texts = [each.choices[only].format_help() for each in (whole, part)]
        assert texts[0] == texts[1]


def test_what_is_no_command_is_refused_with_all_of_them(capsys):
    from oncogym.cli.main import main

    with pytest.raises(SystemExit) as left:
        main(["evaluat"])
    assert left.value.code == 2
    assert "sensitivity" in capsys.readouterr().err
