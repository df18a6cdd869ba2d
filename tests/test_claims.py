"""What README and docs state, held against the files that they name, to the printed precision."""

from __future__ import annotations

import itertools
import math
import re
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from oncogym.agents import clinical_agent
from oncogym.envs.emt6ro_fractionation import Protocol
from oncogym.evaluation.harness import evaluate, resolve
from oncogym.evaluation.record_searches import gains
from oncogym.evaluation.reproduce.emt6ro.sample_statistics import density, sub_modules
from oncogym.evaluation.reproduce.emt6ro.tables import PEAK
from oncogym.evaluation.statistics import hierarchical_difference

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "evaluation" / "results"
MINUS = "\N{MINUS SIGN}"
TREATMENTS = {
    "chemotherapy": "ChemoDosingCohort-v0",
    "glioblastoma": "GlioblastomaRadiationCohort-v0",
    "proton therapy": "IMPTBeamWeightingCohort-v0",
    "EMT6/Ro": "EMT6RoFractionationCohort-v0",
}
# The version before had no adaptive therapy.
ALL_TREATMENTS = {**TREATMENTS, "adaptive therapy": "AdaptiveTherapyCohort-v0"}
T_975 = 1.959964


@cache
def results(name):
    return pd.read_csv(RESULTS / f"{name}.csv")


def text_of(path):
    """A document in one line, without code blocks."""
    text = re.sub(r"^```.*?^```$", "", (ROOT / path).read_text(encoding="utf-8"), flags=re.M | re.S)
    return " ".join(text.split())


def tables_of(path):
    """The tables of a document: rows of cells, without the line below the heads."""
    lines = (ROOT / path).read_text(encoding="utf-8").splitlines()
    found, rows = [], []
    for line in [*lines, ""]:
        if line.startswith("|"):
            cells = [cell.strip() for cell in line.strip("|").split("|")]
            if not all(set(cell) <= {"-"} for cell in cells):
                rows.append(cells)
        elif rows:
            found.append(rows)
            rows = []
    return found


def table_of(path, *heads):
    """The table whose first row begins with these heads; its other rows."""
    (found,) = [rows for rows in tables_of(path) if rows[0][: len(heads)] == list(heads)]
    return found[1:]


def number(value, digits):
    """A number as it is printed; what rounds to nothing has no sign."""
    text = f"{value:.{digits}f}"
    if float(text) == 0.0:
        text = text.lstrip("-")
    return text.replace("-", MINUS)


def interval(mean, low, high, digits=2):
    return f"{number(mean, digits)} [{number(low, digits)}, {number(high, digits)}]"


def percent(mean, low=None, high=None):
    text = f"{100.0 * mean:.0f} %"
    return text if low is None else f"{text} [{100.0 * low:.0f}, {100.0 * high:.0f}]"


def line_of(table, **keys):
    chosen = results(table)
    for key, value in keys.items():
        chosen = chosen[chosen[key].isna() if value is None else chosen[key] == value]
    assert len(chosen) == 1, (table, keys, len(chosen))
    return chosen.iloc[0]


def cell_of(table, digits=2, **keys):
    line = line_of(table, **keys)
    return interval(line["mean"], line["low"], line["high"], digits)


def score(env, agent):
    return cell_of("benchmark_quick", env=env, agent=agent, metric="normalised_score")


def over_seeds(env):
    """Mean and 95 % interval of the score over training seeds, by Student's t."""
    scores = results("benchmark_seeds").query("env == @env")["normalised_score"]
    half = stats.t.ppf(0.975, len(scores) - 1) * scores.std(ddof=1) / math.sqrt(len(scores))
    return interval(scores.mean(), scores.mean() - half, scores.mean() + half)


# The benchmark


def test_rules_beside_ppo():
    rows = {cells[0]: cells[1:] for cells in table_of("docs/results.md", "cohort", "a rule")}
    assert set(rows) == set(TREATMENTS)
    rules = results("feedback_rules")

    def rule(env, start):
        chosen = rules[(rules["env"] == env) & rules["agent"].str.startswith(start)]
        return number(chosen["score"].max(), 2)

    glioblastoma, chemo = TREATMENTS["glioblastoma"], TREATMENTS["chemotherapy"]
    protons, spheroids = TREATMENTS["proton therapy"], TREATMENTS["EMT6/Ro"]
    greedy = score(glioblastoma, "greedy")
    assert rows["glioblastoma"][1:] == [greedy, score(glioblastoma, "ppo")]
    assert rows["chemotherapy"][1:] == [rule(chemo, "pacing"), score(chemo, "ppo")]
    assert rows["proton therapy"][1:] == [rule(protons, "couch"), score(protons, "ppo")]
    assert rows["EMT6/Ro"][1] == ""
    assert rows["EMT6/Ro"][2].startswith(over_seeds(spheroids))
    ends = over_seeds(spheroids).partition("[")[2].strip("]").replace(MINUS, "-").split(", ")
    assert float(ends[0]) < 0.0 < float(ends[1])
    text = text_of("docs/results.md")
    best = rules[rules["agent"].str.contains("three numbers|couch")]
    success = dict(zip(best["env"], best["success"], strict=True))
    ppo = {env: line_of("benchmark_quick", env=env, agent="ppo", metric="success")["mean"]
           for env in (chemo, protons, glioblastoma)}  # fmt: skip
    greedy = line_of("benchmark_quick", env=glioblastoma, agent="greedy", metric="success")["mean"]
    assert (
        f"{percent(ppo[chemo])} against {percent(success[chemo])} of the patients and "
        f"{percent(ppo[protons])} against {percent(success[protons])}; greedy leads PPO, "
        f"{percent(greedy)} against {percent(ppo[glioblastoma])}"
    ) in text
    assert f"is one, scores {score(protons, 'image_guided')}" in text


# Names in the tables: those of the statistics, and those of the distances to own plans.
AGENTS = {
    "6 x 5 mg/L (score 0)": ("source_uniform", "6 x 5 mg/L, day 5 to 55"),
    "daily, 60 x 0.5 mg/L": ("daily", "Daily, 60 x 0.5 mg/L"),
    "open-loop plan (score 1)": ("plan", "DE open-loop plan"),
    "PPO": ("ppo", "PPO"),
    "30 x 2 Gy (score 0)": ("standard", "30 x 2 Gy, weekend breaks"),
    "greedy at the safe dose": ("greedy", "Greedy at the safe dose"),
    "static robust IMPT (score 0)": ("robust", "Static robust IMPT"),
    "image guidance": ("image_guided", "Robust IMPT, image-guided"),
    "clairvoyant, a bound": ("clairvoyant", "Clairvoyant (errors known)"),
    "5 x 2 Gy (score 0)": ("bmii", ""),
    "two times 5 Gy": ("two_5gy", ""),
}


