"""Options are checked by the signature that they are meant for."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import pytest

from oncogym.cli.main import main
from oncogym.envs import treatments
from oncogym.envs.option_types import describe, fits, parameter_types
from oncogym.envs.options import resolve_options
from oncogym.evaluation.harness import evaluate, resolve

CHEMO = "oncogym/ChemoDosing-v0"


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        (int, [0, 3, 3.0, np.int32(2)], [True, "3", 3.5, None, [], 2**63, 10**400]),
        (float, [0, 0.5, math.inf, np.float32(1)], [math.nan, True, "1", None, [], {}, 10**400]),
        (bool, [True, False, np.bool_(True)], [0, 1, "true", None]),
        (str, ["", "x"], [1, None, []]),
        (int | None, [1, None], ["1", False]),
        (Literal["a", 1], ["a", 1], ["b", True, None]),
        (Mapping[str, float], [{}, {"a": 1}], [[], 5, {"a": "b"}, {1: 1.0}, None]),
        (Sequence[int], [[], [1, 2], (1,)], ["12", [1.5], {}, None]),
        (list[str], [["a"]], [[1], "a"]),
        (Mapping, [{}, {1: 2}], [[]]),
        (None, [None], [0]),
        (Any, [1, "x", None], []),
        (np.ndarray, [1], []),
    ],
    ids=str,
)
def test_values_fit_their_annotation(kind, good, bad):
    assert [value for value in good if not fits(value, kind)] == []
    assert [value for value in bad if fits(value, kind)] == []
    assert describe(kind)


def test_descriptions():
    assert describe(Mapping[str, float] | None) == "a mapping of text to a number or null"
    assert describe(list[int]) == "a list of an integer"


def test_annotations_that_cannot_be_read_are_no_error():
    def odd(x: Nowhere) -> None: ...  # noqa: F821

    assert parameter_types(odd) == {}


def test_every_option_of_every_environment_refuses_another_type():
    for treatment in treatments().values():
        variant = treatment.variants[0]
        types = parameter_types(treatment.task)
        names = [name for name in types if name not in ("num_lanes", "return", "options")]
        for name in names:
            with pytest.raises(ValueError, match=f"option '{name}' of .* allowed: "):
                resolve_options(treatment, variant, {name: [[]]})


def test_a_patient_of_ones_own_is_treated(capsys):
    command = ["evaluate", CHEMO, "daily", "--baseline", "daily", "--patients", "3", "--json"]

    def run(*more):
        assert main([*command, *more]) == 0
        return json.loads(capsys.readouterr().out)

    own, usual = run("--option", 'patient={"emax": 0.5}'), run()
    assert (own["cohort"], own["patients"]) == ("patient", 3)
    assert own["summary"] != usual["summary"]
    assert run("--option", "cohort=held_out") == run("--cohort", "held_out")
    assert run("--option", "cohort=held_out", "--cohort", "held_out")["cohort"] == "held_out"
    problem = resolve(CHEMO, patients=3, options={"patient": {"emax": 0.5}})
    column = problem.treatment.patient.FIELDS.index("emax")
    np.testing.assert_array_equal(problem.patients[:, column], 0.5)
    nominal = resolve(CHEMO, patients=3).patients
    np.testing.assert_array_equal(
        np.delete(problem.patients, column, 1), np.delete(nominal, column, 1)
    )


def test_every_command_treats_the_patient_that_it_is_given(capsys):
    patient = ["--option", 'patient={"emax": 0.5}']
    search = ["optimize", "ChemoDosingPublished-v0", "--budget", "400", "--json"]
    assert main([*search, *patient]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["cohort"], document["patients"]) == ("patient", 1)
    assert main(search) == 0
    assert json.loads(capsys.readouterr().out)["score"] != document["score"]
    study = ["robustness", CHEMO, "daily", "--patients", "2", "--perturb", "missed@1", "--json"]
    assert main([*study, *patient]) == 0
    assert json.loads(capsys.readouterr().out)["cohort"] == "patient"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"patients": 10**12}, "patients is 1000000000000; allowed: an integer from 1 to 1000000"),
        ({"patients": 0}, "patients is 0"),
        ({"seed": 2**64 - 1}, "seed is 18446744073709551615"),
        ({"seed": -1}, "seed is -1"),
        ({"options": {"max_episode_steps": 3}}, "'max_episode_steps' is 3; allowed: in training"),
        ({"options": {"patient": {"emax": -1.0}}}, "emax is -1.0"),
        ({"options": {"patient": {}}, "cohort": "nominal"}, "the cohort is 'nominal'"),
        ({"options": {"cohort": "nominal"}, "cohort": "held_out"}, "option 'cohort' is 'nominal'"),
    ],
)
def test_whom_to_treat_is_checked_before_memory_is_touched(arguments, message):
    with pytest.raises(ValueError, match=message):
        evaluate(CHEMO, {}, **arguments)
