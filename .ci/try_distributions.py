"""Installs each wheel and source archive of a folder into an environment of its own and tries it.

``python .ci/try_distributions.py dist``: the environments lie in a temporary folder outside the
checkout, which nothing may come from. Tried are the command that looks around, one evaluation and
one training. Needs the standard library only.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
#: Tried in this order; each has to end with status 0.
COMMANDS = (
    "--version",
    "doctor",
    "cite ChemoDosingCohort-v0",
    "evaluate ChemoDosingCohort-v0 daily weekly --patients 8 --out results",
    "train ChemoDosing-v0 --steps 4096 --set evaluations=1 --out runs/try",
    "evaluate ChemoDosing-v0 runs/try/policy daily --patients 4",
)


def distributions(folder: Path) -> list[Path]:
    """The wheel and the source archive of a folder.

    Raises:
        SystemExit: There is not one of each.
    """
    found = [sorted(folder.glob(pattern)) for pattern in ("*.whl", "*.tar.gz")]
    if [len(each) for each in found] != [1, 1]:
        raise SystemExit(f"{folder} holds {found}; allowed: one wheel and one *.tar.gz")
    return [each[0].resolve() for each in found]


def environment() -> dict[str, str]:
    """Variables of a process that finds nothing of the checkout."""
    left_out = {"PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV"}
    return {name: value for name, value in os.environ.items() if name not in left_out}


def run(*command: object, cwd: Path) -> str:
    """What a command prints, which has to succeed."""
    words = [str(word) for word in command]
    print("+", *words, flush=True)
    done = subprocess.run(
        words, cwd=cwd, env=environment(), stdout=subprocess.PIPE, text=True, encoding="utf-8",
        check=False,
    )  # fmt: skip
    if done.returncode:
        raise SystemExit(f"{' '.join(words)} ended with {done.returncode}:\n{done.stdout}")
    return done.stdout


def try_one(distribution: Path) -> None:
    """Install one file into a fresh environment and run :data:`COMMANDS` there."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        folder = Path(name).resolve()
        venv.create(folder / "venv", with_pip=True)
        programs = folder / "venv" / ("Scripts" if os.name == "nt" else "bin")
        python, work = programs / "python", folder / "work"
        work.mkdir()
        run(python, "-m", "pip", "install", "--quiet", "-c", ROOT / "constraints.txt",
            f"{distribution}[train]", cwd=work)  # fmt: skip
        place = run(python, "-c", "import oncogym; print(oncogym.__file__)", cwd=work).strip()
        if folder not in Path(place).resolve().parents:
            raise SystemExit(f"{place} is not in the fresh environment {folder}")
        for command in COMMANDS:
            print(run(programs / "oncogym", *command.split(), cwd=work), flush=True)


def main() -> None:
    """Try what lies in the folder that is named."""
    if len(sys.argv) != 2:
        raise SystemExit(f"usage: {Path(sys.argv[0]).name} FOLDER")
    found = distributions(Path(sys.argv[1]))
    for distribution in found:
        try_one(distribution)
    print("sound:", *(one.name for one in found))


if __name__ == "__main__":
    main()
