"""Every constant of the models says where it comes from."""

from __future__ import annotations

import ast
import importlib
from pathlib import Path

import pytest

from oncogym.envs import get_treatment, treatments
from oncogym.envs.provenance import Constant
from oncogym.evaluation.report.provenance_table import provenance_section

OWN = [t.name for t in treatments().values() if t.variants[0].id.startswith("oncogym/")]


def public_numbers(module):
    """Names of the public floating-point numbers that a module assigns."""
    tree = ast.parse(Path(module.__file__).read_text(encoding="utf-8"))
    return {
        node.targets[0].id
        for node in tree.body
        if isinstance(node, ast.Assign)
        and isinstance(node.targets[0], ast.Name)
        and not node.targets[0].id.startswith("_")
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, float)
    }


@pytest.mark.parametrize("name", OWN)
def test_no_constant_is_without_an_entry(name):
    treatment = get_treatment(name)
    entries = [one.name for one in treatment.provenance]
    assert len(entries) == len(set(entries))
    missing = set(treatment.patient.FIELDS) - set(entries)
    package = importlib.import_module(f"oncogym.envs.{name}.provenance")
    # A default of the patient has the entry of the parameter.
    nominal = {one.upper() for one in treatment.patient.FIELDS}
    for module in package.MODULES:
        missing |= public_numbers(module) - set(entries) - nominal
    assert not missing


@pytest.mark.parametrize("name", OWN)
def test_entries_read_the_code(name):
    treatment = get_treatment(name)
    nominal = treatment.patient()
    entries = {one.name: one for one in treatment.provenance}
    for field in treatment.patient.FIELDS:
        assert entries[field].value == getattr(nominal, field)
        assert entries[field].allowed == treatment.patient.RANGES[field]
    section = provenance_section(treatment)
    for one in treatment.provenance:
        assert f"| `{one.name}` | {one.value:g} |" in section


def test_a_number_without_an_entry_is_found(tmp_path):
    path = tmp_path / "own.py"
    path.write_text("RATE = 0.5\n_HIDDEN = 1.0\nCOUNT = 3\n", encoding="utf-8")
    module = type("Module", (), {"__file__": str(path)})
    assert public_numbers(module) == {"RATE"}


def test_an_unknown_kind_is_refused():
    with pytest.raises(ValueError, match="kind"):
        Constant("rate", 1.0, "1/d", "guessed", "", "")
