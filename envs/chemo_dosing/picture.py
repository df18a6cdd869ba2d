"""The picture of one chemotherapy course: tumour, drug and toxicity against time."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure

from oncogym.envs.chemo_dosing.model import simulate


def picture(task: Any, lane: int) -> Figure:
    """Draw the course of one lane up to now, 640 x 480 pixels."""
    figure = Figure(figsize=(6.4, 4.8), dpi=100, layout="constrained")
    cells, drug, toxicity = figure.subplots(3, 1, sharex=True)
    elapsed = task.elapsed(lane)
    doses = task.given(lane)
    patient = task.patient(lane)
    if elapsed > 0.0:
        result = simulate(
            [day for day, _ in doses],
            [dose for _, dose in doses],
            patient,
            horizon=elapsed,
            toxicity_limit=task.toxicity_limit,
        )
        cells.plot(result.time, result.log_cells / np.log(10.0), color="tab:blue")
        drug.plot(result.time, result.concentration, color="tab:green")
        toxicity.plot(result.time, result.toxicity, color="tab:orange")
    else:
        cells.plot([0.0], [np.log10(patient.initial_cells)], "o", color="tab:blue")
    cells.axhline(0.0, color="grey", linewidth=0.8, linestyle=":")
    toxicity.axhline(task.toxicity_limit, color="tab:red", linestyle="--", linewidth=1.0)
    if doses:
        drug.vlines([d for d, _ in doses], 0.0, [s for _, s in doses], color="grey", linewidth=2)
    cells.set_ylabel("log10 cells")
    drug.set_ylabel("drug [mg/L]")
    toxicity.set_ylabel("toxicity")
    toxicity.set_xlabel("day")
    toxicity.set_xlim(0.0, task.horizon)
    cells.set_ylim(-4.0, 9.5)
    drug.set_ylim(0.0, None)
    toxicity.set_ylim(0.0, 1.5 * task.toxicity_limit)
    cells.set_title(f"day {elapsed:.1f}: {sum(s for _, s in doses):.2f} mg/L given")
    return figure
