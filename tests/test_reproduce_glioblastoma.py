"""The glioblastoma source: its checks, figures, transcription and timings."""

from __future__ import annotations

import argparse
import json

import numpy as np
import pytest
from gymnasium.spaces import Box
from matplotlib.figure import Figure
from scipy import stats

from oncogym.agents.learned import PolicyMismatchError
from oncogym.agents.policy_files import Policy, write_policy
from oncogym.cli import reproduce as command
from oncogym.cli import speed as speed_command
from oncogym.core.files import CorruptFileError
from oncogym.envs.glioblastoma_radiation.model import safe_dose, simulate, with_weekend_breaks
from oncogym.evaluation.reproduce import checks as generic
from oncogym.evaluation.reproduce.glioblastoma import figures as glioblastoma_figures
from oncogym.evaluation.reproduce.glioblastoma import source as glioblastoma
from oncogym.evaluation.reproduce.glioblastoma import speed as glioblastoma_speed
from oncogym.evaluation.reproduce.glioblastoma import transcription as transcription

FIELDS = ["id", "quantity", "published", "obtained", "tolerance", "ok", "note"]
WEEKENDS = with_weekend_breaks(glioblastoma.PAPER)
TWO_PLANS = {"None": np.zeros(1), "Paper": glioblastoma.PAPER}


def run(module, *arguments: str) -> int:
    parser = argparse.ArgumentParser()
    module.add_parser(parser.add_subparsers())
    args = parser.parse_args(arguments)
    return args.run(args)


@pytest.fixture(scope="module")
def found() -> dict[str, generic.Check]:
    checks = glioblastoma.checks(0)
    assert len({check.id for check in checks}) == len(checks)
    return {check.id: check for check in checks}


@pytest.fixture
def make_policy(tmp_path):
    """Writes the folder of a policy that always gives the same dose."""

    def make(dose: float, name: str = "run", env_id: str = glioblastoma.ENV_ID, **changes):
        options = changes.pop("options", {"formulation": "published"})
        policy = Policy(
            env_id=env_id,
            treatment=changes.pop("treatment", "glioblastoma_radiation"),
            options=options,
            observation_space=Box(0.0, 1e5, (201,), np.float32),
            action_space=Box(0.0, 1.0, (1,), np.float32),
            weights=(np.zeros((201, 1), np.float32),),
            biases=(np.array([dose / 61.2], np.float32),),
            log_std=np.zeros(1, np.float32),
        )
        folder = tmp_path / name
        (folder / "policy").mkdir(parents=True)
        write_policy(folder / "policy", policy)
        return folder

    return make


def progress(folder, steps, returns, name="eval/return"):
    folder.mkdir(exist_ok=True)
    lines = [f"{step},{value},\n{step + 1},,5\n" for step, value in zip(steps, returns)]  # noqa: B905
    (folder / "progress.csv").write_text(f"steps,{name},other\n" + "".join(lines))
    return folder


def test_every_check_holds(found):
    assert {name: check for name, check in found.items() if not check.ok} == {}


def test_the_printed_table_is_met_to_its_last_digit(found):
    for name, days in (("open_loop", 0.0), ("paper", 67.0), ("paper_weekends", 68.0)):
        for quantity, printed in (("days", days), ("reward", days), ("violations", 0.0)):
            check = found[f"{name}_{quantity}"]
            assert (check.published, check.obtained, check.tolerance) == (printed, printed, 0.05)
    printed_deaths = {"growth_days": 213, "open_loop_death": 363, "paper_death": 430}
    for name, day in {**printed_deaths, "paper_weekends_death": 431}.items():
        assert (found[name].obtained, found[name].tolerance) == (day, 0.0)


def test_the_agents_rows_allow_for_the_reading_and_no_more(found):
    assert (found["agent_days"].obtained, found["agent_days"].tolerance) == (90.0, 0.05)
    weekends = found["agent_weekends_days"]
    assert (weekends.published, weekends.obtained) == (90.0, 91.0)
    assert weekends.tolerance == 1.05
    assert "90 to 91 days" in weekends.note
    assert "oncogym train" in weekends.note