def test_cohorts_of_the_benchmark():
    env, seen = "", set()
    for cohort, label, sees, found, success, way in table_of("docs/results.md", "cohort", "agent"):
        if cohort:
            name, _, patients = cohort.partition(", ")
            env = TREATMENTS[name]
            seen.add(env)
        agent, own = AGENTS[label]
        line = line_of("benchmark_quick", env=env, agent=agent, metric="normalised_score")
        assert patients == f"{line['patients']} patients"
        fixed = {"(score 0)": "0", "(score 1)": "1"}
        expected = next((v for k, v in fixed.items() if k in label), score(env, agent))
        assert found == expected, (env, agent)
        line = line_of("benchmark_quick", env=env, agent=agent, metric="success")
        assert success == percent(line["mean"], line["low"], line["high"]), (env, agent)
        if env == TREATMENTS["EMT6/Ro"]:
            assert way == ""
            continue
        line = line_of("benchmark_own_plans", env=env, agent=own)
        part = interval(line["part_of_the_way"], line["part_low"], line["part_high"])
        assert way == ("0" if "(score 0)" in label else part), (env, agent)
        assert line["patients"] == 64
        assert sees
    assert seen == set(TREATMENTS.values())


def test_chemotherapy_in_detail():
    names = {
        "no treatment": "no_treatment", "6 x 5 mg/L (the source)": "source_uniform",
        "weekly": "weekly", "daily": "daily", "threshold rule": "threshold",
        "open-loop plan": "plan", "PPO, five seeds": "ppo",
    }  # fmt: skip
    rows = table_of("docs/results.md", "agent", "sees", "log10 kill")
    assert [row[0] for row in rows] == list(names)
    fixed = {"source_uniform": "0", "plan": "1"}
    for label, _, kill, control, days, found in rows:
        agent = names[label]
        for cell, metric, digits in (
            (kill, "log10_kill", 2), (control, "tumour_control", 2), (days, "days_over_limit", 1),
        ):  # fmt: skip
            assert cell == cell_of("benchmark_chemo_outcomes", digits, agent=agent, metric=metric)
        expected = cell_of("benchmark_chemo_outcomes", agent=agent, metric="normalised_score")
        assert found == fixed.get(agent, expected)
    # Another run of the same benchmark: nothing but PPO may differ.
    quick = results("benchmark_quick").query("env == 'ChemoDosingCohort-v0'")
    again = results("benchmark_chemo_outcomes")
    both = quick.merge(again, on=["agent", "metric"], suffixes=("", "_again"))
    fixed = both.query("agent != 'ppo'")
    assert len(fixed) == 16
    for name in ("mean", "low", "high"):
        np.testing.assert_allclose(fixed[name], fixed[f"{name}_again"], atol=2e-4)


def test_sentences_about_the_benchmark():
    text = text_of("docs/results.md")
    gain = cell_of("benchmark_quick", env=TREATMENTS["EMT6/Ro"], agent="plan",
                   metric="gain_over_baseline")  # fmt: skip
    assert f"gains only {gain} of return over 5 x 2 Gy" in text
    seeds = results("benchmark_seeds").query("env == 'EMT6RoFractionationCohort-v0'")
    listed = [number(value, 2) for value in seeds["normalised_score"]]
    assert f"seeds score {', '.join(listed[:-1])} and {listed[-1]}" in text


def test_published_glioblastoma_runs():
    text = text_of("docs/sources.md")
    runs = results("glioblastoma_published_ppo")
    ours, theirs = (runs.query("settings == @name") for name in ("ours", "sb3"))
    assert len(ours) == len(theirs) == 5
    assert (ours["last_days_extended"] == 92).all()
    assert (runs["last_violation_rate"] == 0).all()
    assert f"in {ours['seconds'].min():.0f} to {ours['seconds'].max():.0f} s a seed" in text
    days = [f"{day:.0f}" for day in theirs["last_days_extended"]]
    assert f"policies reach {', '.join(days[:-1])} and {days[-1]} days" in text
    minutes = theirs["seconds"] / 60.0
    assert f"{minutes.min():.0f} to {math.floor(minutes.max())} min a seed" in text
    last = results("glioblastoma_published_ppo_curves").groupby(["settings", "seed"]).tail(1)
    curves = last.set_index(["settings", "seed"])["days_extended"]
    for _, run in runs.iterrows():
        assert curves[run["settings"], run["seed"]] == run["last_days_extended"]


# EMT6/Ro


def pooled(fidelity, runs):
    """Offset and slope of our fitness on the printed one, with 95 % intervals."""
    chosen = results("emt6ro_tables").query("fidelity == @fidelity and runs == @runs")
    lines = chosen.set_index("id")
    offset = lines.loc["pooled_offset"]
    low, high = re.search(r"interval (\S+) to ([^;]+);", offset["note"]).groups()
    slope = lines.loc["pooled_slope"]
    half = T_975 * float(re.search(r"standard error (\S+);", slope["note"])[1])
    value = float(slope["obtained"])
    return (
        interval(float(offset["obtained"]), float(low), float(high), 1),
        interval(value, value - half, value + half),
        lines,
    )


def test_tables_of_the_spheroids():
    text = text_of("docs/sources.md")
    offset, slope, lines = pooled("accelerated", 500)
    assert lines["ok"].astype(str).eq("True").all()
    fitness = lines[lines.index.str.startswith("fitness_")]
    assert len(fitness) == 28
    ours, theirs = (fitness[name].astype(float) for name in ("obtained", "published"))
    most = (ours - theirs).abs().max()
    share = ((ours - theirs).abs() / theirs).max()
    assert f"within {math.ceil(most)} sites ({100 * share:.1f} %)" in text
    assert f"{ours.min():.0f} to {ours.max():.0f}; the offset of {offset} sites" in text
    correlation = float(lines.loc["pooled_correlation", "obtained"])
    assert f"Slope {slope}, correlation {correlation:.3f}" in text
    offset, slope, _ = pooled("exact", 60)
    assert f"the offset is {offset}, the slope {slope}" in text


def test_both_laws_of_the_spheroids():
    text = text_of("docs/sources.md")
    both = results("emt6ro_tables").query("fidelity == 'accelerated - exact'").set_index("id")
    sites = [abs(float(both.loc[f"course_{name}_sites", "obtained"])) for name in ("b1", "ga4")]
    largest = max(
        float(re.search(r"largest (\S+);", both.loc[f"course_{name}_sites", "note"])[1])
        for name in ("b1", "ga4")
    )
    assert f"at most {sites[0]:.0f} and {sites[1]:.0f} sites, within {largest:.1f} standard" in text
    table = results("emt6ro_equality")
    ours = table[table["protocol"].str.startswith("R")]
    assert set(ours["exact_runs"]) == set(ours["m20_runs"]) == {20}
    difference = ours["m20_mean"] - ours["exact_mean"]
    half = T_975 * math.sqrt((ours["m20_sd"] ** 2 + ours["exact_sd"] ** 2).sum() / 20) / len(ours)
    mean = difference.mean()
    assert f"On {len(ours)} random schedules, 20 runs each" in text
    assert f"leaves {interval(mean, mean - half, mean + half, 1)} sites more" in text
    fails = [int((ours[f"m20_{name}_p"] < 0.05).sum()) for name in ("t", "ks")]
    assert f"p < 0.05 fail for {fails[0]} and {fails[1]} of the {len(ours)}" in text


