"""Search of hyper-parameters over a grid, recorded run by run.

``python -m oncogym.training.search ENV --grid learning_rate=0.0005,0.001 --grid n_steps=15,30
--steps 300000 --seeds 2 --out FOLDER`` trains every combination with every seed and keeps each run
in a folder of its own. Started again it goes on: finished runs are not repeated, an interrupted one
resumes from its last checkpoint. ``search.csv`` has one row a run; the table on the screen has one
row a combination, best first, by the mean over seeds of the best return on the validation patients.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from oncogym.core.files import (
    CorruptFileError,
    OutputFolderError,
    read_json,
    require_writable_folder,
    to_plain,
    write_csv_atomic,
    write_json_atomic,
)
from oncogym.core.json_types import JsonObject
from oncogym.core.run_lock import hold
from oncogym.training.algorithms import DEFAULT
from oncogym.training.runs import TrainResult, resume, train
from oncogym.training.settings import make_settings

_RESULT = "result.json"


def combinations(grid: Mapping[str, Sequence[object]]) -> list[dict[str, Any]]:
    """Every choice of one value for each name, in the order of the grid; one empty for none."""
    return [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]


def search(
    env_id: str,
    grid: Mapping[str, Sequence[object]],
    out: str | Path,
    *,
    algorithm: str,
    steps: int | None = None,
    seeds: int = 1,
    seed: int = 0,
    options: Mapping[str, object] | None = None,
    progress: bool = False,
) -> pd.DataFrame:
    """Train every combination of a grid with every seed.

    Args:
        env_id: Environment.
        grid: Values to try by hyper-parameter; ``lanes`` may be one of them.
        out: Folder for the runs and ``search.csv``.
        algorithm: Name of the learning algorithm.
        steps: Decisions of each run; ``None`` takes the value of ``ppo.yml``.
        seeds: Runs of each combination, with the seeds ``seed``, ``seed + 1``, …
        seed: First seed.
        options: Options of the environment.
        progress: Show a bar for each run on standard error.

    Returns:
        One row a run: the grid's names, ``seed``, ``best_return``, ``best_steps``, ``steps``,
        ``seconds``, ``folder``.

    Raises:
        UnknownNameError: The environment or a hyper-parameter does not exist.
        ValueError: A value is out of range, or ``seeds`` is below 1; nothing is trained then.
        OutputFolderError: ``out`` cannot be written to.
        RunLockedError: Another process works in ``out``.
    """
    if seeds < 1:
        raise ValueError(f"seeds is {seeds}; allowed: at least 1")
    cells = combinations(grid)
    for cell in cells:  # before any work
        _settings(env_id, algorithm, cell, steps, options)
    folder = require_writable_folder(out)
    rows: list[dict[str, object]] = []
    runs = [(cell, own_seed) for cell in cells for own_seed in range(seed, seed + seeds)]
    with hold(folder):
        for number, (cell, own_seed) in enumerate(runs):
            place = folder / _name(cell, own_seed)
            about = to_plain(
                {
                    "env": env_id,
                    "algorithm": algorithm,
                    "cell": cell,
                    "seed": own_seed,
                    "steps": steps,
                    "options": dict(options or {}),
                }
            )
            result = _finished(place, about)
            if result is None:
                print(f"{number + 1} of {len(runs)}: {_name(cell, own_seed)}", file=sys.stderr)
                result = _run(env_id, algorithm, cell, own_seed, place, steps, options, progress)
                write_json_atomic(place / _RESULT, {"about": about, "result": result})
            rows.append({**cell, "seed": own_seed, **result, "folder": place.name})
            write_csv_atomic(folder / "search.csv", pd.DataFrame(rows))
    return pd.DataFrame(rows)


def _settings(
    env_id: str,
    algorithm: str,
    cell: Mapping[str, Any],
    steps: int | None,
    options: Mapping[str, Any] | None,
) -> Any:
    values = dict(cell)
    return make_settings(
        env_id,
        algorithm,
        steps=steps,
        lanes=values.pop("lanes", None),
        options=options,
        hyperparameters=values,
    )


def _name(cell: Mapping[str, object], seed: int) -> str:
    """Folder name of a run."""
    parts = [f"{name}={json.dumps(value)}" for name, value in cell.items()]
    text = " ".join([*parts, f"seed={seed}"])
    return "".join(c if c.isalnum() or c in "=.-_ " else "_" for c in text).replace(" ", ",")


def _finished(place: Path, about: Mapping[str, object]) -> dict[str, Any] | None:
    """The result of a run that is done.

    Raises:
        ValueError: The folder belongs to another search.
    """
    file = place / _RESULT
    if not file.exists():
        return None
    document = read_json(file)
    try:
        found, result = document["about"], dict(document["result"])
    except (KeyError, TypeError, ValueError) as error:
        raise CorruptFileError(f"{file} is no result of a run: {error!r}") from None
    if found != about:
        raise ValueError(f"{place} holds a run of another search ({found}); choose another folder")
    return result


def _run(
    env_id: str,
    algorithm: str,
    cell: Mapping[str, Any],
    seed: int,
    place: Path,
    steps: int | None,
    options: Mapping[str, Any] | None,
    progress: bool,
) -> JsonObject:
    found: TrainResult
    if (place / "config.json").exists():
        found = resume(place, progress=progress)
    else:
        values = dict(cell)
        found = train(
            env_id,
            algorithm,
            out=place,
            steps=steps,
            seed=seed,
            lanes=values.pop("lanes", None),
            options=options,
            hyperparameters=values,
            progress=progress,
        )
    return {
        "best_return": found.best_return,
        "best_steps": found.best_steps,
        "steps": found.steps,
        "seconds": round(found.seconds, 1),
    }


def ranking(table: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
    """One row a combination, best first: mean, least and greatest best return, mean seconds.

    A combination with a run whose return is not finite comes last, with that as its mean.
    """
    finite = np.isfinite(table["best_return"].to_numpy(np.float64))
    table = table.assign(best_return=table["best_return"].where(finite, -np.inf))
    if not names:
        return pd.DataFrame(
            [
                {
                    "runs": len(table),
                    "mean": table["best_return"].mean(),
                    "least": table["best_return"].min(),
                    "greatest": table["best_return"].max(),
                    "seconds": table["seconds"].mean(),
                }
            ]
        )
    # Lists (layers) cannot be grouped by; their text can.
    keyed = table.assign(**{name: table[name].map(json.dumps) for name in names})
    grouped = keyed.groupby(list(names), sort=False)
    best = grouped["best_return"]
    columns = {
        "runs": best.size(),
        "mean": best.mean(),
        "least": best.min(),
        "greatest": best.max(),
        "seconds": grouped["seconds"].mean(),
    }
    found = pd.DataFrame(columns)
    return found.sort_values("mean", ascending=False).reset_index()


def read_grid(texts: Sequence[str]) -> dict[str, list[Any]]:
    """A grid from texts such as ``learning_rate=0.001,0.002``; values are JSON, or plain words.

    Raises:
        ValueError: A text has another form, or a name comes twice.
    """
    grid: dict[str, list[Any]] = {}
    for text in texts:
        name, sign, values = text.partition("=")
        if not sign or not name or not values:
            raise ValueError(f"--grid is {text!r}; allowed: NAME=VALUE,VALUE,…")
        if name in grid:
            raise ValueError(f"--grid has {name!r} twice")
        grid[name] = read_values(values)
    return grid


def read_values(text: str) -> list[Any]:
    """Values between commas, in JSON, or plain words."""
    try:
        values: list[Any] = json.loads(f"[{text}]")
    except ValueError:
        return list(text.split(","))
    return values


def main(argv: Sequence[str] | None = None) -> int:
    """Run a search from the command line; exit status 2 for bad usage."""
    parser = argparse.ArgumentParser(
        prog="python -m oncogym.training.search", description=(__doc__ or "").split("\n\n")[0]
    )
    parser.add_argument("env", metavar="ENV", help="an environment id")
    parser.add_argument("--algo", default=DEFAULT, metavar="NAME", help=f"default {DEFAULT}")
    parser.add_argument(
        "--grid",
        action="append",
        default=[],
        metavar="NAME=V,V,…",
        help="values of a hyper-parameter, JSON; repeatable",
    )
    parser.add_argument("--steps", type=int, help="decisions of each run (default: ppo.yml)")
    parser.add_argument("--seeds", type=int, default=1, help="runs of each (default 1)")
    parser.add_argument("--seed", type=int, default=0, help="first seed (default 0)")
    parser.add_argument(
        "--option",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="environment option, the value in JSON; repeatable",
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for runs and search.csv")
    args = parser.parse_args(argv)
    try:
        grid = read_grid(args.grid)
        options = {name: values[0] for name, values in read_grid(args.option).items()}
        table = search(
            args.env,
            grid,
            args.out,
            algorithm=args.algo,
            steps=args.steps,
            seeds=args.seeds,
            seed=args.seed,
            options=options,
            progress=True,
        )
    except (ValueError, OutputFolderError) as error:
        print(f"search: error: {error}", file=sys.stderr)
        return 2
    print(ranking(table, list(grid)).to_string(index=False))
    return 0


if __name__ == "__main__":
    sys.exit(main())