def test_known_plans_and_converged_numbers(found):
    known = {"greedy": 92, "best_daily": 93, "best_any_wait": 114, "single_dose": 40}
    for name, days in known.items():
        assert found[f"{name}_days"].obtained == days
        assert found[f"{name}_days"].note.startswith("not printed")
    rows = [name for name, *_ in glioblastoma._MODELS]
    assert len(rows) == 10
    for row in rows:
        for quantity in ("detection", "death", "paper", "paper_weekends", "agent"):
            assert found[f"{row}_{quantity}"].tolerance == 0.05
    assert found["two_implementations"].obtained > 0.0


def test_readings_are_whole_schedules_within_the_error(monkeypatch):
    seen = []
    right = glioblastoma.simulate_batch

    def spy(plans, **options):
        seen.append(plans)
        return right(plans, **options)

    monkeypatch.setattr(glioblastoma, "simulate_batch", spy)
    doses = glioblastoma.agent_doses(True)
    days = glioblastoma._reading_range(doses[:-1], True)
    plans = seen[0]
    assert plans.shape == (256, 9)
    assert len(days) == len(np.unique(plans, axis=0)) == 256
    np.testing.assert_allclose(plans.sum(axis=1), 61.2)
    np.testing.assert_allclose(np.abs(plans - doses)[:, :-1], 0.03)


def test_a_wrong_model_fails(monkeypatch):
    right = glioblastoma.simulate

    def weaker(doses, **options):
        return right(0.99 * np.asarray(doses), **options)

    monkeypatch.setattr(glioblastoma, "simulate", weaker)
    row = next(row for row in glioblastoma._MODELS if row[0] == "interpolated")
    verdicts = {check.id: check.ok for check in glioblastoma._model(*row)}
    assert verdicts["interpolated_death"]
    assert not verdicts["interpolated_paper"]
    assert not verdicts["interpolated_agent"]
    assert not glioblastoma._two_implementations()[0].ok


def test_a_course_that_reaches_the_horizon_is_no_agreement(monkeypatch):
    row = next(row for row in glioblastoma._MODELS if row[0] == "grid")
    early = {**row[2], "horizon": 440}
    assert not any(check.ok for check in glioblastoma._model(row[0], row[1], early, row[3]))


def test_transcription_meets_the_published_code():
    # Days, radii and densities measured on the published code: sum of c/K, c(35 mm)/K, c(60 mm)/K.
    measured = {
        213: (15, 28, 21.55436221907355, 0.023132166850113867, 2.8320503172101914e-08),
        222: (13, 27, 20.202506515187878, 0.02078539269319116, 8.360590374861454e-08),
        259: (5, 23, 14.750219525176556, 0.012688504850086501, 2.1540099035560586e-06),
        431: (35, 50, 42.588915334162515, 0.8014388803890525, 0.01624692294523713),
    }
    episode = transcription.episode(WEEKENDS)
    assert (episode.growth_days, episode.therapy_days, episode.death_day) == (213, 46, 431)
    for day, (t1, t2, total, inner, outer) in measured.items():
        row = episode.density[day]
        assert (transcription.radius(row, 0.8), transcription.radius(row, 0.16)) == (t1, t2)
        share = row / transcription.CAPACITY
        np.testing.assert_allclose([share.sum(), share[35], share[60]], [total, inner, outer],
                                   rtol=1e-12)  # fmt: skip


@pytest.mark.parametrize("doses", [np.zeros(3), [61.2], [30.6, 30.6], [0.0, 0.0, 7.0, 0.0, 9.0]])
def test_transcription_and_kernel_agree(doses):
    plain, ours = transcription.episode(doses), simulate(doses, density=True)
    assert (plain.death_day, plain.therapy_days) == (ours.death_day, ours.therapy_days)
    rows = plain.density[plain.growth_days :]
    seen = rows > 1e-12 * transcription.CAPACITY
    np.testing.assert_allclose(ours.density[seen], rows[seen], rtol=1e-11)


def test_transcription_discards_a_small_rest():
    episode = transcription.episode([7.65] * 7 + [7.56, 5.0])
    assert episode.therapy_days == 8
    assert transcription.radius(np.zeros(5), 0.8) == -1.0