def test_schedules_of_the_sources_program():
    text = text_of("docs/sources.md")
    table = results("emt6ro_equality").merge(
        pd.read_csv(ROOT / "tests/data/emt6ro_random_protocols_reference.csv"),
        left_on="protocol", right_on="id",
    )  # fmt: skip
    assert len(table) == 20
    found = {}
    for law in ("exact", "m20"):
        off = (table[f"{law}_mean"] - table["mean_sites"]).mean()
        square = (
            table[f"{law}_sd"] ** 2 / table[f"{law}_runs"] + table["sd_sites"] ** 2 / table["n"]
        )
        half = T_975 * math.sqrt(square.sum()) / len(table)
        found[law] = interval(off, off - half, off + half, 1)
    assert (
        f"is off by {found['exact']} of about {table['mean_sites'].mean():.0f} sites, the "
        f"compressed one by {found['m20']}"
    ) in text


def test_unseen_tumours():
    text = text_of("docs/sources.md")

    def value(agent, fidelity="accelerated"):
        chosen = results("emt6ro_v0_unseen").query(
            "agent == @agent and fidelity == @fidelity and metric == 'return'"
        )
        assert len(chosen) == 1
        line = chosen.iloc[0]
        return interval(line["mean"], line["low"], line["high"])

    assert f"{value('bmii')} for 5 x 2 Gy, {value('ga4.0_1')} for the source's best" in text
    assert f"{value('de_plan')} for the best open-loop plan (DE" in text
    ppo = [value(f"ppo_{seed}") for seed in range(3)]
    assert f"three seeds {ppo[0]}, {ppo[1]} and {ppo[2]} after" in text
    ppo = [value(f"ppo_{seed}", "exact") for seed in range(3)]
    assert f"DE plan gets {value('de_plan', 'exact')} and PPO {ppo[0]}, {ppo[1]} and {ppo[2]}" in (
        text
    )


# Proton therapy


def test_courses_of_protons():
    names = {
        "static IMPT": "nominal", "single-field uniform dose": "single_field",
        "static robust IMPT": "robust", "robust IMPT, image-guided": "image_guided",
        "clairvoyant, a bound": "clairvoyant",
        **{f"PPO, seed {seed}": f"ppo_seed_{seed}" for seed in range(5)},
    }  # fmt: skip
    rows = table_of("docs/sources.md", "agent", "sees", "target D95 [Gy]")
    assert [row[0] for row in rows] == list(names)
    for label, _, coverage, excess, found in rows:
        agent = names[label]
        assert coverage == cell_of("impt_v0_unseen", 1, agent=agent, metric="d95")
        assert excess == cell_of("impt_v0_unseen", 1, agent=agent, metric="organ_excess")
        fixed = {"robust": "0", "clairvoyant": "1"}
        expected = cell_of("impt_v0_unseen", agent=agent, metric="normalised_score")
        assert found == fixed.get(agent, expected), label
    table = results("impt_replanning").set_index("agent")
    known, again = (table.loc[name] for name in ("clairvoyant", "replanned every fraction"))
    assert again["low"] <= known["score_gy"] <= again["high"]


# Robustness


def missed(agent, when, metric="fitness"):
    return line_of("robustness_emt6ro_missed", agent=agent, when=when, metric=metric,
                   kind="missed" if when else "none")  # fmt: skip


def test_missed_fractions_of_the_spheroids():
    names = {"BMI": "bmi", "BMII": "bmii", "GA4.0-1": "ga4.0_1",
             **{f"PPO, seed {seed}": f"ppo_{seed}" for seed in range(3)}}  # fmt: skip
    order = {"first": 1, "second": 2, "third": 3, "fourth": 4, "last": None}
    last = {"bmi": 8, "bmii": 5}
    agent, count = "", 0
    for course, fitness, which, dose, lost, share in table_of("docs/robustness.md", "course"):
        if course:
            agent = names[next(name for name in sorted(names, key=len, reverse=True)
                               if course.startswith(name))]  # fmt: skip
            assert fitness == number(missed(agent, 0)["plain"], 0)
        line = missed(agent, order[which] or last[agent])
        assert f"{line['dose_lost']:.4g}".startswith(dose.removesuffix(" Gy")) or (
            number(line["dose_lost"], 1) == dose.removesuffix(" Gy")
        )
        assert lost == interval(line["loss"], line["loss_low"], line["loss_high"], 0)
        assert share == number(line["loss"] / line["dose_lost"], 0)
        count += 1
    assert count == 18


def test_sentences_about_missed_fractions():
    text = text_of("docs/robustness.md")
    table = results("robustness_emt6ro_missed").query("metric == 'fitness' and kind == 'missed'")
    after = table[table["agent"].isin(["bmi", "bmii", "ga4.0_1"])].groupby("agent")["mean"].mean()
    assert f"all three stand at {after.min():.0f} to {after.max():.0f}" in text
    ppo = table[table["agent"].str.startswith("ppo") & (table["when"] <= 3)]["mean"]
    assert f"It ends at {ppo.min():.0f} to {ppo.max():.0f}" in text
    apart = [abs(missed(name, 1)["loss"] - missed(name, end)["loss"])
             for name, end in (("bmi", 8), ("bmii", 5))]  # fmt: skip
    assert f"({apart[0]:.0f} and {apart[1]:.0f} sites apart)" in text
    lost = {name: missed(name, 1, "return")["loss"]
            for name in ("bmii", "ga4.0_1", "ppo_0", "ppo_1", "ppo_2")}  # fmt: skip
    ppo = [lost[f"ppo_{seed}"] for seed in range(3)]
    assert (
        f"loses {number(min(ppo), 2).lstrip(MINUS)} to {max(ppo):.2f} for the first fraction, "
        f"against {lost['bmii']:.2f} for BMII and {lost['ga4.0_1']:.2f} for GA4.0-1"
    ) in text


def losses(name, agents, kind, size, metric, when=None):
    """Losses of all agents whose names begin with one of ``agents``."""
    chosen = results(f"robustness_{name}").query("kind == @kind and size == @size")
    chosen = chosen[chosen["metric"].eq(metric) & chosen["agent"].str.startswith(agents)]
    chosen = chosen if when is None else chosen[chosen["when"].isin(when)]
    assert len(chosen)
    return chosen.set_index(["agent", "when"])["loss"]


