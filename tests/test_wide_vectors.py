"""Loops over flat memory with the widest vectors."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from numba import njit, types

from oncogym.envs.emt6ro_fractionation.frame_kernels import BLOCK, new_frames
from oncogym.envs.emt6ro_fractionation.records import FRAME, PAD
from oncogym.envs.wide_vectors import wide_vectors

WISH = '"prefer-vector-width"="512"'


def doubled(values):
    wide_vectors()
    for i in range(values.shape[0]):
        values[i] *= np.float32(2.0)


def code_of(function) -> str:
    """LLVM's text of a function of an array of float32."""
    row = types.Array(types.float32, 1, "C")
    function.compile((row,))
    return function.inspect_llvm((row,))


def test_a_function_asks_for_wide_vectors_and_stays_by_itself():
    code = code_of(njit(forceinline=False)(doubled))
    assert WISH in code
    asking = [line for line in code.splitlines() if line.startswith("attributes") and WISH in line]
    assert asking
    assert all("noinline" in line for line in asking)


def test_a_function_that_asks_for_nothing_has_no_wish():
    assert WISH not in code_of(njit(lambda values: values.sum()))


def test_a_function_compiled_into_others_is_refused():
    with pytest.raises(Exception, match="forceinline=False"):
        code_of(njit(forceinline=True)(doubled))


def test_results_are_those_of_plain_python():
    given = np.linspace(-1.0, 1.0, 37, dtype=np.float32)
    there = given.copy()
    njit(forceinline=False)(doubled)(there)
    assert np.array_equal(there, 2.0 * given)


def test_plain_python_passes_over_it():
    code = "from oncogym.envs.wide_vectors import wide_vectors; print(wide_vectors())"
    done = subprocess.run(
        [sys.executable, "-c", f"import os; os.environ['NUMBA_DISABLE_JIT'] = '1'; {code}"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.strip() == "None"


def test_rows_of_a_frame_begin_with_vectors_and_are_zero():
    for _ in range(5):
        frames = new_frames()
        assert frames.shape == (1,)
        assert frames.ctypes.data % (4 * BLOCK) == 0
        assert not frames.view(np.uint8).any()
    for name, (kind, offset, *_) in FRAME.fields.items():
        assert (offset + 4 * PAD) % (4 * BLOCK) == 0, name
        assert kind.base.itemsize == 4, name
