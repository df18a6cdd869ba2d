"""Commands and Python of the README and the guides: they parse, and they do what they say.

Every command is checked against the parser. With ``--snippets`` (``make snippets``) the commands
are run as well, one after the other in one folder, shortened by :data:`SHORTER`; what needs a GPU,
a cluster or hours is in :data:`LEFT_OUT` with its reason.
"""

from __future__ import annotations

import itertools
import json
import re
import shlex
import time
from pathlib import Path

import pytest

from oncogym.cli.main import build_parser, main
from oncogym.envs import find_variant

ROOT = Path(__file__).resolve().parents[1]
# The page that makes the run folders comes first: commands of other pages use them.
PAGES = sorted(
    [ROOT / "README.md", *(ROOT / "docs").glob("*.md")],
    key=lambda page: (page.name not in ("README.md", "running.md"), page.name),
)

#: What is put in place of the printed values, by command; added where nothing is printed.
SHORTER = {
    "train": {"--steps": "3000", "--set": "evaluations=2"},
    "search": {"--trials": "2", "--steps": "3000"},
    "optimize": {"--budget": "1500"},
    "evaluate": {"--patients": "12"},
    "robustness": {"--patients": "4"},
    "tune": {"--patients": "8"},
    "speed": {"--seconds": "0.05"},
    "reproduce": {},
    "benchmark": {},
    "render": {},
    "envs": {},
    "doctor": {},
    "cite": {},
}
#: Parts of commands that are not run, and why.
LEFT_OUT = {
    "benchmark": "make benchmark is a test of its own (tests/test_benchmark.py runs a small one)",
    "device=cuda": "needs a GPU",
    "--device cuda": "needs a GPU",
    "--address": "needs a cluster",
    "PPO": "stands for a policy of the reader's",
    "toy/": "needs the package of the guide; tests/test_registry.py installs it and does this",
    "td3": "needs the package of the guide; tests/test_plugins.py installs it and does this",
    "random": "needs the package of the guide; tests/test_plugins.py installs it and does this",
    "oncogym speed": "minutes; tests/test_speed.py times every model",
    "reproduce": "minutes each; tests/test_reproduce_*.py hold the checks",
    "--method ga": "minutes; tests/test_genetic.py runs it",
    "--workers": "tests/test_executors.py and tests/test_cli.py do this",
}


def commands(page: Path) -> list[str]:
    """Lines of a page that begin with ``oncogym``, continued ones joined, remarks taken off."""
    found = []
    for text in re.findall(r"^```bash\n(.*?)^```$", page.read_text("utf-8"), re.DOTALL | re.M):
        for line in re.sub(r"\\\n\s*", " ", text).splitlines():
            plain = re.sub(r"\s+# .*", "", line)
            if re.match(r"(\w+=\S+ )*oncogym ", plain):
                found.append(re.sub(r"^(\w+=\S+ )*", "", plain))
    return found


ALL = [(page.name, command) for page in PAGES for command in commands(page)]


def test_there_are_commands():
    assert len(ALL) > 40
    assert len({name for name, _ in ALL}) >= 6