def span(values, digits):
    return f"{number(values.min(), digits)} to {number(values.max(), digits)}"


def test_other_treatments_under_perturbations():
    text = text_of("docs/robustness.md")
    kill = losses("chemo", "ppo", "missed", 1.0, "log10_kill")
    first = kill.xs(1, level="when")
    assert f"PPO loses {span(first, 2)} decades with the first day, " in text
    assert f"{span(kill.drop(index=1, level='when'), 2)} with any later one" in text
    daily = losses("chemo", "daily", "missed", 1.0, "log10_kill")
    assert f"a missed daily dose at most {daily.max():.1f}" in text
    fixed = losses("chemo", "source_uniform", "missed", 1.0, "log10_kill")
    assert fixed.round().eq(1.0).all()
    noise = losses("chemo", "ppo", "observation_noise", 1.0, "log10_kill")
    assert f"spread's size costs PPO {span(noise, 1)} decades" in text

    short = losses("glioblastoma", "hypofractionated", "missed", 1.0, "quality_days")
    assert set(short.round(1)) == {4.3}
    reacting = losses("glioblastoma", ("greedy", "ppo"), "missed", 1.0, "quality_days")
    assert reacting.max() <= 0.15
    late = losses("glioblastoma", ("greedy", "ppo"), "delayed", 1.0, "return")
    late = late[[when < late.xs(agent)[:].index.max() for agent, when in late.index]]
    assert f"which costs {span(late, 0)} of return for all but their last" in text
    days = losses("glioblastoma", ("greedy", "ppo"), "delayed", 1.0, "quality_days")
    assert days.abs().max() <= 4.0
    errors = losses("glioblastoma", "ppo", "dose_error", 0.2, "return")
    assert f"which keeps a distance, {span(errors, 0)}" in text
    further = losses("glioblastoma", "", "patient_spread", 1.0, "return")
    assert f"returns rise by {span(-further, 0)}" in text

    fixed = ("robust", "image", "clair")
    assert f"static courses {span(losses('impt', fixed, 'missed', 1.0, 'return'), 1)} Gy" in text
    assert f"({span(losses('impt', fixed, 'missed', 1.0, 'd95'), 1)} Gy of target D95)" in text
    ppo = losses("impt", "ppo", "missed", 1.0, "return")
    first, later, last = (ppo.xs(when, level="when") for when in (1, 24, 30))
    assert (
        f"{span(first, 2)} for the first, {span(later, 2)} for the 24th, {span(last, 1)} for the "
        "last"
    ) in text
    assert f"fixed doses {span(losses('impt', fixed, 'dose_bias', 0.1, 'return'), 1)} Gy" in text
    assert f"Gy, PPO {span(losses('impt', 'ppo', 'dose_bias', 0.1, 'return'), 1)}." in text
    doubled = {name: losses("impt", name, "patient_spread", 1.0, "return")
               for name in ("image", "ppo", "clair")}  # fmt: skip
    assert (
        f"image guidance {doubled['image'].item():.1f}, PPO {span(doubled['ppo'], 1)} and the "
        f"clairvoyant bound {doubled['clair'].item():.1f}"
    ) in text


def test_errors_of_doses_of_the_spheroids():
    text = text_of("docs/robustness.md")
    each = losses("emt6ro", "", "dose_error", 0.05, "fitness")
    assert f"of 5 % (each dose) {span(each.clip(lower=0), 0)} sites" in text
    whole = losses("emt6ro", "", "dose_bias", 0.1, "fitness")
    assert f"in all doses of a course {span(whole, 0)}, most for GA4.0-1" in text
    assert whole.idxmax()[0] == "ga4.0_1"


def test_treatments_of_the_examples_patients():
    """What the page says of the 100 patients on whom the examples' agents are scored."""
    found = resolve("oncogym/ChemoDosingCohort-v0", patients=100)
    task = found.task(1)
    agents = {name: clinical_agent(found.treatment, task, name)
              for name in ("no_treatment", "daily")}  # fmt: skip
    means = evaluate("oncogym/ChemoDosingCohort-v0", agents, patients=100)
    means = means.groupby("agent")["return"].mean()
    nothing, daily = (number(means[name], 2) for name in ("no_treatment", "daily"))
    assert f"no treatment returns {nothing} and the daily protocol {daily}" in text_of(
        "docs/other-libraries.md"
    )


# Wording


@pytest.mark.parametrize(
    "path",
    [
        "README.md",
        "docs/results.md",
        "docs/sources.md",
        "docs/other-libraries.md",
        "docs/robustness.md",
        "docs/add-a-treatment.md",
        "docs/bring-your-own-policy.md",
    ],
)
def test_intervals_are_intervals_and_patients_are_they(path):
    text = text_of(path)
    assert "±" not in text
    assert not re.search(r"\bpatient\b[^.|]*\b(he|him|his)\b", text)


WHO_FOUND_IT = {"ga": "genetic algorithm", "cma": "CMA-ES", "spacing": "equal doses"}


def around(value, error, digits=1):
    return interval(value, value - T_975 * error, value + T_975 * error, digits)


def rows_of_the_search_study():
    """By largest dose the source's best protocol and what else was found, the best ones first."""
    rows = []
    for largest, group in results("emt6ro_search_study").groupby("largest"):
        rivals = {*group["m20_rival"].dropna(), *group["exact_rival"].dropna()}
        shown = group[(group["method"] != "printed") | group["name"].isin(rivals)]
        first = f"{largest:g}"
        for _, row in shown.sort_values("m20_mean", ascending=False).iterrows():
            printed = row["method"] == "printed"
            who = f"the source, {row['name']}" if printed else WHO_FOUND_IT[row["method"]]
            seed = "" if np.isnan(row["seed"]) else f", seed {row['seed']:.0f}"
            cells = [first, who + seed, row["protocol"].replace(";", " ")]
            effort = [f"{row['treatments']:,.0f}".replace(",", " "), f"{row['seconds'] / 60:.0f}"]
            cells += ["", ""] if printed else effort
            for law in ("m20", "exact"):
                cells.append(around(row[f"{law}_mean"], row[f"{law}_error"]))
                lead = "" if printed else around(row[f"{law}_lead"], row[f"{law}_lead_error"])
                cells.append(lead)
            rows.append(cells)
            first = ""
    return rows


