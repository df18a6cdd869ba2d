"""Run the examples whose libraries are installed and keep what they printed.

    python examples/run_all.py            # all that can be imported here, at their default sizes
    python examples/run_all.py --table    # write the table in docs/other-libraries.md

``results.csv`` has one row an example: versions, decisions, returns, seconds. A run replaces the
rows of the examples it ran; the others stay, so that two virtual environments can fill one file.
Exit status 1: an example failed.
"""

import argparse
import ast
import csv
import importlib.util
import os
import platform
import re
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results.csv"
PAGE = HERE.parent / "docs" / "other-libraries.md"
BEGIN, END = "<!-- interop: begin -->", "<!-- interop: end -->"

#: The modules without which an example cannot run, in the order of the table.
EXAMPLES = {
    "sb3_ppo": ("stable_baselines3",),
    "sb3_recurrent_ppo": ("sb3_contrib",),
    "sb3_tqc": ("sb3_contrib",),
    "sb3_maskable_ppo": ("sb3_contrib",),
    "single_file_ppo": ("torch",),
    "torchrl_ppo": ("torchrl",),
    "tianshou_ppo": ("tianshou",),
    "rllib_ppo": ("ray", "tree", "lz4", "pyarrow", "torch"),
    "minari_dataset": ("minari", "jax", "h5py"),
    "mo_gymnasium_rewards": ("mo_gymnasium",),
}
COLUMNS = (
    "example",
    "versions",
    "python",
    "seed",
    "decisions",
    "return",
    "return_before",
    "seconds",
    "exit",
)
_RETURN = re.compile(r"^return (\S+) after (\d+) decisions(?:, (\S+) before)?$", re.MULTILINE)
_VERSIONS = re.compile(r"^(?:[\w-]+ \d\S*, )*[\w-]+ \d\S*$", re.MULTILINE)


def importable(name: str) -> bool:
    """Whether all modules that an example needs are there."""
    return all(importlib.util.find_spec(module) is not None for module in EXAMPLES[name])


def run(name: str, seed: int = 0, steps: int | None = None) -> tuple[dict[str, str], str]:
    """Run one example; returns its row and what it printed."""
    command = [sys.executable, str(HERE / f"{name}.py"), "--seed", str(seed)]
    if steps is not None:
        command += ["--steps", str(steps)]
    environment = {"OMP_WAIT_POLICY": "PASSIVE", **os.environ}
    started = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    seconds = time.perf_counter() - started
    versions, returns = _VERSIONS.search(done.stdout), _RETURN.search(done.stdout)
    failed = done.returncode or int(versions is None or returns is None)
    row = {
        "example": name,
        "versions": versions[0] if versions else "",
        "python": platform.python_version(),
        "seed": str(seed),
        "decisions": returns[2] if returns else "",
        "return": returns[1] if returns else "",
        "return_before": (returns[3] or "") if returns else "",
        "seconds": f"{seconds:.0f}",
        "exit": str(failed),
    }
    return row, done.stdout + done.stderr


def read_results() -> dict[str, dict[str, str]]:
    """The rows of the file by example."""
    if not RESULTS.exists():
        return {}
    with RESULTS.open(newline="", encoding="utf-8") as file:
        return {row["example"]: row for row in csv.DictReader(file)}


def write_results(rows: dict[str, dict[str, str]]) -> None:
    """Write the file, in the order of the table."""
    with RESULTS.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows[name] for name in EXAMPLES if name in rows)


def summary(name: str) -> str:
    """The first line of an example's docstring, without the full stop."""
    tree = ast.parse((HERE / f"{name}.py").read_text(encoding="utf-8"))
    return (ast.get_docstring(tree) or "").partition("\n")[0].rstrip(".")


def table(rows: dict[str, dict[str, str]]) -> str:
    """The table of the page."""
    lines = [
        "| example | | ran with | decisions | return (before) |",
        "|---|---|---|---|---|",
    ]
    for name, row in rows.items():
        shown = ", ".join(
            part for part in row["versions"].split(", ") if not part.startswith("oncogym ")
        )
        result = row["return"] if row["exit"] == "0" else "failed"
        if row["exit"] == "0" and row["return_before"]:
            result += f" ({row['return_before']})"
        result = result.replace("-", "\N{MINUS SIGN}")
        link = f"[`{name}.py`](../examples/{name}.py)"
        count = f"{int(row['decisions'] or 0):,}".replace(",", " ")
        lines.append(f"| {link} | {summary(name)} | {shown} | {count} | {result} |")
    return "\n".join(lines)


def write_table() -> None:
    """Put the table between the marker comments of the page."""
    text = PAGE.read_text(encoding="utf-8")
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        sys.exit(f"{PAGE} lacks the comments {BEGIN} and {END}")
    PAGE.write_text(f"{before}{BEGIN}\n{table(read_results())}\n{END}{after}", encoding="utf-8")


def main() -> None:
    """Run the examples, or write the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", nargs="+", metavar="NAME", choices=list(EXAMPLES), default=None)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, help="other sizes than the defaults; nothing is kept")
    parser.add_argument("--table", action="store_true", help="only write the table in the page")
    args = parser.parse_args()
    if args.table:
        write_table()
        return
    failed = False
    for name in args.only or EXAMPLES:
        if not importable(name):
            print(f"{name}: left out, {' or '.join(EXAMPLES[name])} is not installed")
            continue
        row, output = run(name, args.seed, args.steps)
        if row["exit"] == "0":
            print(f"{name}: return {row['return']}, {row['seconds']} s, {row['versions']}")
        else:
            failed = True
            print(f"{name}: failed\n{output}", file=sys.stderr)
        if args.steps is None:
            write_results({**read_results(), name: row})
    sys.exit(int(failed))


if __name__ == "__main__":
    main()