@pytest.mark.slow
def test_policies_stand_beside_the_source(make_policy, capsys):
    first, second = make_policy(7.5, "a"), make_policy(1.8, "b")
    assert run(command, "reproduce", "glioblastoma", "--json", "--policy", str(first)) == 0
    document = json.loads(capsys.readouterr().out)
    assert all(list(check) == FIELDS for check in document["checks"])
    found = {check["id"]: check for check in document["checks"]}
    expected = glioblastoma.play(glioblastoma.daily([7.5] * 9))
    assert found["policy_days"]["obtained"] == expected.days >= 90.0
    assert found["policy_violations"]["obtained"] == 0.0
    assert "oncogym train" not in found["agent_days"]["note"]
    assert document["manifest"]["settings"]["policy"] == [str(first)]

    assert run(command, "reproduce", "glioblastoma", "--json", "--policy", str(first),
               "--policy", str(second)) == 1  # fmt: skip
    both = {check["id"]: check for check in json.loads(capsys.readouterr().out)["checks"]}
    assert both["policy_days"]["obtained"] == pytest.approx(0.5 * (expected.days + 67.0))
    assert not both["policy_days"]["ok"]
    assert both["policy_weekends_days"]["published"] == 90.0
    assert f"{second}: 68 d" in both["policy_weekends_days"]["note"]


def test_a_policy_that_breaks_the_limit_does_not_hold(make_policy):
    source = glioblastoma.with_policies([make_policy(9.0)])
    found = {check.id: check for check in source.checks(0)}
    # Only the first doses are above the limit; the field shrinks and the limit grows.
    assert 0.0 < found["policy_violations"].obtained < 100.0
    assert not found["policy_violations"].ok
    assert not found["policy_reward"].ok


def test_policies_of_other_problems_are_refused(make_policy, tmp_path):
    with pytest.raises(PolicyMismatchError, match="weekends"):
        glioblastoma.with_policies(
            [make_policy(2.0, options={"formulation": "published", "weekends": True})]
        )
    with pytest.raises(PolicyMismatchError, match="treatment"):
        glioblastoma.with_policies([make_policy(2.0, "other", treatment="chemo_dosing")])
    with pytest.raises(FileNotFoundError):
        run(command, "reproduce", "glioblastoma", "--policy", str(tmp_path / "nothing"))
    with pytest.raises(ValueError, match="nothing to compare a policy with"):
        run(command, "reproduce", "chemo", "--policy", str(tmp_path))


def test_a_note_shared_by_neighbours_is_printed_once():
    notes = ("same", "same", "other", "", "same")
    rows = [generic.compare(f"n{i}", "q", 1.0, 1.0, 0.1, note) for i, note in enumerate(notes)]
    lines = [line.strip() for line in generic.table(rows).splitlines()]
    assert [line for line in lines if line in notes] == ["same", "other", "same"]
    assert lines[3] == "same"


def test_plans_of_the_figures_are_whole_courses():
    for label, doses in glioblastoma.plans().items():
        assert doses.sum() == pytest.approx(0.0 if label == "No treatment" else 61.2, abs=0.1)
    greedy = simulate(glioblastoma.plans()["Greedy"])
    given = greedy.dose > 0.0
    assert (greedy.dose[given][:-1] > 0.999 * safe_dose(greedy.field_radius[given][:-1])).all()


@pytest.mark.parametrize(
    ("make", "labels"),
    [
        (glioblastoma_figures.schedules, {"dose [Gy]", "day of therapy [d]"}),
        (
            glioblastoma_figures.densities,
            {
                "cell density / carrying capacity [-]",
                "distance from the centre [mm]",
                "time from the start of growth [d]",
            },
        ),
        (glioblastoma_figures.survival, {"T1 radius [mm]", "time from the start of growth [d]"}),
    ],
)
def test_figures_state_their_units(make, labels):
    figure = make(TWO_PLANS)
    assert isinstance(figure, Figure)
    shown = {text for axis in figure.axes for text in (axis.get_xlabel(), axis.get_ylabel())}
    assert labels <= shown | {figure.get_supxlabel(), figure.get_supylabel()}
    for count in (0, 9):
        with pytest.raises(ValueError, match="1 to 8"):
            make({str(number): np.zeros(1) for number in range(count)})