def test_the_table_of_searches_of_protocols():
    rows = rows_of_the_search_study()
    assert table_of("docs/sources.md", "largest dose [Gy]", "found by") == rows
    table = results("emt6ro_search_study").set_index("name")
    text = text_of("docs/sources.md")
    for name, law in itertools.product(("equal-2", "d2.0-s0"), ("m20", "exact")):
        lead, error = table.loc[name, [f"{law}_lead", f"{law}_lead_error"]]
        assert around(lead, error) in text
    # None surpasses equal doses clearly.
    for name, row in table[table["method"].isin(["ga", "cma"])].iterrows():
        equal = table.loc[f"equal-{row['largest']:g}"]
        for law in ("m20", "exact"):
            ahead = row[f"{law}_mean"] - equal[f"{law}_mean"]
            assert ahead < T_975 * np.hypot(row[f"{law}_error"], equal[f"{law}_error"]), name
    cma, source = table.loc["cma4.0"], table.loc["GA4.0-1"]
    assert abs(cma["m20_lead"]) < T_975 * cma["m20_lead_error"]
    below = table.loc["equal-4", "m20_mean"] - cma["m20_mean"]
    assert below > T_975 * np.hypot(cma["m20_error"], table.loc["equal-4", "m20_error"])
    assert cma["search_score"] > source["m20_mean"] > cma["m20_mean"]  # its own runs flatter it
    genetic = table[table["method"] == "ga"]
    runs = genetic.loc[genetic["largest"] == 4.0, "treatments"].mean()
    assert cma["treatments"] == pytest.approx(runs, rel=0.01)
    pairs = sub_modules([Protocol.parse(doses) for doses in genetic["protocol"]])
    grid = np.linspace(0.0, 4.6, 185), np.linspace(0.0, 40.0, 161)
    dose, wait = density(pairs, *grid).peak
    assert f"at {dose:.2f} Gy after {wait:.1f} h" in text
    assert f"at {PEAK[0]} Gy after {PEAK[1]} h" in text


def test_every_results_file_is_named_by_a_document():
    pages = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    text = "".join(page.read_text(encoding="utf-8") for page in pages)
    named = set(re.findall(r"evaluation/results/(\w+\.csv)(?!\.gz)", text))
    there = {path.name for path in RESULTS.glob("*.csv")}
    assert named <= there
    assert there - named == {"impt_weights.csv"}


# Values with their ends, by file.
ENDS = (
    ("mean", "low", "high"),
    ("normalised_score", "low", "high"),
    ("own_minus_agent", "low", "high"),
    ("part_of_the_way", "part_low", "part_high"),
    ("loss", "loss_low", "loss_high"),
    ("score_gy", "low", "high"),
    ("minus_rival", "low", "high"),
    ("trained_minus_this", "minus_low", "minus_high"),
    ("return", "low", "high"),
    ("difference", "low", "high"),
    ("lead", "lead_low", "lead_high"),
    ("return", "return_low", "return_high"),
    ("cost", "cost_low", "cost_high"),
    ("return_minus", "return_minus_low", "return_minus_high"),
    ("success_minus", "success_minus_low", "success_minus_high"),
)


@cache
def known_intervals():
    """All intervals of the results, as they would be printed with up to two digits."""
    found = set()
    for path in RESULTS.glob("*.csv"):
        table = results(path.stem)
        for names in ENDS:
            if not set(names) <= set(table):
                continue
            for values in table[list(names)].dropna().to_numpy():
                found |= {interval(*values, digits) for digits in range(4)}
                found |= {percent(*values)}
                if names[0] == "success_minus":  # in points
                    found |= {interval(*(100.0 * values), 1)}
                if names[0] in ("loss", "trained_minus_this"):  # what is lost, or gained
                    found |= {interval(*(-values[[0, 2, 1]]), digits) for digits in range(3)}
    for fidelity, runs in (("accelerated", 500), ("exact", 60)):
        found |= set(pooled(fidelity, runs)[:2])
    for env in ALL_TREATMENTS.values():
        found |= {row[0] for row in learners(env).values()}
    for row in rows_of_the_search_study():
        found |= {*row[5:9]}
    return found | {over_seeds(env) for env in TREATMENTS.values()}


# Differences between two lines of a file, and means over seeds, which have tests of their own.
COMPUTED = {
    "2.3 [−0.8, 5.5]", "−1.7 [−4.6, 1.1]", "0.7 [−0.8, 2.2]", "−0.3 [−1.6, 1.1]",  # noqa: RUF001
}  # fmt: skip


@pytest.mark.parametrize(
    "path",
    ["README.md", "docs/results.md", "docs/sources.md", "docs/robustness.md", "docs/feedback.md",
     "docs/sensitivity.md", "docs/wrappers.md", "docs/other-libraries.md"],
)  # fmt: skip
def test_every_interval_is_one_of_the_results(path):
    text = text_of(path)
    stated = re.findall(rf"[{MINUS}-]?[\d.]+(?: %)? \[[{MINUS}-]?[\d.]+, [{MINUS}-]?[\d.]+\]", text)
    assert len(stated) > 5
    unknown = [one for one in stated if one.replace("-", MINUS) not in known_intervals() | COMPUTED]
    assert not unknown


def test_numbers_are_finite():
    for path in RESULTS.glob("*.csv"):
        table = pd.read_csv(path)
        for name in ("mean", "low", "high"):
            if name in table:
                assert np.isfinite(table[name].to_numpy()).all(), path.name
        if {"low", "mean", "high"} <= set(table):
            assert (table["low"] <= table["mean"] + 1e-9).all(), path.name
            assert (table["mean"] <= table["high"] + 1e-9).all(), path.name


# What a clinic can measure


@pytest.mark.parametrize("path", ["docs/results.md", "README.md"])
def test_who_decides_by_what_is_measured(path):
    """Everybody on the page of the results; in the README the bound, the best, PPO, the clinic."""
    rows = table_of(path, "cohort", "who decides", "sees")
    table = results("benchmark_measurable")
    env, shown = "", {}
    for cohort, label, sees, found, success, cost, score_, gap in rows:
        if cohort:
            name, _, patients = cohort.partition(", ")
            env = ALL_TREATMENTS[name]
            assert (
                table[table["env"].str.endswith(env)]["patients"] == int(patients.split()[0])
            ).all()
        shown.setdefault(env, set()).add(label)
        own = table[table["env"].str.endswith(env) & (table["label"] == label)].iloc[0]
        assert sees == own["sees"]
        assert found == number(own["return"], 2)
        assert success == percent(own["success"])
        assert cost == number(own["cost"], 3)
        assert score_ == number(own["score"], 2)
        if gap == "best":
            assert (own["minus_rival"], own["low"], own["high"]) == (0.0, 0.0, 0.0)
        else:
            assert gap == interval(own["minus_rival"], own["low"], own["high"])
    best = table[(table["low"] == 0.0) & (table["high"] == 0.0)]
    assert set(best["sees"]) <= {"measurable", "nothing"}
    assert len(shown) == table["env"].nunique()
    for env, labels in shown.items():
        own = table[table["env"].str.endswith(env)]
        named = own[(own["agent"] == "ppo") | own["score"].isin([0.0, 1.0]) | (own["low"] == 0.0)]
        assert set(named["label"]) <= labels


