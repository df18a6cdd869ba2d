"""Take the trials of searches of hyper-parameters into a table that is kept.

``python -m oncogym.evaluation.record_searches FOLDER … --out FILE`` reads folders that ``oncogym
search`` wrote and replaces, in the table FILE, the rows of their environments and algorithms. One
row a trial: its values, how it ended, its best mean return on the validation patients, the
decisions and seconds that it took (of an interrupted one since it went on), and the version that
ran it; and whether its values are the tuned ones, as the first of a search are wherever these are
allowed, so that the table says what others gained over them.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from oncogym.core.documents import Document
from oncogym.core.files import OutputFolderError, write_csv_atomic
from oncogym.core.manifest import commit_of
from oncogym.training.trials import RECORD, trial_folder

#: Columns that say which search a row belongs to.
SEARCH = ["env", "algorithm"]
# A commit may look like a number.
_TEXTS = {"version": str}
_DECIMALS = 4
_LONGEST = 1 << 26


def trials_of(folder: Path) -> pd.DataFrame:
    """One row a trial of a search.

    Args:
        folder: The search's folder.

    Raises:
        OutputFolderError: It holds no search.
        CorruptFileError: A file in it is damaged.
    """
    if not (folder / RECORD).is_file():
        raise OutputFolderError(f"{folder} holds no search: it has no {RECORD}")
    record = Document.read(folder / RECORD, _LONGEST)
    about = record.mapping("about")
    rows = []
    for trial in record.values["trials"]:
        place = folder / trial_folder(trial["trial"])
        table = place / "progress.csv"  # a run that failed at once has none
        steps = pd.read_csv(table)["steps"] if table.is_file() else pd.Series([0])
        config = Document.read(place / "config.json", _LONGEST)
        settings = config.mapping("settings")
        rows.append(
            {
                "env": about["env"],
                "algorithm": about["algorithm"],
                "trial": trial["trial"],
                "tuned": trial["tuned"],
                "state": trial["state"],
                "best_return": trial["best_return"],
                "values": json.dumps(trial["values"], sort_keys=True),
                "decisions": int(steps.iloc[-1]),
                "of": settings["steps"],
                "patients": settings["evaluation_patients"],
                "seed": settings["seed"],
                "seconds": trial["seconds"],
                "version": commit_of(config),
            }
        )
    return pd.DataFrame(rows).round({"best_return": _DECIMALS, "seconds": 1})


def gains(table: pd.DataFrame) -> pd.DataFrame:
    """One row a search: what the tuned values returned, what the best trial did, at which price.

    Args:
        table: One row a trial, see :func:`trials_of`.

    Returns:
        ``env``, ``algorithm``, ``trials``, ``pruned``, ``tuned`` (the return of the tuned values,
        NaN if no trial had them), ``best``, ``gain``, ``decisions`` of a whole trial, ``seconds``
        of all, ``values`` of the best.
    """
    rows = []
    for (env, algorithm), group in table.groupby(SEARCH, sort=False):
        tuned = group["best_return"].where(group["tuned"]).max()
        best = group.sort_values("best_return", na_position="first").iloc[-1]
        rows.append(
            {
                "env": env,
                "algorithm": algorithm,
                "trials": len(group),
                "pruned": int((group["state"] == "pruned").sum()),
                "tuned": tuned,
                "best": best["best_return"],
                "gain": best["best_return"] - tuned,
                "decisions": int(group["of"].iloc[0]),
                "seconds": group["seconds"].sum(),
                "values": best["values"],
            }
        )
    return pd.DataFrame(rows)


def record(folders: Sequence[Path], out: Path) -> pd.DataFrame:
    """Put the trials of searches into a table, see the module.

    Args:
        folders: The searches.
        out: CSV file, made or changed.

    Raises:
        ValueError: Two folders hold searches for the same environment and algorithm.
        OutputFolderError: A folder holds no search.
        CorruptFileError: A file is damaged.
    """
    found: dict[tuple[str, str], pd.DataFrame] = {}
    for folder in folders:
        rows = trials_of(folder)
        name = (str(rows["env"].iloc[0]), str(rows["algorithm"].iloc[0]))
        if name in found:
            raise ValueError(f"{folder} is a second search for {name[0]} with {name[1]}")
        found[name] = rows
    kept = pd.read_csv(out, dtype=_TEXTS) if out.is_file() else pd.DataFrame(columns=SEARCH)
    old = [(env, algo) not in found for env, algo in zip(kept.env, kept.algorithm, strict=True)]
    parts = [part for part in (kept[old], *found.values()) if len(part)]
    table = pd.concat(parts).sort_values([*SEARCH, "trial"], ignore_index=True)
    write_csv_atomic(out, table)
    return table


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns its exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m oncogym.evaluation.record_searches",
        description="Take the trials of searches of hyper-parameters into a table that is kept, "
        "and print what each search gained over the tuned values.",
    )
    parser.add_argument("folders", nargs="+", type=Path, metavar="FOLDER", help="a search")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="CSV file")
    args = parser.parse_args(argv)
    try:
        table = record(args.folders, args.out)
    except (OSError, ValueError) as error:
        print(f"{parser.prog}: error: {error}", file=sys.stderr)
        return 2
    print(gains(table).to_string(index=False))
    return 0


if __name__ == "__main__":
    sys.exit(main())
