"""The proton-planning tutorial's figures as files."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure

from oncogym.core.files import write_bytes_atomic
from oncogym.evaluation.reproduce.impt import plans as plans
from oncogym.evaluation.reproduce.impt.drawing import dvh_bands, six_panels
from oncogym.evaluation.reproduce.impt.front import FRONTS, draw_fronts, front, save_front

_DPI = 110


def save_figures(folder: Path, saved: Sequence[Path] = ()) -> list[Path]:
    """Draw and save all figures, and the plans of the trade-off fronts beside theirs.

    Args:
        folder: Where to save them.
        saved: Files of plans whose six panels are drawn, too.

    Returns:
        PNG files, and the table of each front.

    Raises:
        CorruptFileError: A file holds no plan; the message names it.
        OSError: The folder is missing or refuses.
    """
    paths = [
        _save(folder / "source_fit_a.png", fit_panels()),
        _save(folder / "robust_plan.png", robust_panels()),
        _save(folder / "dvh_bands.png", bands()),
    ]
    fronts = [front(name) for name in FRONTS]
    for one in fronts:
        paths.append(save_front(folder, one)[0])
    paths.append(_save(folder / "trade_off.png", draw_fronts(fronts)))
    for path in saved:
        paths.append(_save(folder / f"{path.stem}.png", saved_panels(path)))
    return paths


def fit_panels() -> Figure:
    """The six panels of the source's plan."""
    fit = plans.fit("fit_a")
    return six_panels(
        fit.influence, fit.weights, phantom=fit.phantom, layout=fit.model,
        title="The source's model, fit A: 40 beamlets",
    )  # fmt: skip


def robust_panels() -> Figure:
    """The six panels of the robust plan of pencil beams."""
    case = plans.case("published")
    return six_panels(
        case.influence, plans.pencil_beam_plan("robust_worst"), phantom=case.phantom,
        layout=case.beams,
        title=f"Pencil beams, {case.beams.num_spots} spots: worst of seven scenarios, aim 61.5 Gy",
    )  # fmt: skip


def saved_panels(path: str | Path) -> Figure:
    """The six panels of a plan from a file.

    Raises:
        CorruptFileError: The file holds no plan; the message names it.
        FileNotFoundError: There is no such file.
    """
    found = plans.load_plan(path)
    return six_panels(
        found.influence(), found.weights, phantom=found.phantom, layout=found.beams,
        title=f"{found.phantom.name}, {Path(path).name}",
    )  # fmt: skip


def bands() -> Figure:
    """DVH bands over the scenarios: nominal plan and robust plan."""
    return dvh_bands(
        plans.case("published").scenarios,
        {
            "IMPT, aim 61 Gy": plans.pencil_beam_plan("impt_61"),
            "robust, aim 61.5 Gy": plans.pencil_beam_plan("robust_worst"),
        },
    )


def _save(path: Path, figure: Figure) -> Path:
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=_DPI)
    return write_bytes_atomic(path, picture.getvalue())