def test_the_numbers_of_the_overview_are_those_of_the_patients():
    table = results("benchmark_measurable").set_index(["env", "agent"])
    patients = pd.read_csv(RESULTS / "benchmark_measurable_patients.csv.gz")
    for key, own in patients.groupby(["env", "agent"]):
        line = table.loc[key]
        assert own["patient"].nunique() == line["patients"]
        assert own["return"].mean() == pytest.approx(line["return"], abs=2e-5)
        assert own["success"].mean() == pytest.approx(line["success"], abs=2e-5)
        assert own["cost"].mean() == pytest.approx(line["cost"], abs=2e-5)
    # What knowing and measuring are worth.
    prices = results("benchmark_measurable_prices")
    for line in prices.itertuples():
        own = patients[patients["env"] == line.env].pivot_table(
            index="patient", columns="agent", values="return"
        )
        assert (own[line.agent] - own[line.against]).mean() == pytest.approx(line[4], abs=3e-5)
    chemo = patients[patients["env"].str.endswith(TREATMENTS["chemotherapy"])]
    wide = chemo.pivot_table(index="patient", columns="agent", values="return")
    for one, other, said in (
        ("mpc_oracle", "mpc_scenario", "0.19"),
        ("pacing@full", "pacing", "0.10"),
    ):
        assert number((wide[one] - wide[other]).mean(), 2) == said
        assert f"{said} [" in text_of("docs/results.md")


def test_the_times_of_decisions_are_those_that_were_measured():
    measured = results("decision_time")
    arms = ["mpc_nominal", "mpc_scenario", "mpc_oracle"]
    heads = ["cohort", *(f"`{arm}`" for arm in arms)]
    (table,) = (rows for rows in tables_of("docs/feedback.md") if rows[0] == heads)
    assert [row[0] for row in table[1:]] == list(ALL_TREATMENTS)
    for cohort, *cells in table[1:]:
        own = measured[measured["env"].str.endswith(ALL_TREATMENTS[cohort])].set_index("agent")
        found = [own.loc[arm, "seconds"] for arm in arms]
        assert cells == [number(value, 3 if value < 0.1 else 2) for value in found]
    longest = (measured["slowest"] / measured["seconds"])[measured["budget"] > 0].max()
    text = text_of("docs/feedback.md")
    assert f"takes up to {longest:.0f} times as long" in text
    slowest = measured.loc[measured["budget"] == 0, "seconds"].max()
    assert f"the slowest rule takes {slowest:.5f} s" in text


def test_plain_stable_baselines3_did_what_is_printed():
    table = results("plain_sb3")
    names = {f"oncogym/{env}": name for name, env in TREATMENTS.items()}
    told = table_of("docs/other-libraries.md", "cohort", "plain algorithm")
    every = table[table["seed"] == "all"]
    assert len(told) == len(every) == 6
    for cells, (_, row) in zip(told, every.iterrows(), strict=True):
        same = (table["env"] == row["env"]) & (table["algorithm"] == row["algorithm"])
        seeds = table[same & (table["seed"] != "all")]
        assert len(seeds) == row["seeds"] == 3
        assert cells == [
            names[row["env"]],
            row["algorithm"],
            number(row["return"], 2),
            percent(row["success"]),
            number(row["cost"], 2),
            f"{seeds['passes'].sum()} of 3",
            number(row["protocol_return"], 2),
            percent(row["protocol_success"]),
            number(row["protocol_cost"], 2),
            interval(row["difference"], row["low"], row["high"]),
        ]
    seconds = table.loc[table["seed"] != "all", "seconds"]
    span = f"{seconds.min():.0f} to {seconds.max():.0f} s each"
    assert span in text_of("docs/other-libraries.md")


def test_ways_of_learning_without_harm_did_what_is_printed():
    table = results("safe_learning")
    every = table[table["seed"] == "all"]
    told = table_of("docs/wrappers.md", "cohort", "kept safe by")
    names = {f"oncogym/{env}": name for name, env in TREATMENTS.items()}
    assert len(told) == len(every) == 18
    cohort = ""
    for cells, (_, row) in zip(told, every.iterrows(), strict=True):
        cohort = cells[0] or cohort
        knows = ", knows the patient" if row["sees"] == "knows the patient" else ""
        assert [cohort, *cells[1:]] == [
            names[row["env"]],
            row["arm"] + knows,
            "" if math.isnan(row["setting"]) else f"{row['setting']:g}",
            interval(row["return"], row["return_low"], row["return_high"]),
            interval(row["cost"], row["cost_low"], row["cost_high"], 3),
            percent(row["violated"]),
            percent(row["success"]),
        ]
    # Every limit is kept.
    kept = every[every["arm"] == "Lagrangian"]
    assert (kept["cost"] <= kept["setting"]).all()


def test_spaces_of_policies_did_what_is_printed():
    table = results("space_study")
    every = table[table["seed"] == "all"]
    told = table_of("docs/wrappers.md", "cohort", "space")
    names = {name: f"oncogym/{env}" for name, env in TREATMENTS.items()}
    assert len(told) == len(every) == 12
    env = ""
    for cohort, space, value, success, cost, best in told:
        env = names.get(cohort, env)
        row = every[(every["env"] == env) & (every["space"] == space.strip("`"))].iloc[0]
        assert row["seeds"] == 3
        assert value == interval(row["return"], row["low"], row["high"])
        assert success == percent(row["success"])
        assert cost == number(row["cost"], 3)
        assert best in ("", f"`{row['protocol']}` {number(row['protocol_return'], 2)}")
    for env, rows in every.groupby("env"):
        offset = env == names["proton therapy"]
        best = rows.loc[rows["return"].idxmax()]
        assert best["space"] == ("ProtocolOffset" if offset else "plain")
        if offset:  # "by far"
            assert (rows.loc[rows["space"] != best["space"], "high"] < best["low"]).all()


