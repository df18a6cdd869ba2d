"""The tables that are kept of finished benchmarks."""

from __future__ import annotations

import json

import pandas as pd
import pytest

from oncogym.core.files import OutputFolderError
from oncogym.evaluation.benchmark.folder import open_benchmark, settings_of
from oncogym.evaluation.benchmark.presets import PRESETS
from oncogym.evaluation.record_benchmark import main, record, tables_of

ENVS = ("oncogym/ChemoDosingCohort-v0", "oncogym/AdaptiveTherapyCohort-v0")
TITLES = {"ppo": "PPO", "mpc_oracle": "MPC, patient known", "mpc_scenario": "MPC, scenarios"}


def benchmark(folder, envs, shift=0.0, dirty=False):
    """A folder with what a benchmark writes that is read here: three agents, two patients."""
    open_benchmark(folder)
    (folder / "settings.json").write_text(json.dumps(settings_of(PRESETS["quick"], 0)))
    state = {"commit": "0123456789abcdef", "dirty": dirty}
    (folder / "manifest.json").write_text(json.dumps({"git": state}))
    rows = [{"env": env, "agent": name} for env in envs for name in TITLES]
    pd.DataFrame(rows).to_csv(folder / "summary.csv", index=False)
    overview = pd.DataFrame(rows).assign(patients=2, **{"return": 1.23456789 + shift})
    overview.to_csv(folder / "overview.csv", index=False)
    for env in envs:
        place = folder / env.removeprefix("oncogym/")
        place.mkdir()
        worth = {
            "agent": TITLES["mpc_oracle"],
            "against": TITLES["mpc_scenario"],
            "worth of": "knowing the patient",
            "return": {"estimate": 0.123456, "low": 0.1, "high": 0.2},
        }
        took = {"method": "PPO, seed 0", "simulated decisions": 1000, "seconds": 1.239}
        extras = {
            "What knowing and measuring are worth": [worth],
            "What finding the policies took": [took],
        }
        document = {"labels": TITLES, "extras": extras}
        (place / "comparison.json").write_text(json.dumps(document))
        patients = pd.DataFrame(
            {"agent": list(TITLES) * 2, "patient": [0] * 3 + [1] * 3, "return": 2.0 + shift}
        )
        patients.assign(clipped=0, term_dose=0.5).to_csv(place / "results.csv", index=False)
    return folder


def test_all_tables_have_the_rows_of_the_benchmark(tmp_path):
    folder = benchmark(tmp_path / "one", ENVS)
    out = tmp_path / "kept"
    assert main([str(folder), "--out", str(out), "--name", "all"]) == 0
    agents = pd.read_csv(out / "all.csv", dtype={"version": str})
    assert agents["env"].tolist() == [env for env in ENVS for _ in TITLES]
    assert set(agents["return"]) == {1.23457}
    assert set(agents["version"]) == {"0123456"}
    price = pd.read_csv(out / "all_prices.csv").iloc[0]
    assert (price["agent"], price["against"]) == ("mpc_oracle", "mpc_scenario")
    assert price["return"] == 0.12346
    effort = pd.read_csv(out / "all_effort.csv")
    assert effort["simulated_decisions"].tolist() == [1000, 1000]
    assert effort["seconds"].tolist() == [1.24, 1.24]
    patients = pd.read_csv(out / "all_patients.csv.gz")
    assert list(patients) == ["env", "agent", "patient", "return"]
    assert len(patients) == 2 * 6


def test_rows_of_an_environment_are_replaced_where_they_stood(tmp_path):
    out = tmp_path / "kept"
    record([benchmark(tmp_path / "one", ENVS)], out, "all")
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    record([tmp_path / "one"], out, "all")
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before
    record([benchmark(tmp_path / "two", ENVS[:1], shift=1.0, dirty=True)], out, "all")
    agents = (
        pd.read_csv(out / "all.csv", dtype={"version": str}).drop_duplicates("env").set_index("env")
    )
    assert list(agents.index) == list(ENVS)
    assert agents["return"].tolist() == [2.23457, 1.23457]
    assert agents["version"].tolist() == ["0123456+", "0123456"]
    patients = pd.read_csv(out / "all_patients.csv.gz")
    assert patients.groupby("env", sort=False)["return"].mean().tolist() == [3.0, 2.0]


def test_a_folder_without_a_finished_benchmark_is_refused_before_anything_is_written(tmp_path):
    good = benchmark(tmp_path / "one", ENVS)
    (tmp_path / "empty").mkdir()
    with pytest.raises(OutputFolderError, match="holds no finished benchmark"):
        record([good, tmp_path / "empty"], tmp_path / "kept", "all")
    assert not (tmp_path / "kept").exists()
    begun = benchmark(tmp_path / "begun", ENVS)
    (begun / "summary.csv").unlink()
    with pytest.raises(OutputFolderError, match="holds no finished benchmark"):
        tables_of(begun)
    with pytest.raises(SystemExit):
        main([str(tmp_path / "nowhere"), "--out", str(tmp_path / "kept")])
