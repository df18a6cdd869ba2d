"""Figures and reports, which may fail without costing the results."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from oncogym.core.errors import ReportError
from oncogym.core.files import OutputFolderError, write_bytes_atomic

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_DPI = 144


class Drawings:
    """Collects what could not be drawn, so that everything else still is.

    Args:
        folder: Where the results are, for the message.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.failures: list[str] = []

    @contextlib.contextmanager
    def attempt(self, what: str) -> Iterator[None]:
        """Go on after a failure in the block; what the machine failed at is raised at once."""
        try:
            yield
        except (OutputFolderError, OSError, MemoryError):
            raise
        except Exception as error:
            self.failures.append(f"{what} ({type(error).__name__}: {error})")

    def require_all(self) -> None:
        """Raise :class:`ReportError` if anything could not be drawn."""
        if self.failures:
            raise ReportError(
                f"the results are saved in {self._folder}; could not be drawn: "
                + "; ".join(self.failures)
            )


def save_png(figure: Figure, path: Path, *, dpi: int = _DPI) -> None:
    """Write a figure as PNG, whole or not at all; the same figure gives the same bytes.

    Args:
        figure: What is drawn.
        path: The file.
        dpi: Dots per inch.
    """
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=dpi, metadata={"Software": None})
    write_bytes_atomic(path, picture.getvalue())
