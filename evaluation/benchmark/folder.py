"""The folder of a benchmark: what is in it, what of an earlier run in it can be used again."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, fields
from functools import partial
from pathlib import Path

import pandas as pd

from oncogym.agents.optimizers import optimizers
from oncogym.agents.plan import PatientPlans, PlanAgent
from oncogym.core.files import (
    CorruptFileError,
    OutputFolderError,
    StrPath,
    read_json,
    to_plain,
    write_json_atomic,
)
from oncogym.core.json_types import JsonObject
from oncogym.core.output_folder import OutputFolder
from oncogym.envs.problem import Problem
from oncogym.evaluation import comparison
from oncogym.evaluation.benchmark.plans import COMMON, OWN, SEARCH, plan_file, read_search
from oncogym.evaluation.benchmark.presets import Preset
from oncogym.evaluation.benchmark.seed_sweep import RUN_FILES, run_name
from oncogym.evaluation.benchmark.studies import STUDIES
from oncogym.evaluation.kept_courses import FILE as COURSES
from oncogym.evaluation.plan_search import OWN_FILE, SEARCH_FILES

#: What writes into such a folder, see :class:`OutputFolder`.
JOB = "benchmark"

_SETTINGS = "settings.json"
_ROOT = (
    _SETTINGS,
    "manifest.json",
    "overview.csv",
    "summary.csv",
    STUDIES,
    "report.html",
)


def places(env_ids: Iterable[str]) -> dict[str, str]:
    """The folder of each environment within that of the benchmark, with a slash behind it.

    It is the id without its namespace, or all of it where that would be the same for two.
    """
    ids = list(env_ids)
    count = Counter(_bare(env_id).casefold() for env_id in ids)
    found = {}
    for env_id in ids:
        short, whole = possible_places(env_id)
        found[env_id] = short if count[_bare(env_id).casefold()] == 1 else whole
    return found


def possible_places(env_id: str) -> tuple[str, str]:
    """Both folders that :func:`places` may give an environment, the usual one first."""
    return f"{_bare(env_id)}/", f"{env_id.replace('/', '_')}/"


def _bare(env_id: str) -> str:
    return env_id.rpartition("/")[2]


def reported_envs(folder: Path) -> list[str]:
    """The environments that the report of a benchmark in ``folder`` shows, in its order.

    Raises:
        CorruptFileError: Its ``summary.csv`` is damaged.
    """
    path = folder / "summary.csv"
    if not path.is_file() or _settings_in(folder) is None:
        return []
    try:
        return list(dict.fromkeys(pd.read_csv(path)["env"].astype(str)))
    except (OSError, ValueError, KeyError) as error:
        raise CorruptFileError(f"{path}: no summary of a benchmark ({error})") from error


def settings_of(preset: Preset, seed: int) -> JsonObject:
    """What decides the results of a benchmark, as plain data."""
    return dict(to_plain({"preset": asdict(preset), "seed": seed}))


def place_names(place: str, preset: Preset, seed: int) -> list[str]:
    """Names of the files of one environment, in its folder ``place``.

    Args:
        place: Folder of the environment.
        preset: What is done in it.
        seed: Seed of the benchmark.
    """
    runs = run_names(preset, seed)
    methods = list(optimizers())
    plans = (COMMON, OWN, *(plan_file(name) for name in methods))
    within: list[tuple[str, tuple[str, ...]]] = [
        (SEARCH, (OWN_FILE,)),
        *((f"{SEARCH}/{name}", SEARCH_FILES) for name in methods),
        *((run, RUN_FILES) for run in runs),
    ]
    return [place + name for name in (_SETTINGS, COURSES, *comparison.TABLES, *plans)] + [
        f"{place}{folder}/{name}" for folder, names in within for name in names
    ]


def run_names(preset: Preset, seed: int) -> list[str]:
    """Folders of the training runs of one environment."""
    seeds = range(seed, seed + preset.training_seeds)
    return [run_name(algorithm, number) for algorithm in preset.algorithms for number in seeds]


def require_room(
    output: OutputFolder, presets: Mapping[str, Preset], seed: int, env_ids: Iterable[str]
) -> None:
    """Raise :class:`OutputFolderError` if a file is in the way of a benchmark that is not ours.

    Args:
        output: The folder of the benchmark.
        presets: What is done, by environment.
        seed: Seed of the benchmark.
        env_ids: Full ids of the environments.
    """
    output.require_own(_ROOT)
    for env_id, place in places(env_ids).items():
        names = [*place_names(place, presets[env_id], seed)]
        output.require_own([*names, *(place + name for name in comparison.FILES)])


def check_settings(output: OutputFolder, place: str, settings: Mapping[str, object]) -> None:
    """Refuse to mix the parts of two different benchmarks in one folder.

    Args:
        output: The folder of the benchmark.
        place: Folder of the environment in it.
        settings: Settings of this benchmark.

    Raises:
        ValueError: The folder holds a benchmark with other settings.
        CorruptFileError: Its settings are damaged.
    """
    path = output.path / place / _SETTINGS
    if path.exists() and (found := read_json(path)) != settings:
        raise ValueError(
            f"{path.parent} holds a benchmark with other settings ({found}); choose another folder "
            "or start afresh"
        )


def write_settings(output: OutputFolder, place: str, settings: Mapping[str, object]) -> None:
    """Say whose the parts in the folder are.

    Args:
        output: The folder of the benchmark.
        place: Folder of the environment in it.
        settings: Settings of this benchmark, JSON-able.
    """
    output.write(place + _SETTINGS, partial(write_json_atomic, value=settings))


def open_benchmark(folder: StrPath) -> OutputFolder:
    """A folder in which a benchmark begins or goes on; it is made if it is missing.

    Raises:
        OutputFolderError: It cannot be written to, or holds the results of another job.
        CorruptFileError: Its list of files is damaged.
    """
    output = OutputFolder.claim(folder, JOB)
    if OutputFolder.find(folder) is None:
        return OutputFolder(output.path, JOB, _files_without_list(output.path))
    return output


def find_benchmark(folder: Path) -> OutputFolder | None:
    """The benchmark in a folder, or ``None`` if the folder is empty or missing.

    Benchmarks of the version before kept no list of their files: theirs are told by their settings
    and their names.

    Raises:
        OutputFolderError: The folder holds something else.
        CorruptFileError: Its list of files is damaged.
    """
    if not os.path.lexists(folder):
        return None
    if not folder.is_dir():
        raise OutputFolderError(f"{folder} is a file, not a folder")
    if not any(folder.iterdir()):
        return None
    output = OutputFolder.find(folder)
    files = _files_without_list(folder) if output is None else []
    if files:
        output = OutputFolder(folder, JOB, files)
    if output is None or output.job != JOB:
        raise OutputFolderError(f"{folder} is not a benchmark's folder; it is left as it is")
    return output


def _files_without_list(folder: Path) -> list[str]:
    preset = _settings_in(folder)
    if preset is None:
        return []
    names = list(_ROOT)
    for inner in folder.iterdir():
        own = None if inner.is_symlink() else _settings_in(inner)
        if own is not None:
            place = f"{inner.name}/"
            names += place_names(place, own[0], own[1])
            names += [f"{place}{name}" for name in comparison.FILES if name.startswith("figures/")]
    return names


def _settings_in(folder: Path) -> tuple[Preset, int] | None:
    """Preset and seed of the settings in a folder, if they have exactly our form."""
    path = folder / _SETTINGS
    if path.is_symlink() or not path.is_file():
        return None
    try:
        document = read_json(path)
    except CorruptFileError:
        return None
    if not isinstance(document, dict) or set(document) != {"preset", "seed"}:
        return None
    preset, seed = document["preset"], document["seed"]
    names = {field.name for field in fields(Preset)}
    if not isinstance(preset, dict) or set(preset) != names or type(seed) is not int:
        return None
    if type(preset["training_seeds"]) is not int or not 0 < preset["training_seeds"] < 10_000:
        return None
    algorithms = preset["algorithms"]
    if not isinstance(algorithms, list) or not all(isinstance(one, str) for one in algorithms):
        return None
    return Preset(**preset), seed


def check_parts(folder: Path, problem: Problem, preset: Preset, seed: int) -> None:
    """Make sure that the finished parts of one environment can be read, before any work.

    Args:
        folder: Folder of the environment.
        problem: Patients of the benchmark.
        preset: What is done.
        seed: Seed of the benchmark.

    Raises:
        CorruptFileError: A part is damaged; the message names the file.
        ValueError: The plans are for other patients.
    """
    for name in (COMMON, *(plan_file(one) for one in optimizers())):
        if (folder / name).exists():
            PlanAgent.load(folder / name)
            read_search(folder / name)
    if preset.own_plan_patients and (folder / OWN).exists():
        PatientPlans.load(folder / OWN, problem.part(slice(0, preset.own_plan_patients)).patients)
    for name in run_names(preset, seed):
        if (folder / name / "result.json").exists():
            learning_curve(folder / name)


def learning_curve(folder: Path) -> list[tuple[float, float]]:
    """Evaluations of a training run: ``(decisions, mean return)``.

    Raises:
        CorruptFileError: Its ``progress.csv`` is damaged.
    """
    path = folder / "progress.csv"
    try:
        table = pd.read_csv(path)[["steps", "eval/return"]].dropna().astype(float)
    except (OSError, ValueError, KeyError) as error:
        raise CorruptFileError(f"{path}: no progress of a training run ({error})") from error
    if table.empty or not (table["steps"].diff().dropna() > 0.0).all():
        raise CorruptFileError(f"{path}: no evaluations, or steps that do not rise")
    return list(zip(table["steps"], table["eval/return"], strict=True))
