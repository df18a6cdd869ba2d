"""Films of courses: one picture a decision, of the patient who was asked for."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from oncogym.agents.clinical import clinical_agent
from oncogym.cli.main import main
from oncogym.evaluation.course_film import film, save_film
from oncogym.evaluation.harness import resolve

ENV = "oncogym/ChemoDosing-v0"
SHORT = ["--option", "decision_interval=10"]


@pytest.mark.slow
def test_a_film_has_one_picture_a_decision_and_the_end(tmp_path, capsys):
    out = tmp_path / "course.gif"
    assert main(["render", ENV, "every_10_days", "--out", str(out), *SHORT, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"file": str(out), "frames": 7, "patient": 0}
    with Image.open(out) as picture:
        assert picture.n_frames == 7
        durations = []
        for number in range(7):
            picture.seek(number)
            durations.append(picture.info["duration"])
    assert durations[-1] > 4 * durations[0]


@pytest.mark.slow
def test_a_picture_is_the_end_of_the_film():
    problem = resolve(ENV, patients=1, options={"decision_interval": 10.0})
    agent = clinical_agent(problem.treatment, problem.task(1), "every_10_days")
    frames = film(problem, agent)
    (last,) = film(problem, agent, only_last=True)
    np.testing.assert_array_equal(frames[-1], last)
    assert not np.array_equal(frames[0], last)
    assert last.dtype == np.uint8


def test_patients_and_agents_differ(tmp_path):
    problem = resolve("oncogym/ChemoDosingCohort-v0", patients=2)
    pictures = []
    for patient, name in ((0, "daily"), (1, "daily"), (1, "pacing")):
        one = problem.part(slice(patient, patient + 1))
        agent = clinical_agent(one.treatment, one.task(1), name)
        pictures.append(film(one, agent, only_last=True)[0])
    assert not np.array_equal(pictures[0], pictures[1])
    assert not np.array_equal(pictures[1], pictures[2])
    with pytest.raises(ValueError, match="a problem of 2 patients; allowed: 1"):
        film(problem, agent)


def test_what_cannot_be_written_is_refused_before_work(tmp_path, monkeypatch, capsys):
    begun = []
    monkeypatch.setattr("oncogym.cli.render.resolve", lambda *_, **__: begun.append(1))
    monkeypatch.setattr("oncogym.evaluation.course_film.shutil.which", lambda _: None)
    for name, said in (("course.avi", "allowed: .png"), ("course.mp4", "FFmpeg is not installed")):
        assert main(["render", ENV, "daily", "--out", str(tmp_path / name)]) == 2
        assert said in capsys.readouterr().err
    assert not begun
    assert not list(tmp_path.iterdir())
    with pytest.raises(
        ValueError, match="frames_per_second is 0; allowed: an integer from 1 to 1000"
    ):
        save_film([np.zeros((4, 4, 3), np.uint8)], Path(tmp_path / "x.gif"), 0)


def test_who_is_not_there_is_named(capsys, tmp_path):
    out = str(tmp_path / "x.png")
    assert main(["render", ENV, "weekli", "--out", out]) == 2
    assert "weekly" in capsys.readouterr().err
    with pytest.raises(SystemExit) as stop:
        main(["render", ENV, "daily", "--out", out, "--patient", "-1"])
    assert stop.value.code == 2
