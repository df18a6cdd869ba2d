"""MATLAB files: their structs and cells, in either form that MATLAB writes.

SciPy reads the older form. The newer one, for variables above 2 GB, is an HDF5 file, for which h5py
is needed (the extra ``matlab``); what it holds is arranged as SciPy arranges the older one: structs
are records, cells arrays of objects, sparse matrices compressed columns.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import scipy
from numpy.typing import NDArray

from oncogym.core.arrays import Floats
from oncogym.core.json_types import JsonObject
from oncogym.envs.impt_beam_weighting.planning.checks import real_array
from oncogym.envs.impt_beam_weighting.planning.errors import PlanImportError

_HDF5 = b"\x89HDF\r\n\x1a\n"
# Where the signature may stand: at the start, or behind MATLAB's own header.
_OFFSETS = (0, 512, 1024, 2048)


def read_mat(path: Path, names: Mapping[str, Sequence[str] | None]) -> JsonObject:
    """Variables of a MATLAB file.

    Args:
        path: The file.
        names: Names of the variables, with the fields that are wanted of a struct, or ``None`` for
            all; only of an HDF5 file others are left out.

    Raises:
        PlanImportError: The file cannot be read or lacks a variable, or h5py is missing.
        FileNotFoundError: There is no such file.
    """
    try:
        hdf5 = _is_hdf5(path)
        table = _read_hdf5(path, names) if hdf5 else _read_older(path, list(names))
    except (FileNotFoundError, PlanImportError):
        raise
    except NotImplementedError:  # SciPy's word for a header of the newer form
        raise PlanImportError(
            f"{path}: a MATLAB file in HDF5 form that is damaged or incomplete: its header is "
            "there, its content is not"
        ) from None
    except scipy.io.matlab.MatReadError as error:
        raise PlanImportError(f"{path}: no MATLAB file: {error}") from error
    except Exception as error:  # whatever a damaged file makes the reader do
        raise PlanImportError(f"{path}: a damaged MATLAB file: {error}") from error
    for name in names:
        if name not in table:
            raise PlanImportError(f"{path}: the variable {name!r} is missing")
    return table


def _is_hdf5(path: Path) -> bool:
    with path.open("rb") as file:
        start = file.read(_OFFSETS[-1] + len(_HDF5))
    return any(start[at : at + len(_HDF5)] == _HDF5 for at in _OFFSETS)


def _read_older(path: Path, names: list[str]) -> JsonObject:
    with path.open("rb") as file:
        return dict(scipy.io.loadmat(file, variable_names=names))


def _read_hdf5(path: Path, names: Mapping[str, Sequence[str] | None]) -> JsonObject:
    try:
        import h5py
    except ImportError:
        raise PlanImportError(
            f"{path}: a MATLAB file in HDF5 form, which h5py reads: pip install "
            "'oncogym[matlab]', or save it from MATLAB with '-v7'"
        ) from None
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise PlanImportError(
            f"{path}: a MATLAB file in HDF5 form that is damaged or incomplete: {error}"
        ) from error
    with file:
        return {
            name: _value(file, file[name], fields) for name, fields in names.items() if name in file
        }


def _value(file: Any, node: Any, fields: Sequence[str] | None = None) -> Any:
    """A variable, a field or the content of a cell as SciPy would give it."""
    kind = node.attrs.get("MATLAB_class", b"")
    kind = kind.decode() if isinstance(kind, bytes) else str(kind)
    if hasattr(node, "keys"):
        if "MATLAB_sparse" in node.attrs:
            return _sparse(node, kind)
        return _struct(file, node, fields)
    if node.attrs.get("MATLAB_empty", 0):
        shape = tuple(int(n) for n in np.ravel(node[()]))
        return np.zeros(shape, object if kind == "cell" else "U1" if kind == "char" else float)
    if "MATLAB_object_decode" in node.attrs:
        return None  # an object of a class: nothing that is imported here
    # Axes are written in the opposite order.
    content = np.asarray(node[()]).T
    if kind == "cell":
        return _cell(file, content)
    if kind == "char":
        rows = np.atleast_2d(content)
        return np.array(["".join(map(chr, row)) for row in rows.astype(int).tolist()])
    if kind == "logical":
        return content.astype(np.bool_)
    if content.dtype.names == ("real", "imag"):
        return np.asarray(content["real"] + 1j * content["imag"])
    return content


def _cell(file: Any, references: NDArray[Any]) -> NDArray[Any]:
    found = np.empty(references.shape, object)
    for place, one in np.ndenumerate(references):
        found[place] = _value(file, file[one]) if one else np.zeros((0, 0))
    return found


def _struct(file: Any, node: Any, fields: Sequence[str] | None) -> NDArray[Any]:
    names = [name for name in node if fields is None or name in fields]
    found = np.empty((1, 1), [(name, object) for name in names]) if names else np.empty((0, 0))
    for name in names:
        found[name][0, 0] = _value(file, node[name])
    return found


def _sparse(node: Any, kind: str) -> scipy.sparse.csc_matrix:
    starts = np.asarray(node["jc"][()], np.int64)
    rows = int(node.attrs["MATLAB_sparse"])
    if "data" in node:
        entries, places = np.asarray(node["data"][()]), np.asarray(node["ir"][()], np.int64)
    else:
        entries, places = np.zeros(0), np.zeros(0, np.int64)
    if entries.dtype.names == ("real", "imag"):
        entries = entries["real"] + 1j * entries["imag"]
    if kind == "logical":
        entries = entries.astype(np.bool_)
    found = scipy.sparse.csc_matrix((entries, places, starts), (rows, len(starts) - 1))
    found.check_format(full_check=True)
    return found


class Struct:
    """Fields of a MATLAB struct, with errors that say where."""

    def __init__(self, value: Any, where: str) -> None:
        if not is_struct(value):
            raise PlanImportError(f"{where} is no struct")
        self._record = value.flat[0]
        self._where = where

    def __contains__(self, name: str) -> bool:
        return name in self._record.dtype.names

    def __getitem__(self, name: str) -> Any:
        if name not in self:
            raise PlanImportError(f"{self._where}.{name} is missing")
        return self._record[name]

    def get(self, name: str) -> Any:
        """A field, or ``None`` if there is none."""
        return self[name] if name in self else None  # noqa: SIM401

    def filled(self, name: str) -> bool:
        """Whether a field exists and is not empty."""
        return name in self and self[name] is not None and np.size(self[name]) > 0

    def struct(self, name: str) -> Struct:
        """A field that is a struct."""
        return Struct(self[name], f"{self._where}.{name}")

    def vector(self, name: str) -> Floats:
        """A field of real numbers, flat."""
        return real_array(
            self[name], f"{self._where}.{name}", PlanImportError, finite=False
        ).ravel()

    def number(self, name: str) -> float:
        """A field of one real number."""
        values = self.vector(name)
        if values.size != 1:
            raise PlanImportError(f"{self._where}.{name} has {values.size} values; allowed: one")
        return float(values[0])

    def place(self, name: str) -> str:
        """How messages call a field."""
        return f"{self._where}.{name}"

    def error(self, message: str) -> PlanImportError:
        """An error about the struct."""
        return PlanImportError(f"{self._where}{message}")


def is_struct(value: object) -> bool:
    """Whether a value is a struct, not an array of several."""
    return bool(isinstance(value, np.ndarray) and value.dtype.names and value.size == 1)


def cells(value: object) -> list[Any]:
    """Contents of a cell array in MATLAB's order; another value counts as a cell of one."""
    if isinstance(value, np.ndarray) and value.dtype == object:
        return list(value.ravel(order="F"))
    return [value]


def text(value: object, where: str) -> str:
    """A MATLAB text.

    Raises:
        PlanImportError: It is none.
    """
    parts = np.asarray(value, object if value is None else None).ravel()
    if parts.size != 1 or parts.dtype.kind != "U":
        raise PlanImportError(f"{where} is no text")
    return str(parts[0]).strip()
