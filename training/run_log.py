"""Where the scalars of a run go: ``progress.csv`` and TensorBoard."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from torch.utils.tensorboard import SummaryWriter

from oncogym.core.files import CorruptFileError, read_bytes, write_csv_atomic

# Bytes of a table that is read: a million rows.
_LONGEST = 1 << 28


def _number(text: str) -> float:
    return int(text) if text.lstrip("-").isdigit() else float(text)


class ProgressTable:
    """One row for each step at which something was recorded, written to a CSV file on request.

    Args:
        path: The CSV file.
        steps: Rows that the file has beyond this step are dropped: a killed run may have recorded
            what its last checkpoint does not know.

    Raises:
        CorruptFileError: The file is damaged; the message names it.
    """

    def __init__(self, path: Path, steps: int = 0) -> None:
        self._path = path
        self._rows: dict[int, dict[str, Any]] = {}
        if steps and path.is_file():
            self._read(steps)

    def _read(self, last: int) -> None:
        try:
            data = read_bytes(self._path, _LONGEST)
            # As text first: pandas reads numbers but for their last digit.
            frame = pd.read_csv(io.BytesIO(data), dtype=str, keep_default_na=False)
            for row in frame.to_dict("records"):
                step = int(row.pop("steps"))
                if step <= last:
                    self._rows[step] = {str(k): _number(v) for k, v in row.items() if v != ""}
        except CorruptFileError:
            raise
        except (KeyError, OverflowError, TypeError, ValueError) as error:
            raise CorruptFileError(f"{self._path}: not the scalars of a run ({error})") from error

    def write(self, step: int, scalars: Mapping[str, float]) -> None:
        """Add values to the row of ``step``."""
        # Python's numbers: a float32 would be written with fewer digits than it is read back with.
        plain = {
            name: value if isinstance(value, int) else float(value)
            for name, value in scalars.items()
        }
        self._rows.setdefault(step, {}).update(plain)

    def save(self) -> None:
        """Write the file."""
        frame = pd.DataFrame.from_dict(self._rows, orient="index").sort_index()
        write_csv_atomic(self._path, frame.rename_axis("steps").reset_index())


class TensorBoard:
    """TensorBoard scalars.

    Args:
        folder: Folder of the event files.
        steps: Values beyond this step, left by a killed run, are hidden.
    """

    def __init__(self, folder: Path, steps: int = 0) -> None:
        self._writer = SummaryWriter(str(folder), purge_step=steps + 1 if steps else None)

    def write(self, step: int, scalars: Mapping[str, float]) -> None:
        """Add scalars at ``step``."""
        for name, value in scalars.items():
            self._writer.add_scalar(name, value, step)
        self._writer.flush()

    def close(self) -> None:
        """Close the event file."""
        self._writer.close()