def learners(env):
    """Cells of the table of algorithms in an environment, by algorithm, in the table's order."""
    study = results("algorithm_study")
    study = study[study["env"].str.endswith(env) & (study["seed"] == "all")]
    rows = {row["algorithm"]: row for _, row in study.iterrows()}
    effort, patients = results("benchmark_measurable_effort"), patients_of_benchmark()
    for name, label in (("ppo", "PPO"), ("cma_policy", "CMA-ES policy")):
        own = patients[patients["env"].str.endswith(env) & (patients["agent"] == name)]
        if own.empty or name in rows:  # the study's settings are newer
            continue
        runs = own.sort_values("patient").groupby("training_seed")["return"].apply(list)
        values = np.array(runs.tolist())
        gain = hierarchical_difference(values, np.zeros(values.shape[1]))
        took = effort[
            effort["env"].str.endswith(env) & effort["method"].str.startswith(f"{label},")
        ]
        assert len(took) == len(values)
        rows[name] = {
            "return": gain.estimate, "low": gain.low, "high": gain.high, "seeds": len(values),
            "success": own["success"].mean(), "cost": own["cost"].mean(),
            "decisions": took["simulated_decisions"].mean(), "seconds": took["seconds"].mean(),
            "patients": values.shape[1],
        }  # fmt: skip
    return {
        name: (
            interval(row["return"], row["low"], row["high"]),
            percent(row["success"]),
            f"{row['cost']:.2g}",
            f"{row['decisions']:,.0f}".replace(",", " "),
            f"{row['seconds']:.0f}",
            str(row["seeds"]),
            str(row["patients"]),
        )
        for name, row in sorted(rows.items(), key=lambda item: -item[1]["return"])
    }


@cache
def patients_of_benchmark():
    return pd.read_csv(RESULTS / "benchmark_measurable_patients.csv.gz", low_memory=False)


def test_the_table_of_algorithms():
    study = results("algorithm_study")
    shown = {}
    for cohort, algorithm, *cells in table_of("docs/results.md", "treatment", "algorithm"):
        if cohort:
            env = ALL_TREATMENTS[cohort]
        assert tuple(cells) == learners(env)[algorithm.strip("`")]
        shown.setdefault(env, []).append(algorithm.strip("`"))
    assert shown == {env: list(learners(env)) for env in shown}
    # The strongest simple rule beside them.
    bench, policies = results("benchmark_measurable"), results("policies_256")
    said = text_of("docs/results.md")
    for name, rule in (
        ("adaptive therapy", "proportional"), ("chemotherapy", "capped_pacing"),
        ("glioblastoma", "even_doses"), ("proton therapy", "adapted"),
        ("EMT6/Ro", "equal_fractions"),
    ):  # fmt: skip
        table = policies if rule in ("adapted", "equal_fractions") else bench
        table = table[table["env"].str.endswith(ALL_TREATMENTS[name])].drop_duplicates("agent")
        row = table.set_index("agent").loc[rule]
        assert f"{number(row['return'], 2)} on {name} ({percent(row['success'])}" in said
    assert {f"oncogym/{env}" for env in shown} == set(study["env"])
    # What the searches changed: PPO of the benchmark, which had the values before, and SAC.
    every = study[study["seed"] == "all"].set_index(["algorithm", "env"])
    glioma, adaptive = (
        f"oncogym/{ALL_TREATMENTS[n]}" for n in ("glioblastoma", "adaptive therapy")
    )
    before = bench[bench["agent"] == "ppo"].set_index("env")
    now = every.loc["ppo"]
    free = results("glioblastoma_ppo_without_penalty").set_index("seed")
    one, two = before.loc[glioma], free.loc["all"]
    assert f"returned {number(one['return'], 2)} with a discount of 0.99" in said
    assert f"returns {number(two['return'], 2)}, half a day below the rule" in said
    assert f"({percent(two['success'])} after {percent(one['success'])})" in said
    rule = bench[bench["agent"] == "even_doses"].set_index("env").loc[glioma]
    assert 0.4 < rule["return"] - two["return"] < 0.6
    held = now.loc[glioma]
    assert (
        f"returns {number(held['return'], 2)} with {percent(held['success'])} of successes at the "
        "rule's cost"
    ) in said
    assert held["cost"] == pytest.approx(rule["cost"], rel=0.05)
    one, two = before.loc[adaptive], now.loc[adaptive]
    rule = bench[bench["agent"] == "proportional"].set_index("env").loc[adaptive]
    assert (
        f"from {number(one['return'], 2)} to {number(two['return'], 2)}, level with the rule "
        f"({number(rule['return'], 2)}), with more successes ({percent(two['success'])})"
    ) in said
    assert two["cost"] / rule["cost"] == pytest.approx(0.4, abs=0.05)
    assert two["low"] < rule["return"] < two["high"]
    old, new = every.loc["sac"], every.loc["sbx_sac"]
    assert set(old.index) <= set(new.index)
    new = new.loc[old.index]
    assert (new["return"] > old["return"]).all()
    share = new["seconds"] / old["seconds"]
    assert 0.15 < share.min() < 0.2 < share.max() < 0.5
    sac, tqc = (
        every.loc["sbx_sac", ["return", "success"]],
        every.loc["sbx_tqc", ["return", "success"]],
    )
    chemo = f"oncogym/{ALL_TREATMENTS['chemotherapy']}"
    two, one = tqc.loc[chemo], sac.loc[chemo]
    assert (
        f"({number(two['return'], 2)}, with {percent(two['success'])} of successes for "
        f"{percent(one['success'])})"
    ) in said
    two, one = tqc.loc[glioma], sac.loc[glioma]
    successes = f"{percent(two['success'])} for {percent(one['success'])}"
    assert f"({number(two['return'], 2)}, with {successes})" in said
    protons = f"oncogym/{ALL_TREATMENTS['proton therapy']}"
    two, one = tqc.loc[protons], sac.loc[protons]
    successes = f"{percent(two['success'])} for {percent(one['success'])}"
    assert f"on protons ({number(two['return'], 2)}, with {successes})" in said
    assert f"below it on adaptive therapy ({number(tqc.loc[adaptive, 'return'], 2)})" in said
    gained = f"({number(old['return'][glioma], 2)} to {number(new['return'][glioma], 2)})"
    assert gained in said


def test_memory_in_adaptive_therapy_did_what_is_printed():
    table = results("policies_256")
    own = table[table["trained"] == "recurrent_ppo"].set_index("agent")
    text = text_of("docs/results.md")
    seeds = results("algorithm_study")
    seeds = seeds[seeds["env"].str.contains("Adaptive") & (seeds["seed"] == "all")]
    every = seeds.set_index("algorithm").loc["recurrent_ppo"]
    assert own.loc["recurrent_ppo", "return"] == pytest.approx(every["return"], abs=1e-5)
    assert own.loc["recurrent_ppo", "training_seeds"] == every["seeds"] == 5
    bench = results("benchmark_measurable")
    best = bench[bench["env"].str.contains("Adaptive") & (bench["agent"] == "optimum")].iloc[0]
    share = percent(every["return"] / best["return"])
    assert f"returns {number(every['return'], 2)}, {share} of that optimum" in text
    for agent, sign in (("proportional", 1.0), ("ppo", 1.0), ("cma_policy", -1.0)):
        row = own.loc[agent]
        ends = sorted((sign * row["minus_low"], sign * row["minus_high"]))
        assert interval(sign * row["trained_minus_this"], *ends) in text
    sac = seeds.set_index("algorithm").loc["sac"]
    took = f"{sac['decisions']:,}".replace(",", " ")
    assert f"SAC, with {took} decisions" in text
    assert f"millions, {number(sac['return'], 2)}" in text