def test_smooth_radius_lies_between_the_cells():
    course = simulate(glioblastoma.PAPER, density=True)
    radius = glioblastoma_figures._smooth_radius(course)
    cells = np.maximum(course.t1_radius, 0.0)
    assert ((radius >= cells) & (radius < cells + 1.0)).all()
    hidden = simulate(glioblastoma.agent_doses(False), density=True)
    assert (glioblastoma_figures._smooth_radius(hidden)[hidden.t1_radius < 0.0] == 0.0).all()


@pytest.mark.slow
def test_figures_are_saved_with_the_curve_of_the_runs(make_policy, tmp_path):
    folder = make_policy(7.5)
    progress(folder, [1000, 2000], [1.0, 80.0])
    out = tmp_path / "out"
    out.mkdir()
    source = glioblastoma.with_policies([folder])
    names = sorted(path.name for path in source.figures(out, 0))
    assert names == ["densities.png", "schedules.png", "survival.png", "training_curve.png"]
    for name in names:
        assert (out / name).read_bytes().startswith(b"\x89PNG")
    assert sorted(path.name for path in out.iterdir()) == names


def test_training_curve_is_mean_and_students_interval(tmp_path):
    runs = [
        progress(tmp_path / "a", [100, 200, 300], [0.0, 10.0, 20.0]),
        progress(tmp_path / "b", [100, 300], [4.0, 24.0]),
        progress(tmp_path / "c", [50, 100, 200, 300, 400], [0.0, 2.0, 18.0, 40.0, 41.0]),
    ]
    axis = glioblastoma_figures.training_curve(runs).axes[0]
    line = next(one for one in axis.lines if one.get_label() == "mean of 3 seeds")
    np.testing.assert_allclose(line.get_xdata(), [100, 200, 300])
    values = np.array([[0.0, 10.0, 20.0], [4.0, 14.0, 24.0], [2.0, 18.0, 40.0]])
    np.testing.assert_allclose(line.get_ydata(), values.mean(axis=0))
    low, high = stats.t.interval(0.95, 2, values.mean(axis=0), stats.sem(values, axis=0))
    band = axis.collections[0].get_paths()[0].vertices
    for step, ends in zip((100, 200, 300), zip(low, high, strict=True), strict=True):
        at = band[band[:, 0] == step, 1]
        np.testing.assert_allclose([at.min(), at.max()], ends)
    assert "[d]" in axis.get_ylabel()


def test_training_curve_of_one_run_and_bad_runs(tmp_path):
    one = progress(tmp_path / "a", [100, 200], [0.0, 10.0])
    axis = glioblastoma_figures.training_curve([one], published=False).axes[0]
    assert len(axis.collections) == 0
    assert len(axis.lines) == 1
    later = progress(tmp_path / "b", [300], [0.0])
    with pytest.raises(ValueError, match="all runs"):
        glioblastoma_figures.training_curve([one, later])
    with pytest.raises(ValueError, match="at least one"):
        glioblastoma_figures.training_curve([])
    with pytest.raises(CorruptFileError, match="eval/nothing"):
        glioblastoma_figures.training_curve([one], "eval/nothing")
    with pytest.raises(FileNotFoundError):
        glioblastoma_figures.training_curve([tmp_path / "nowhere"])


@pytest.mark.slow
def test_speed_reports_every_figure(capsys):
    assert run(speed_command, "speed", "glioblastoma", "--json", "--seconds", "0.01") == 0
    rows = json.loads(capsys.readouterr().out)["measurements"]
    assert all(0.0 < row["low"] <= row["figure"] <= row["high"] for row in rows)
    targets = {row["target"]: row["unit"] for row in rows if row["target"] is not None}
    assert targets == {
        45_000.0: "episodes/s",
        50_000.0: "env-steps/s",
        500_000.0: "agent steps/s",
    }
    assert [row["unit"] for row in rows[:6]] == ["episodes/s"] * 4 + ["x"] * 2


def test_speed_refuses_to_compare_different_results(monkeypatch):
    monkeypatch.setattr(transcription, "PROLIFERATION", 0.031)
    with pytest.raises(RuntimeError, match="disagree"):
        glioblastoma_speed._courses(0.001)
