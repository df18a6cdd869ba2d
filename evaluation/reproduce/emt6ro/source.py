"""The EMT6/Ro source: 28 printed protocols, gains, search spaces, fidelity, figures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from oncogym.core.argument_types import natural, positive
from oncogym.envs.device import DEVICES
from oncogym.evaluation.reproduce.checks import Arguments, Check, Source, register
from oncogym.evaluation.reproduce.emt6ro.checks import all_checks
from oncogym.evaluation.reproduce.emt6ro.study import FIDELITIES, Study, read_library


def arguments(parser: Arguments) -> None:
    """Options of this source alone."""
    parser.add_argument(
        "--fidelity",
        choices=FIDELITIES,
        default="accelerated",
        help="exact law, or cell clocks 20 (accelerated) or 40 times (screening) as fast as the "
        "fields (default accelerated)",
    )
    parser.add_argument(
        "--runs",
        type=positive,
        default=100,
        metavar="N",
        help="simulations of each printed protocol, spread over the tumours (default 100)",
    )
    parser.add_argument(
        "--equality",
        type=natural,
        default=0,
        metavar="N",
        help="compare the fidelity with the exact law on 60 random protocols, so many simulations "
        "each, and in the time courses of two; the exact ones take long (default: leave out)",
    )
    parser.add_argument(
        "--library", type=Path, metavar="DIR",
        help="folder with the source's tumours tumor-1.txt, … instead of the shipped ones",
    )  # fmt: skip
    parser.add_argument(
        "--device", choices=DEVICES, default="cpu",
        help="processor, NVIDIA GPU (needs oncogym[cuda]), or a GPU where there is one "
        "(default cpu)",
    )  # fmt: skip


def configured(options: Mapping[str, Any], folder: Path | None) -> Source:
    """The source with these options; outcomes are kept in ``folder``.

    Raises:
        ValueError: A number of simulations does not fit the tumours, or an exact fidelity is to be
            compared with itself.
        FileNotFoundError: The library has no tumours.
        TumourFileError: One of its files is malformed.
        DeviceError: The device is not there.
    """
    chosen = dict(options)
    library = chosen.pop("library")
    chosen["tumours"] = None if library is None else read_library(library)
    Study(**chosen)  # refuses what does not fit before anything is simulated

    @lru_cache(maxsize=1)
    def study(seed: int) -> Study:
        return Study(seed, folder=folder, **chosen)

    def checks(seed: int) -> list[Check]:
        return all_checks(study(seed))

    def figures(target: Path, seed: int) -> list[Path]:
        from oncogym.evaluation.reproduce.emt6ro.figures import save_figures

        return save_figures(target, study(seed))

    return replace(SOURCE, checks=checks, figures=figures)


def default_checks(seed: int) -> list[Check]:
    """The checks with the default options."""
    return all_checks(Study(seed))


def default_figures(folder: Path, seed: int) -> list[Path]:
    """The figures with the default options."""
    from oncogym.evaluation.reproduce.emt6ro.figures import save_figures

    return save_figures(folder, Study(seed))


SOURCE = Source(
    "emt6ro", "GPU-GA radiotherapy of EMT6/Ro spheroids", default_checks, default_figures,
    arguments=arguments, configured=configured,
)  # fmt: skip
register(SOURCE)