def test_the_schedule_of_emt6ro_and_what_learned_from_it_did_what_is_printed():
    table = results("policies_256")
    table = table[table["env"].str.contains("EMT6")]
    text = text_of("docs/results.md")
    schedule = table[table["trained"] == "equal_fractions"].set_index("agent")
    policy = table[table["trained"] == "cma_policy"].set_index("agent")
    equal = schedule.loc["equal_fractions"]
    assert f"returns {number(equal['return'], 2)} on 256 patients" in text
    shown = table[table["agent"].str.match(r"ga|bm")].groupby("agent")["return"].first()
    assert shown.idxmax() == "ga4.0_2"
    better = f"({percent(schedule.loc['ga4.0_2', 'success'])} against {percent(equal['success'])})"
    assert better in text
    for own, agents in (
        (schedule, ("ga4.0_2", "bmii")),
        (policy, ("equal_fractions", "bmii", "plan")),
    ):
        for agent in agents:
            row = own.loc[agent]
            ends = row["minus_low"], row["minus_high"]
            assert interval(row["trained_minus_this"], *ends) in text
    study = results("algorithm_study")
    study = study[study["env"].str.contains("EMT6")]
    seeds = study[(study["algorithm"] == "cma_policy") & (study["seed"] != "all")]
    assert len(seeds) == policy.loc["cma_policy", "training_seeds"] == 5
    assert (seeds["return"] > policy.loc["bmii", "return"]).all()
    assert (seeds["cost"] == 0.0).all()
    assert seeds["return"].mean() == pytest.approx(policy.loc["cma_policy", "return"], abs=1e-5)
    every = study[study["seed"] == "all"].set_index("algorithm")
    assert f"same schedule returns {number(every.loc['ppo', 'return'], 2)};" in text


def test_the_policy_of_glioblastoma_has_no_fewer_successes_than_its_rule():
    table = patients_of_benchmark()
    table = table[table["env"].str.contains("Glio")].sort_values("patient")
    rule = table.loc[table["agent"] == "even_doses", "success"].to_numpy(float)
    runs = table[table["agent"] == "cma_policy"].groupby("training_seed")["success"].apply(list)
    policies = np.array(runs.tolist(), float)
    found = hierarchical_difference(100.0 * policies, 100.0 * rule)
    assert f"{interval(found.estimate, found.low, found.high, 1)} points" in text_of(
        "docs/results.md"
    )
    fewer = (rule.sum() - policies.sum(axis=1)).tolist()
    assert sorted(fewer) == [0.0, 1.0, 1.0, 1.0, 1.0]  # "one less for four seeds of five"


def test_policies_on_all_held_out_patients_did_what_is_printed():
    text = text_of("docs/results.md")
    table = results("policies_1000")
    assert (table["patients"] == 1000).all()
    assert (table["seeds"] == 5).all()
    glioma = table[table["env"].str.contains("Glio")].set_index("rival")

    def gain(row, name, digits, scale=1.0):
        ends = (scale * row[f"{name}_minus{end}"] for end in ("", "_low", "_high"))
        return interval(*ends, digits)

    rule, controller = glioma.loc["even_doses"], glioma.loc["mpc_scenario"]
    assert (
        f"{gain(rule, 'success', 1, 100.0)} points more than the rule, at two thirds of its cost, "
        f"and {gain(rule, 'return', 2)} days above it; {gain(controller, 'return', 2)} above the "
        f"controller for scenarios, with {gain(controller, 'success', 1, 100.0)} points"
    ) in text
    assert rule["cost"] / rule["rival_cost"] == pytest.approx(2 / 3, abs=0.05)
    chemo = table[table["env"].str.contains("Chemo")].set_index("rival")
    controller, rule = chemo.loc["mpc_scenario"], chemo.loc["capped_pacing"]
    assert (
        f"{gain(controller, 'return', 2)} above that controller, with "
        f"{gain(controller, 'success', 1, 100.0)} points more successes and half its cost, and "
        f"{gain(rule, 'return', 2)} above that rule"
    ) in text
    assert controller["cost"] / controller["rival_cost"] == pytest.approx(0.5, abs=0.05)
    # What decided: above every rival of the study by its whole interval.
    assert len(table) == 5
    assert (table["return_minus_low"] > 0.0).all()


def test_policies_with_exact_scans_of_glioblastoma():
    table = results("glioblastoma_exact_scans").set_index("agent")
    bench = results("benchmark_measurable")
    own = bench[bench["env"] == table["env"].iloc[0]].set_index("agent")["return"]
    score = (table["return"] - own["standard"]) / (own["plan"] - own["standard"])
    assert np.allclose(score, table["old_score"], atol=2e-3)
    text = text_of("docs/results.md")
    for agent, digits in (("cma_policy", 2), ("even_doses", 2)):
        assert number(table.loc[agent, "return"], 2) in text
        assert number(table.loc[agent, "old_score"], digits) in text


def test_the_time_of_training_is_that_which_was_measured():
    table = results("training_throughput")
    rows = dict(table_of("docs/running.md", "PPO, chemotherapy, 1024 lanes"))
    assert set(table["env"]) == {"oncogym/ChemoDosingCohort-v0"}
    assert set(table["lanes"]) == {1024}
    shares = {
        "updates of the networks": "share_updates",
        "policy": "share_policy",
        "adapter for Stable-Baselines3": "share_adapter",
        "lanes": "share_lanes",
        "elsewhere": "share_rest",
    }
    for name, column in shares.items():
        ends = {round(100.0 * end) for end in (table[column].min(), table[column].max())}
        assert rows.pop(name) == " to ".join(str(end) for end in sorted(ends)) + " %"
    assert not rows
    rate = table["decisions_per_second"] / 1000.0
    text = text_of("docs/running.md")
    assert f"{rate.min():.0f} to {rate.max():.0f} thousand decisions a second" in text
    saved = table["share_lanes"] + table["share_adapter"]
    assert 0.08 < (saved / (1.0 - saved)).mean() < 0.12  # "a tenth more"


def test_the_table_of_searches():
    found = gains(results("hyperparameter_searches"))
    names = {f"oncogym/{env}": name for name, env in ALL_TREATMENTS.items()}
    assert table_of("docs/results.md", "treatment", "searched") == [
        [
            names[row["env"]],
            f"`{row['algorithm']}`",
            str(row["trials"]),
            str(row["pruned"]),
            f"{row['decisions']:,}".replace(",", " "),
            *(number(row[column], 2) for column in ("tuned", "best", "gain")),
            f"{row['seconds'] / 60:.0f}",
        ]
        for _, row in found.iterrows()
    ]
