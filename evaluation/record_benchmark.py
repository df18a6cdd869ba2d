"""Take the results of finished benchmarks into tables that are kept.

``python -m oncogym.evaluation.record_benchmark FOLDER … --out DIR`` replaces, in the tables
DIR/NAME*.csv, the rows of the environments that the benchmarks in the folders compared, and leaves
those of others as they are: NAME.csv (one row an agent, with the version that ran it),
NAME_prices.csv (what knowing and measuring are worth), NAME_effort.csv (simulations and seconds)
and NAME_patients.csv.gz (each patient). Numbers are rounded to five decimals.
"""

from __future__ import annotations

import argparse
import gzip
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from oncogym.core.documents import Document
from oncogym.core.files import CorruptFileError, OutputFolderError, write_bytes_atomic
from oncogym.core.manifest import commit_of
from oncogym.evaluation.benchmark.folder import find_benchmark, places, reported_envs

#: Ends of the tables' names.
AGENTS, PRICES, EFFORT, PATIENTS = ".csv", "_prices.csv", "_effort.csv", "_patients.csv.gz"
_DECIMALS = 5
# A commit may look like a number.
_TEXTS = {"version": str}
_LONGEST = 1 << 28


def tables_of(folder: Path) -> dict[str, pd.DataFrame]:
    """The rows of a benchmark by table.

    Args:
        folder: The folder of a finished benchmark.

    Raises:
        OutputFolderError: It holds no finished benchmark.
        CorruptFileError: A file in it is damaged.
    """
    envs = reported_envs(folder) if find_benchmark(folder) is not None else []
    if not envs:
        raise OutputFolderError(f"{folder} holds no finished benchmark")
    overview = pd.read_csv(folder / "overview.csv")
    overview["version"] = commit_of(Document.read(folder / "manifest.json", _LONGEST))
    found: dict[str, list[pd.DataFrame]] = {PRICES: [], EFFORT: [], PATIENTS: []}
    for env, place in places(envs).items():
        own = Document.read(folder / place / "comparison.json", _LONGEST)
        extras, names = own.mapping("extras"), _names(own.mapping("labels"))
        prices = [
            {
                "agent": names[line["agent"]],
                "against": names[line["against"]],
                "return": line["return"]["estimate"],
                "low": line["return"]["low"],
                "high": line["return"]["high"],
                "worth_of": line["worth of"],
            }
            for line in extras["What knowing and measuring are worth"]
        ]
        effort = pd.DataFrame(extras["What finding the policies took"])
        effort.columns = [name.replace(" ", "_") for name in effort.columns]
        effort["seconds"] = effort["seconds"].round(2)
        patients = pd.read_csv(folder / place / "results.csv")
        kept = [
            name
            for name in map(str, patients)
            if name != "clipped" and not name.startswith("term_")
        ]
        for table, rows in (
            (PRICES, pd.DataFrame(prices)),
            (EFFORT, effort),
            (PATIENTS, patients[kept]),
        ):
            rows.insert(0, "env", env)
            found[table].append(rows)
    return {AGENTS: overview} | {name: pd.concat(rows) for name, rows in found.items()}


def _names(labels: Mapping[str, str]) -> dict[str, str]:
    return {label: name for name, label in labels.items()}


def record(folders: Sequence[Path], out: Path, name: str) -> list[Path]:
    """Replace the rows of the benchmarks' environments in the tables.

    Args:
        folders: Those of finished benchmarks; of an environment in several of them, the last
            counts.
        out: Folder of the tables; a table that is not there yet begins.
        name: What the names of the tables begin with.

    Returns:
        The files written.

    Raises:
        OutputFolderError: A folder holds no finished benchmark; nothing is written then.
    """
    benchmarks = [tables_of(folder) for folder in folders]
    out.mkdir(parents=True, exist_ok=True)
    written = []
    for end in (AGENTS, PRICES, EFFORT, PATIENTS):
        path = out / f"{name}{end}"
        table = pd.read_csv(path, dtype=_TEXTS) if path.is_file() else pd.DataFrame()
        for benchmark in benchmarks:
            table = _replaced(table, benchmark[end].round(_DECIMALS))
        text = table.to_csv(index=False, compression=None)
        data = text.encode()
        if end == PATIENTS:
            # Without a time, so that the same rows are the same bytes.
            data = gzip.compress(data, mtime=0)
        written.append(write_bytes_atomic(path, data))
    return written


def _replaced(table: pd.DataFrame, rows: pd.DataFrame) -> pd.DataFrame:
    """The table with other rows for their environments, in the places of those before."""
    if table.empty:
        return rows
    blocks = dict(iter(table.groupby("env", sort=False)))
    blocks |= dict(iter(rows.groupby("env", sort=False)))
    joined = pd.concat(list(blocks.values()), ignore_index=True)
    # A column that no environment has any more is left out.
    return joined.dropna(axis="columns", how="all")


def main(arguments: list[str] | None = None) -> int:
    """Record the benchmarks that are named."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("folders", nargs="+", type=Path, metavar="FOLDER", help="of a benchmark")
    parser.add_argument("--out", type=Path, required=True, help="folder of the tables")
    parser.add_argument(
        "--name", default="benchmark_measurable", help="what their names begin with"
    )
    args = parser.parse_args(arguments)
    try:
        written = record(args.folders, args.out, args.name)
    except (OutputFolderError, CorruptFileError, ValueError) as error:
        parser.error(str(error))
    sys.stdout.write("".join(f"{path}\n" for path in written))
    return 0


if __name__ == "__main__":
    sys.exit(main())
