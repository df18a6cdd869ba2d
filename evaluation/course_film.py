"""One patient's course under one agent as pictures, one for each decision."""

from __future__ import annotations

import io
import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from numpy.typing import NDArray

from oncogym.agents.agent import Agent
from oncogym.agents.delegate import Delegate
from oncogym.agents.rollout import rollout
from oncogym.core.checks import whole_number
from oncogym.core.files import write_bytes_atomic
from oncogym.envs.problem import Problem
from oncogym.envs.therapy import TherapyTask
from oncogym.envs.threads import limit
from oncogym.evaluation.shards import Shard

Frame = NDArray[np.uint8]
#: Endings of files that can be written, and what each holds.
FORMATS = {".png": "the end of the course", ".gif": "a film", ".mp4": "a film, by FFmpeg"}
# The last picture stays so many times as long as the others.
_LAST = 8


class _Camera(Delegate):
    """An agent that takes a picture before each of its decisions."""

    def __init__(self, agent: Agent, take: Callable[[], None]) -> None:
        super().__init__(agent)
        self._take = take

    def predict(
        self,
        observation: NDArray[Any],
        state: Any = None,
        episode_start: NDArray[np.bool_] | None = None,
        deterministic: bool = False,
    ) -> tuple[NDArray[Any], Any]:
        """Take the picture, and ask."""
        self._take()
        return super().predict(observation, state, episode_start, deterministic)


def film(problem: Problem, agent: Agent, *, only_last: bool = False) -> list[Frame]:
    """Pictures ``(height, width, 3)`` of the course of the problem's only patient.

    Args:
        problem: Treatment and one patient.
        agent: Any agent.
        only_last: The end of the course only.

    Returns:
        One picture before each decision and one at the end.

    Raises:
        ValueError: The problem has not one patient.
    """
    if len(problem.patients) != 1:
        raise ValueError(f"a problem of {len(problem.patients)} patients; allowed: 1")
    shard = Shard.of(problem, agent, slice(0, 1))
    task, frames = shard.task(), list[Frame]()

    def take() -> None:
        frames.append(_draw(problem, task))

    actor = shard.actor(task)
    rollout(
        task,
        actor if only_last else _Camera(actor, take),
        shard.problem.patients,
        shard.problem.seeds,
    )
    take()
    return frames


def _draw(problem: Problem, task: TherapyTask) -> Frame:
    with limit(True):
        canvas = FigureCanvasAgg(problem.treatment.draw(task, 0))
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def check_film(out: Path) -> None:
    """Refuse a file that could not be written in the end.

    Raises:
        ValueError: The ending is none of :data:`FORMATS`, or FFmpeg is not installed.
    """
    if out.suffix.lower() not in FORMATS:
        known = ", ".join(f"{ending} ({holds})" for ending, holds in FORMATS.items())
        raise ValueError(f"{out} ends with {out.suffix!r}; allowed: {known}")
    if out.suffix.lower() == ".mp4" and shutil.which("ffmpeg") is None:
        raise ValueError(f"{out}: FFmpeg is not installed; choose a .gif, or install it")


def save_film(frames: Sequence[Frame], out: Path, frames_per_second: int) -> None:
    """Write pictures as ``.png`` (the last of them), ``.gif`` or ``.mp4``.

    Args:
        frames: Pictures of one size.
        out: The file.
        frames_per_second: Speed of a film, 1 to 1000.

    Raises:
        ValueError: See :func:`check_film`, or the speed is out of range.
    """
    check_film(out)
    whole_number("frames_per_second", frames_per_second, 1, 1000)
    ending = out.suffix.lower()
    if ending == ".mp4":
        write_bytes_atomic(out, _mp4(frames, frames_per_second))
        return
    from PIL import Image

    pictures = [Image.fromarray(frame) for frame in frames]
    stream = io.BytesIO()
    if ending == ".png":
        pictures[-1].save(stream, format="PNG")
    else:
        pause = 1000.0 / frames_per_second
        pauses = [pause] * (len(pictures) - 1) + [_LAST * pause]
        pictures[0].save(
            stream,
            format="GIF",
            save_all=True,
            append_images=pictures[1:],
            duration=[round(one) for one in pauses],
            loop=0,
        )
    write_bytes_atomic(out, stream.getvalue())


def _mp4(frames: Sequence[Frame], frames_per_second: int) -> bytes:
    from matplotlib.animation import FFMpegWriter
    from matplotlib.figure import Figure

    height, width, _ = frames[0].shape
    figure = Figure(figsize=(width / 100.0, height / 100.0), dpi=100)
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
    axes.set_axis_off()
    image = axes.imshow(frames[0])
    writer = FFMpegWriter(fps=frames_per_second)
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "film.mp4"
        with writer.saving(figure, str(place), 100):
            for frame in [*frames, *[frames[-1]] * (_LAST - 1)]:
                image.set_data(frame)
                writer.grab_frame()
        return place.read_bytes()
