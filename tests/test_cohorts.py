"""Cohorts have the spreads that the pages of the environments state, and share no patient."""

from __future__ import annotations

import math

import numpy as np
import pytest

from oncogym.envs import get_treatment, treatments

COHORTS = {
    treatment.name: next(v for v in treatment.variants if v.benchmark)
    for treatment in treatments().values()
    if any(v.id.startswith("oncogym/") and v.benchmark for v in treatment.variants)
}
by_treatment = pytest.mark.parametrize("name", sorted(COHORTS))


def draws(name, cohort, field, count):
    """The values ``(count,)`` of a field in a cohort of a treatment."""
    treatment = get_treatment(name)
    rows = treatment.cohorts[cohort].patients(count)
    return rows[:, treatment.patient.FIELDS.index(field)]


def assert_lognormal(values, median, variation):
    """Moments of the logarithm within four standard errors."""
    log = np.log(values)
    sigma = math.sqrt(math.log(1.0 + variation**2))
    assert log.mean() == pytest.approx(math.log(median), abs=4.0 * sigma / math.sqrt(len(log)))
    assert log.std() == pytest.approx(sigma, rel=4.0 / math.sqrt(2.0 * len(log)))
    third = ((log - log.mean()) ** 3).mean() / sigma**3
    assert abs(third) < 4.0 * math.sqrt(6.0 / len(log))


SIZES = {"population": 4000, "validation": 256, "held_out": 1000}
every_cohort = pytest.mark.parametrize("cohort", sorted(SIZES))


@every_cohort
def test_chemotherapy_patients_have_the_documented_spread(cohort):
    medians = {"elimination_rate": (0.5, 0.3), "ec50": (1.0, 0.4), "emax": (0.8, 0.2),
               "growth_rate": (0.03, 0.3), "toxicity_recovery": (0.15, 0.3)}  # fmt: skip
    nominal = get_treatment("chemo_dosing").patient()
    for field in nominal.FIELDS:
        values = draws("chemo_dosing", cohort, field, SIZES[cohort])
        if field in medians:
            median, variation = medians.pop(field)
            assert median == getattr(nominal, field)
            assert_lognormal(values, median, variation)
        else:
            assert (values == getattr(nominal, field)).all()
    assert not medians


@every_cohort
def test_glioblastoma_patients_have_the_documented_ranges(cohort):
    ranges = {"diffusion": (0.1, 0.4), "proliferation": (0.015, 0.06), "alpha": (0.02, 0.08)}
    nominal = get_treatment("glioblastoma_radiation").patient()
    for field in nominal.FIELDS:
        values = draws("glioblastoma_radiation", cohort, field, SIZES[cohort])
        if field not in ranges:
            assert (values == getattr(nominal, field)).all()
            continue
        low, high = ranges.pop(field)
        assert low <= values.min() < low * 1.05
        assert high / 1.05 < values.max() <= high
        share = np.log(values / low) / math.log(high / low)
        assert share.mean() == pytest.approx(0.5, abs=4.0 / math.sqrt(12.0 * len(share)))
        assert share.std() == pytest.approx(math.sqrt(1.0 / 12.0), rel=4.0 * 0.45 / 10.0)
    assert not ranges


@every_cohort
def test_spheroids_have_the_documented_spread(cohort):
    nominal = get_treatment("emt6ro_fractionation").patient()
    varied = 0
    for field in nominal.FIELDS:
        values = draws("emt6ro_fractionation", cohort, field, SIZES[cohort])
        if field == "tumour":
            pool = np.unique(values)
            assert (len(pool) == 64) is (cohort == "population")
        elif field == "age":
            counts = {age: (values == age).mean() for age in range(8, 13)}
            assert sum(counts.values()) == pytest.approx(1.0)
            for share in counts.values():
                assert share == pytest.approx(0.2, abs=4.0 * math.sqrt(0.16 / len(values)))
        elif (values == getattr(nominal, field)).all():
            continue
        else:
            varied += 1
            assert_lognormal(values, getattr(nominal, field), 0.2)
    assert varied == 3


@every_cohort
def test_proton_patients_have_the_documented_spread(cohort):
    count = SIZES[cohort]
    anatomies = draws("impt_beam_weighting", cohort, "anatomy", count)
    number = {"population": 24, "validation": 8, "held_out": 16}[cohort]
    seen, times = np.unique(anatomies, return_counts=True)
    assert len(seen) == number
    assert times.max() < count / number + 4.0 * math.sqrt(count / number)
    assert_lognormal(draws("impt_beam_weighting", cohort, "random_sd", count), 0.2, 0.3)
    # A log-normal magnitude about its median times a standard normal error, cut at three.
    for field, median in (("shift_x", 0.3), ("shift_y", 0.3), ("range_error", 0.03)):
        values = draws("impt_beam_weighting", cohort, field, count)
        sd = median * (1.0 + 0.3**2)
        assert abs(values.mean()) < 4.0 * sd / math.sqrt(count)
        assert values.std() == pytest.approx(sd, rel=0.02 + 5.0 / math.sqrt(2.0 * count))


def test_the_pages_state_the_spreads_that_are_tested_here():
    pages = {name: " ".join(get_treatment(name).page.split()) for name in COHORTS}
    assert (
        "elimination (30 %), EC50 (40 %), Emax (20 %), growth (30 %) and recovery (30 %)"
        in (pages["chemo_dosing"])
    )
    assert (
        "D from 0.1 to 0.4 mm^2/d, rho from 0.015 to 0.06 /d and alpha from 0.02 to 0.08"
        in (pages["glioblastoma_radiation"])
    )
    assert (
        "coefficient of variation of 20 %, and a tumour of 8 to 12 days"
        in (pages["emt6ro_fractionation"])
    )
    assert "coefficient of variation of 30 %" in pages["impt_beam_weighting"]
    assert "24, 8 and 16 other anatomies" in pages["impt_beam_weighting"]


@by_treatment
def test_training_choosing_and_reporting_share_no_patient(name):
    treatment, variant = get_treatment(name), COHORTS[name]
    assert variant.options["cohort"] == "population"
    assert variant.evaluation_cohort == "held_out"
    fields = treatment.patient.FIELDS
    # Tumours and anatomies are told apart by number, whatever else differs between two patients.
    numbered = [fields.index(field) for field in ("tumour", "anatomy") if field in fields]
    kinds = {
        cohort: {tuple(row) for row in treatment.cohorts[cohort].patients(256).tolist()}
        for cohort in ("population", "validation", "held_out")
    }
    for place in numbered:
        for cohort, rows in list(kinds.items()):
            kinds[f"{cohort} {place}"] = {(place, row[place]) for row in rows}
    names = list(kinds)
    for number, one in enumerate(names):
        for other in names[number + 1 :]:
            assert not kinds[one] & kinds[other], (one, other)
