"""The results of a finished benchmark, for what needs no further treatment."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import pandas as pd

from oncogym.core.documents import Document
from oncogym.core.errors import nearest
from oncogym.core.files import CorruptFileError
from oncogym.evaluation.benchmark.folder import possible_places

#: Bytes of a description at most.
_LONGEST = 1 << 28


def read_finished(
    folder: Path, env_id: str, agents: Collection[str] = ()
) -> tuple[pd.DataFrame, str]:
    """Results of one environment of a benchmark, and the cohort that was treated.

    Args:
        folder: Output folder of the benchmark.
        env_id: The environment.
        agents: Agents that are wanted, by the names of the table; none for all.

    Returns:
        The table of :func:`oncogym.evaluation.harness.evaluate`, and the name of the cohort.

    Raises:
        FileNotFoundError: There is no finished benchmark of the environment.
        CorruptFileError: Its files are damaged, or of another environment.
        UnknownNameError: It has no such agent.
    """
    found = [folder / place for place in possible_places(env_id)]
    found = [place for place in found if (place / "comparison.json").is_file()]
    if not found:
        raise FileNotFoundError(f"{folder} holds no finished benchmark of {env_id}")
    path, about = found[0] / "results.csv", found[0] / "comparison.json"
    document = Document.read(about, _LONGEST)
    if document.text("env") != env_id:
        raise document.error("env", env_id)
    try:
        results = pd.read_csv(path)
        known = list(dict.fromkeys(results["agent"].astype(str)))
        results["patient"]
    except (OSError, ValueError, KeyError) as error:
        raise CorruptFileError(f"{path}: no results of a benchmark ({error})") from error
    for name in agents:
        if name not in known:
            raise nearest(f"agent of {folder}", name, known)
    if agents:
        results = results[results["agent"].isin(agents)]
    return results, document.text("cohort")