@pytest.mark.parametrize(("page", "command"), ALL)
def test_a_printed_command_is_one(page, command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    cohort = {"name": "clinic", "parameters": {"emax": 0.9}}
    Path("clinic.json").write_text(json.dumps(cohort))
    _, *arguments = shlex.split(command)
    found = build_parser().parse_args(arguments)
    for env_id in [getattr(found, "env", None), *(getattr(found, "envs", None) or [])]:
        if env_id is not None and not env_id.startswith("toy/"):
            find_variant(env_id)


def shortened(command: str) -> list[str]:
    """Arguments of a command that takes seconds."""
    _, name, *rest = shlex.split(command)
    slow = "EMT6Ro" in command  # a decision of a spheroid takes milliseconds
    for option, value in SHORTER[name].items():
        if option == "--steps" and slow:
            value = "256"
        if option == "--patients" and "mpc_" in command:  # seconds of thought a patient
            value = "2"
        if option in rest and option != "--set":
            rest[rest.index(option) + 1] = value
        elif "--resume" not in rest:
            rest += [option, value]
    return [name, *rest]


def value(arguments: list[str], option: str) -> str | None:
    return arguments[arguments.index(option) + 1] if option in arguments else None


def rows_of_first_table(out: str) -> list[str]:
    """Labels in the first table whose head begins with ``agent``."""
    lines = out.splitlines()
    first = next(number for number, line in enumerate(lines) if line.startswith("agent "))
    rows = itertools.takewhile(str.strip, lines[first + 1 :])
    return [re.split(r"\s{2,}", row)[0] for row in rows]


def kept_promise(arguments: list[str], out: str) -> bool:
    """Whether what came out is what the pages say that the command does."""
    name = arguments[0]
    if name == "train" and "--settings" in arguments:
        return "learning_rate:" in out
    if name == "train":
        place = value(arguments, "--resume") or value(arguments, "--out")
        said = re.search(r"^policy: (\S+)$", out, re.M)
        if said is None or not any(Path(said[1]).glob("policy.*")):
            return False
        return place is None or said[1] == f"{place}/policy"
    if name == "search":
        head, *rows = out.strip().splitlines()
        tried = [part.partition("=")[0] for part in arguments if "=" in part]
        return len(rows) == int(value(arguments, "--trials") or 0) and all(t in head for t in tried)
    if name == "optimize":
        found = re.search(r"over (\d+) patient", out), re.search(r"(\d+) simulated", out)
        if None in found:
            return False
        patients, courses = (int(one[1]) for one in found)
        rows = rows_of_first_table(out)
        within = courses <= int(value(arguments, "--budget") or 0) * patients
        return within and rows[0] == "the plan" and "No treatment" in rows
    if name == "evaluate":
        stop = next(k for k, part in enumerate(arguments[2:], 2) if part.startswith("--"))
        agents = len(arguments[2:stop])
        return len(rows_of_first_table(out)) in (agents, agents + 1)  # the clinic joins them
    if name == "robustness" and "--perturb" in arguments:
        asked = " ".join(part for part in arguments if part.startswith("missed@"))
        rows = [line.split() for line in out.splitlines() if " missed " in line]
        visits = {row[3] for row in rows}
        return visits == set(asked.removeprefix("missed@").split(",")) and len(rows) % 2 == 0
    if name == "tune":
        return sum(line.endswith("True") for line in out.splitlines()) == 1
    if name == "render":
        return Path(value(arguments, "--out") or "").read_bytes().startswith(b"GIF8")
    return name != "doctor" or out.rstrip().endswith("all well")


def test_a_broken_promise_is_seen():
    assert not kept_promise(["train", "id", "--out", "runs/a"], "policy: runs/b/policy\n")
    assert not kept_promise(["search", "--try", "a=1..2", "--trials", "2"], "a trial\n1 0\n")
    table = (
        "over 2 patients\n{} simulated treatments\nagent  Return\nthe plan  1\nNo treatment  0\n"
    )
    for courses, kept in ((20, True), (21, False)):
        arguments = ["optimize", "id", "--budget", "10"]
        assert kept_promise(arguments, table.format(courses)) is kept
    shown = "Mean\nagent  Return\n6 x 5 mg/L  1.0\nPacing  2.0\n\nagent  Cost\n"
    assert rows_of_first_table(shown) == ["6 x 5 mg/L", "Pacing"]
    assert kept_promise(["evaluate", "id", "pacing", "--patients", "4"], shown)
    assert not kept_promise(["evaluate", "id", "a", "b", "c", "--patients", "4"], shown)
    missed = "bmi  missed  1.000  1\nbmii  missed  1.000  1\n"
    assert not kept_promise(["robustness", "id", "--perturb", "missed@1,5"], missed)
    assert not kept_promise(["tune"], "a  True  True\nb  True  True\n")


@pytest.mark.snippets
def test_printed_commands_do_what_they_say(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    done = []
    for page, command in ALL:
        if page == "how-to.md" or any(part in command for part in LEFT_OUT):
            continue  # the first are run as they are printed by tests/test_docs.py
        arguments = shortened(command)
        began = time.monotonic()
        status = main(arguments)
        said = capsys.readouterr()
        with capsys.disabled():
            print(f"{time.monotonic() - began:6.1f} s  {page}: {shlex.join(arguments)}", flush=True)
        # A plan found by so short a search may be worse than the clinic's, and says so.
        allowed = (0, 1) if arguments[0] == "optimize" else (0,)
        assert status in allowed, (page, command, arguments, said.err[-2000:])
        assert said.out.strip(), command
        if "--out" in arguments:
            made = Path(arguments[arguments.index("--out") + 1])
            assert made.is_file() or any(made.iterdir()), command
        assert kept_promise(arguments, said.out), (page, command, said.out[-2000:])
        done.append(command)
    assert len(done) >= 9, done


@pytest.mark.slow
@pytest.mark.parametrize(
    "page",
    ["README.md", "running.md", "feedback.md", "processes-and-threads.md", "wrappers.md"],
)
def test_python_of_a_page_runs(page, tmp_path, monkeypatch, capsys):
    """The pieces of a page in order; a later one may use what an earlier one made."""
    monkeypatch.chdir(tmp_path)
    path = next(one for one in PAGES if one.name == page)
    found = re.findall(r"^```python\n(.*?)^```$", path.read_text("utf-8"), re.DOTALL | re.M)
    assert found
    if any("torchrl" in text for text in found):
        pytest.importorskip("torchrl", reason="needs torchrl")
    names: dict[str, object] = {"__name__": "__main__"}
    for text in found:
        # Two hundred patients and four processes tell no more than a few.
        short = re.sub(r"patients=\d{3,}", "patients=6", text).replace("workers=4", "workers=1")
        exec(compile(short, page, "exec"), names)
