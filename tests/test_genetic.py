"""The genetic algorithm: what each operator keeps, what the published ones lose, and whole runs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import slot_toy
from hypothesis import given, settings
from hypothesis import strategies as st
from killed_command import kill_when
from scipy.stats import chisquare

from oncogym.agents.optimizers import PlanObjective, optimizers
from oncogym.agents.optimizers.base import SearchFolderError
from oncogym.agents.optimizers.differential_evolution import DifferentialEvolution
from oncogym.agents.optimizers.genetic import GeneticAlgorithm, GeneticSettings
from oncogym.agents.optimizers.genetic import crossover as crossover
from oncogym.agents.optimizers.genetic import mutation as mutation
from oncogym.agents.optimizers.genetic import selection as selection
from oncogym.agents.optimizers.genetic.algorithm import finalists
from oncogym.agents.optimizers.genetic.generation import next_generation, select
from oncogym.agents.optimizers.genetic.schedules import (
    Limits,
    free_slots,
    initial_population,
    initial_schedule,
    push_apart,
    repair_interval,
    repair_total,
)
from oncogym.agents.plan import PlanAgent
from oncogym.cli.main import main
from oncogym.core import sources
from oncogym.core.checkpoint import list_checkpoints, read_checkpoint
from oncogym.core.files import CorruptFileError
from oncogym.envs import find_variant, registry, treatments
from oncogym.envs.plan_spaces import SlotSpace
from oncogym.envs.problem import Problem

#: 240 half hours, 2.5 Gy a slot in units of 0.25 Gy, 10 Gy, 12 h: one setting of the study.
STUDY = Limits(slots=240, highest=10, total=40, gap=24)
#: Room for three doses only, which must be nearly full to hold the budget.
TIGHT = Limits(slots=240, highest=14, total=40, gap=96)


@st.composite
def all_limits(draw):
    slots = draw(st.integers(4, 60))
    return Limits(
        slots, draw(st.integers(1, 12)), draw(st.integers(1, 40)), draw(st.integers(0, slots))
    )


seeds = st.integers(0, 2**32 - 1)
examples = settings(max_examples=150, deadline=None)


def schedule(limits, doses):
    out = np.zeros(limits.slots, np.int64)
    for slot, dose in doses.items():
        out[slot] = dose
    return out


def gaps(doses):
    return np.diff(np.flatnonzero(doses))


def check(doses, limits, *, published=False):
    """Grid, sign, largest dose, total; gaps too."""
    assert doses.shape == (limits.slots,)
    assert doses.dtype == np.int64
    assert doses.min() >= 0
    assert doses.max() <= limits.highest
    assert doses.sum() <= limits.total
    assert (gaps(doses) >= limits.gap).all()


# --- schedules -------------------------------------------------------------------------------


def test_limits_of_a_slot_space():
    space = SlotSpace(240, 0.5, 0.25, 1.25, 10.0, 12.2, None)
    assert Limits.of(space) == Limits(240, 5, 40, 25)  # 12.2 h are 25 slots of half an hour
    assert Limits.of(SlotSpace(240, 0.5, 0.25, 1.25, 10.0, 12.0, None)).gap == 24
    assert TIGHT.most_doses == 3
    assert TIGHT.capacity == 40
    assert Limits(240, 5, 40, 96).capacity == 15
    assert Limits(10, 5, 40, 0).most_doses == 10
    with pytest.raises(ValueError, match=r"has 3 slots; .* at least 4"):
        Limits.of(SlotSpace(3, 0.5, 0.25, 1.25, 10.0, 0.0, None))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"slots": 0}, "slots is 0; allowed: an integer from 1"),
        ({"slot_duration": 0.0}, "slot_duration is 0.0; allowed: a finite number above 0"),
        ({"step": float("nan")}, "step is nan"),
        ({"max_dose": 1.3}, "max_dose is 1.3; allowed: a positive multiple of 0.25 Gy"),
        ({"max_dose": 0.0}, "max_dose is 0.0"),
        ({"max_dose": float("nan")}, "max_dose is nan"),
        ({"total": float("inf")}, "total is inf"),
        ({"min_gap": -1.0}, "min_gap is -1.0; allowed: 0 to 120 h"),
        ({"min_gap": 121.0}, "min_gap is 121.0"),
    ],
)
def test_a_slot_space_names_what_is_wrong(change, message):
    good = {"slots": 240, "slot_duration": 0.5, "step": 0.25, "max_dose": 1.25, "total": 10.0,
            "min_gap": 6.0, "decode": None, "dose_unit": "Gy", "time_unit": "h"}  # fmt: skip
    with pytest.raises(ValueError, match=message):
        SlotSpace(**{**good, **change})


def test_a_treatment_without_slots_says_so():
    for one in treatments().values():
        task = one.task(1)
        if one.name in {"chemo_dosing", "glioblastoma_radiation"}:
            with pytest.raises(NotImplementedError, match="cannot be planned on time slots"):
                task.slot_space()


def test_free_slots():
    doses = schedule(Limits(10, 5, 5, 3), {4: 1})
    assert free_slots(doses, 3).tolist() == [0, 1, 7, 8, 9]
    assert free_slots(doses, 1).tolist() == [0, 1, 2, 3, 5, 6, 7, 8, 9]
    assert free_slots(doses, 20).tolist() == []


@examples
@given(limits=all_limits(), seed=seeds, published=st.booleans())
def test_initial_schedules_keep_the_limits(limits, seed, published):
    doses = initial_schedule(np.random.default_rng(seed), limits, published)
    check(doses, limits)
    if published:
        assert (gaps(doses) > limits.gap).all()
    else:
        assert doses.sum() == limits.capacity


def test_initial_doses_and_slots_are_uniform():
    rng = np.random.default_rng(1)
    one = Limits(slots=8, highest=4, total=4, gap=8)  # a single dose fits
    found = np.stack([initial_schedule(rng, one, True) for _ in range(4000)])
    assert (np.count_nonzero(found, axis=1) == 1).all()
    assert chisquare(np.bincount(found.argmax(axis=1), minlength=8)).pvalue > 1e-3
    assert chisquare(np.bincount(found.max(axis=1))[1:]).pvalue > 1e-3


def test_published_initial_schedules_lose_what_finds_no_slot():
    rng = np.random.default_rng(0)
    totals = initial_population(200, rng, TIGHT, published=True).sum(axis=1)
    assert (totals < TIGHT.capacity).any()
    assert (initial_population(200, rng, TIGHT).sum(axis=1) == TIGHT.capacity).all()


@st.composite
def crowded(draw):
    """Limits and a schedule that keeps them except for its gaps."""
    limits = draw(all_limits())
    doses = np.zeros(limits.slots, np.int64)
    left = limits.capacity
    for slot in draw(st.permutations(range(limits.slots))):
        if not left or not draw(st.integers(0, 3)):
            continue
        doses[slot] = draw(st.integers(1, min(left, limits.highest)))
        left -= doses[slot]
    return limits, doses


@examples
@given(case=crowded(), seed=seeds)
def test_repair_of_gaps_keeps_the_dose(case, seed):
    limits, doses = case
    before = doses.copy()
    mended = repair_interval(doses, np.random.default_rng(seed), limits)
    assert (doses == before).all()
    check(mended, limits)
    assert mended.sum() == doses.sum()
    if (gaps(doses) >= limits.gap).all():
        assert (mended == doses).all()


@examples
@given(case=crowded(), seed=seeds)
def test_published_repair_of_gaps_keeps_the_limits(case, seed):
    limits, doses = case
    mended = repair_interval(doses, np.random.default_rng(seed), limits, published=True)
    check(mended, limits)
    assert mended.sum() <= doses.sum()


def test_only_the_earlier_dose_of_a_close_pair_moves():
    doses = schedule(STUDY, {20: 3, 30: 4, 100: 5, 150: 6})
    for seed in range(20):
        mended = repair_interval(doses, np.random.default_rng(seed), STUDY)
        assert [mended[slot] for slot in (30, 100, 150)] == [4, 5, 6]
        assert mended[20] == 0
        assert mended.sum() == 18


def test_a_lifted_dose_goes_to_a_uniform_free_slot():
    limits = Limits(slots=20, highest=3, total=6, gap=4)
    doses = schedule(limits, {9: 1, 10: 2})
    rng = np.random.default_rng(3)
    found = [np.flatnonzero(repair_interval(doses, rng, limits) == 1)[0] for _ in range(3000)]
    counts = np.bincount(found, minlength=20)
    free = free_slots(schedule(limits, {10: 2}), 4)
    assert set(np.flatnonzero(counts)) == set(free)
    assert chisquare(counts[free]).pvalue > 1e-3


def test_published_repair_drops_a_dose_without_a_slot():
    doses = schedule(TIGHT, {60: 14, 100: 12, 160: 14})
    rng = np.random.default_rng(0)
    lost = repair_interval(doses, rng, TIGHT, published=True)
    assert lost.sum() < 40
    kept = repair_interval(doses, rng, TIGHT)
    assert kept.sum() == 40
    check(kept, TIGHT)


def test_published_repair_counts_a_legal_gap_as_too_small_once_another_is():
    exact = schedule(STUDY, {10: 1, 34: 2, 100: 3})
    rng = np.random.default_rng(0)
    assert (repair_interval(exact, rng, STUDY, published=True) == exact).all()
    mixed = schedule(STUDY, {10: 1, 34: 2, 100: 3, 101: 4})
    moved = [repair_interval(mixed, rng, STUDY, published=True)[10] == 0 for _ in range(50)]
    assert sum(moved) > 40  # slot 10 itself is one of the slots that are drawn
    assert all(repair_interval(mixed, rng, STUDY)[10] == 1 for _ in range(50))


@examples
@given(limits=all_limits(), seed=seeds)
def test_push_apart_makes_gaps_legal_and_keeps_legal_ones(limits, seed):
    rng = np.random.default_rng(seed)
    count = int(rng.integers(1, limits.most_doses + 1))
    slots = np.sort(rng.integers(limits.slots, size=count))
    pushed = push_apart(slots, limits)
    assert pushed.min() >= 0
    assert pushed.max() < limits.slots
    assert (np.diff(pushed) >= max(limits.gap, 1)).all()
    assert (push_apart(pushed, limits) == pushed).all()


@examples
@given(limits=all_limits(), seed=seeds)
def test_repair_of_the_total(limits, seed):
    rng = np.random.default_rng(seed)
    doses = rng.integers(0, limits.highest + 1, size=limits.slots)
    lowered = repair_total(doses, limits)
    assert lowered.sum() == min(doses.sum(), limits.total)
    assert (lowered <= doses).all()
    assert lowered.min() >= 0


def test_repair_of_the_total_takes_a_unit_from_the_largest_first():
    limits = Limits(slots=5, highest=9, total=10, gap=0)
    given_doses = np.array([1, 5, 0, 4, 3])
    assert repair_total(given_doses, limits).tolist() == [1, 4, 0, 3, 2]
    assert repair_total(np.array([1, 5, 0, 4, 1]), limits).tolist() == [1, 4, 0, 4, 1]


# --- selection -------------------------------------------------------------------------------

SCORES = np.array([3.0, 9.0, 1.0, 7.0, 5.0, 5.0])


def test_simple_selection_takes_the_best():
    assert selection.simple(SCORES, 3).tolist() == [1, 3, 4]


def test_roulette_is_proportional_to_the_score():
    drawn = selection.roulette(SCORES, 20_000, np.random.default_rng(0))
    expected = 20_000 * SCORES / SCORES.sum()
    assert chisquare(np.bincount(drawn, minlength=6), expected).pvalue > 1e-3


def test_dispersion_raises_the_pressure():
    scores = np.array([1150.0, 1160.0, 1170.0])
    plain, dispersed = selection.shares(scores), selection.shares(scores, dispersion=True)
    assert plain == pytest.approx(scores / scores.sum())
    spread = 20.0 / 1160.0
    weights = scores - 1150.0 * (1.0 - spread)
    assert dispersed == pytest.approx(weights / weights.sum())
    assert dispersed[2] / dispersed[0] > 1.9 > plain[2] / plain[0]


def test_shares_of_scores_that_are_no_shares():
    assert selection.shares(np.array([-3.0, -1.0, 1.0])) == pytest.approx([0.0, 1 / 3, 2 / 3])
    assert selection.shares(np.zeros(4)) == pytest.approx(np.full(4, 0.25))
    assert selection.shares(np.full(3, -2.0), dispersion=True) == pytest.approx(np.full(3, 1 / 3))
    assert selection.shares(np.array([-1.0, 1.0]), dispersion=True) == pytest.approx([0.0, 1.0])


def tournament_law(population, group, pressure):
    """Probability of each rank, 0 the best, by enumeration of ordered groups of distinct scores."""
    chances = (1.0 - pressure) ** np.arange(group)
    chances /= chances.sum()
    law = np.zeros(population)
    for members in np.ndindex(*[population] * group):
        for place, rank in enumerate(sorted(members)):
            law[rank] += chances[place] / population**group
    return law


@pytest.mark.parametrize("count", [2, 3])
def test_classic_tournament_has_its_law(count):
    scores = np.array([6.0, 5.0, 4.0, 3.0, 2.0, 1.0])
    rng = np.random.default_rng(count)
    drawn = np.concatenate(
        [selection.tournament(scores, count, rng, 0.9) for _ in range(12_000 // count)]
    )
    law = tournament_law(6, round(6 / count), 0.9)
    assert chisquare(np.bincount(drawn, minlength=6), len(drawn) * law).pvalue > 1e-3


def test_group_sizes_round_halves_to_even():
    assert selection.group_size(40, 16) == 2
    assert selection.group_size(40, 4) == 10
    assert selection.group_size(40, 40) == 1
    assert selection.group_size(4, 100) == 1


def test_tuned_tournament_is_a_roulette_but_for_the_first_draws():
    scores = np.array([6.0, 5.0, 4.0, 3.0, 2.0, 1.0])
    rng = np.random.default_rng(5)
    drawn = np.stack([selection.tuned_tournament(scores, 3, rng, 0.9) for _ in range(6000)])
    best_of_two = tournament_law(6, 2, 1.0)
    wheel = scores / scores.sum()
    for place in range(3):
        keep = 0.9 * 0.1**place
        law = keep * best_of_two + (1.0 - keep) * wheel
        observed = np.bincount(drawn[:, place], minlength=6)
        assert chisquare(observed, 6000 * law).pvalue > 1e-3


# --- crossover -------------------------------------------------------------------------------


@st.composite
def two_parents(draw):
    limits = draw(all_limits())
    rng = np.random.default_rng(draw(seeds))
    return limits, *(initial_schedule(rng, limits) for _ in range(2)), rng


@pytest.mark.parametrize("published", [False, True])
@pytest.mark.parametrize("name", sorted(crossover.CROSSOVERS))
@examples
@given(case=two_parents())
def test_children_keep_the_limits(name, published, case):
    limits, first, second, rng = case
    before = first.copy(), second.copy()
    children = crossover.CROSSOVERS[name](first, second, rng, limits, published)
    for child in children:
        check(child, limits)
    dose = sum(child.sum() for child in children)
    assert dose <= first.sum() + second.sum() if published else dose == first.sum() + second.sum()
    assert (first == before[0]).all()
    assert (second == before[1]).all()


@pytest.mark.parametrize("name", sorted(crossover.CROSSOVERS))
def test_crossover_shares_out_what_the_parents_have(name):
    """Without limits to repair, each slot of the parents is in exactly one child."""
    limits = Limits(slots=40, highest=9, total=400, gap=0)
    rng = np.random.default_rng(0)
    first, second = rng.integers(0, 10, size=(2, 40))
    ever = np.zeros(40, np.bool_)
    for _ in range(200):
        one, two = crossover.CROSSOVERS[name](first, second, rng, limits, False)
        assert (one + two == first + second).all()
        assert (((one == first) & (two == second)) | ((one == second) & (two == first))).all()
        ever |= one != first
    low, high = {
        "one_point": (10, 40), "one_point_anywhere": (1, 40), "two_point": (10, 29),
        "uniform": (0, 40), "normalised": (0, 40),
    }[name]  # fmt: skip
    differ = first != second
    assert not ever[:low].any()
    assert not ever[high:].any()
    assert (ever | ~differ)[low + 1 : high - 1].all()


def test_published_crossover_loses_what_exceeds_a_total():
    limits = Limits(slots=24, highest=4, total=8, gap=0)
    first, second = schedule(limits, {0: 4, 1: 4}), schedule(limits, {10: 4, 11: 4})
    rng = np.random.default_rng(0)
    lost = [crossover.two_point(first, second, rng, limits, True) for _ in range(50)]
    assert min(one.sum() + two.sum() for one, two in lost) < 16
    kept = [crossover.two_point(first, second, rng, limits) for _ in range(50)]
    assert all(one.sum() == two.sum() == 8 for one, two in kept)


@pytest.mark.parametrize(
    ("case", "shares"),
    [((3, 5, 1), (3, 0)), ((3, 1, 5), (0, 3)), ((4, 3, 2), (3, 1)), ((0, 2, 2), (0, 0))],
)
def test_the_lighter_child_gets_what_was_taken_off(case, shares):
    assert crossover._shares(*case) == shares


def cuts(limits, cross, rng, count):
    """First and last slot that a crossover of an empty and a full parent swaps."""
    first, second = np.zeros(limits.slots, np.int64), np.ones(limits.slots, np.int64)
    swapped = [np.flatnonzero(cross(first, second, rng, limits)[0]) for _ in range(count)]
    return [(piece[0], piece[-1] + 1) if len(piece) else (0, 0) for piece in swapped]


def test_the_cut_of_one_point_is_uniform_over_the_middle_half():
    limits = Limits(slots=24, highest=1, total=24, gap=0)
    starts = [s for s, _ in cuts(limits, crossover.one_point, np.random.default_rng(0), 3000)]
    assert chisquare(np.bincount(starts, minlength=24)[6:18]).pvalue > 1e-3
    rng = np.random.default_rng(0)
    starts = [s for s, _ in cuts(limits, crossover.CROSSOVERS["one_point_anywhere"], rng, 3000)]
    assert chisquare(np.bincount(starts, minlength=24)[1:]).pvalue > 1e-3


def test_the_cuts_of_two_point():
    limits = Limits(slots=24, highest=1, total=24, gap=0)
    pieces = cuts(limits, crossover.two_point, np.random.default_rng(1), 6000)
    law = np.zeros((24, 24))
    for start in range(6, 12):
        law[start, start:18] += 1 / 6 / (18 - start)
    empty = np.trace(law)
    found = np.zeros((24, 24))
    for start, stop in pieces:
        found[start, stop] += 1
    assert found[0, 0] == pytest.approx(6000 * empty, abs=4 * np.sqrt(6000 * empty))
    inside = (law > 0) & ~np.eye(24, dtype=bool)
    assert found[inside].sum() + found[0, 0] == 6000
    expected = law[inside] / law[inside].sum() * found[inside].sum()
    assert chisquare(found[inside], expected).pvalue > 1e-3


@pytest.mark.parametrize("name", ["uniform", "normalised"])
def test_uniform_crossovers_use_fair_coins(name):
    limits = Limits(slots=24, highest=1, total=24, gap=0)
    rng = np.random.default_rng(2)
    zero, one = np.zeros(24, np.int64), np.ones(24, np.int64)
    cross = crossover.CROSSOVERS[name]
    swapped = np.stack([cross(zero, one, rng, limits, False)[0] for _ in range(2000)])
    assert np.abs(swapped.mean(axis=0) - 0.5).max() < 4.5 * 0.5 / np.sqrt(2000)
    assert np.abs(np.corrcoef(swapped.T) - np.eye(24)).max() < 5 / np.sqrt(2000)


def test_published_uniform_leaves_close_doses_out():
    limits = Limits(slots=24, highest=4, total=24, gap=4)
    first = schedule(limits, {0: 4, 6: 4, 12: 4})
    second = schedule(limits, {3: 4, 9: 4, 15: 4})
    rng = np.random.default_rng(0)
    totals = [
        sum(child.sum() for child in crossover.uniform(first, second, rng, limits, published))
        for published in (True, False)
        for _ in range(50)
    ]
    assert min(totals[:50]) < 24
    assert min(totals[50:]) == 24
    doses = schedule(limits, {0: 1, 4: 2, 5: 3, 9: 1, 10: 2})
    assert np.flatnonzero(crossover.accept_in_order(doses, limits)).tolist() == [0, 5, 10]


# --- mutation --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["swap", "time_value", "split"])
@examples
@given(limits=all_limits(), seed=seeds, probability=st.floats(0.0, 1.0))
def test_mutations_keep_limits_and_dose(name, limits, seed, probability):
    rng = np.random.default_rng(seed)
    doses = initial_schedule(rng, limits)
    before = doses.copy()
    changed = mutation.MUTATIONS[name](doses, probability, rng, limits, False)
    assert (doses == before).all()
    check(changed, limits)
    assert changed.sum() == doses.sum()
    if probability == 0.0:
        assert (changed == doses).all()


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(mutation.MUTATIONS))
@examples
@given(limits=all_limits(), seed=seeds)
def test_published_mutations_keep_the_limits(name, limits, seed):
    rng = np.random.default_rng(seed)
    doses = initial_schedule(rng, limits, True)
    changed = mutation.MUTATIONS[name](doses, 0.5, rng, limits, True)
    check(changed, limits)
    if name != "dose_value":
        assert changed.sum() <= doses.sum()


@examples
@given(limits=all_limits(), seed=seeds)
def test_fill_up_passes_four_fifths_of_the_budget(limits, seed):
    rng = np.random.default_rng(seed)
    doses = initial_schedule(rng, limits)
    doses[rng.random(limits.slots) < 0.5] = 0
    filled = mutation.dose_value(doses, 0.0, rng, limits)
    check(filled, limits)
    assert filled.sum() >= doses.sum()
    assert filled.sum() == limits.capacity or filled.sum() > 0.8 * limits.total
    if doses.sum() > 0.8 * limits.total:
        assert (filled == doses).all()


def test_swap_exchanges_as_often_as_it_should():
    limits = Limits(slots=240, highest=1, total=240, gap=0)
    rng = np.random.default_rng(0)
    doses = schedule(limits, {100: 1})
    moved = [np.flatnonzero(mutation.swap(doses, 0.002, rng, limits))[0] for _ in range(6000)]
    # The dose moves as itself (but for an exchange with itself) or as another one's partner.
    rate = np.mean(np.array(moved) != 100)
    assert rate == pytest.approx(2 * 0.002 * 238 / 239, abs=4 * np.sqrt(0.004 / 6000))


def test_swap_never_reaches_the_predecessor_by_itself():
    limits = Limits(slots=12, highest=1, total=12, gap=0)
    doses = schedule(limits, {6: 1})

    class OneSlot:
        """Chance that picks slot 6 alone and then every partner in turn."""

        def __init__(self, offset):
            self.offset = offset

        def random(self, count):
            return np.where(np.arange(count) == 6, 0.0, 1.0)

        def integers(self, high):
            assert high == 11
            return self.offset

    reached = {
        int(np.flatnonzero(mutation.swap(doses, 0.5, OneSlot(k), limits))[0]) for k in range(11)
    }
    assert reached == set(range(12)) - {5}


def test_published_time_value_loses_a_dose_that_stays():
    limits = Limits(slots=4, highest=8, total=16, gap=0)
    doses = schedule(limits, {1: 3})
    rng = np.random.default_rng(0)
    totals = [mutation.time_value(doses, 1.0, rng, limits, True).sum() for _ in range(400)]
    assert set(totals) == {0, 3}
    assert np.mean(np.array(totals) == 0) > 0.2
    doses = schedule(limits, {1: 6})  # doubled and capped: 12 - 8 = 4 of 6 remain at least
    totals = {int(mutation.time_value(doses, 1.0, rng, limits, True).sum()) for _ in range(400)}
    assert 4 in totals
    kept = {int(mutation.time_value(doses, 1.0, rng, limits).sum()) for _ in range(400)}
    assert kept == {6}


def test_time_value_leaves_the_remainder_behind():
    limits = Limits(slots=4, highest=4, total=16, gap=0)
    doses = schedule(limits, {0: 3, 1: 3})
    rng = np.random.default_rng(0)
    found = {tuple(mutation.time_value(doses, 0.3, rng, limits).tolist()) for _ in range(400)}
    assert (2, 4, 0, 0) in found
    assert (4, 2, 0, 0) in found
    assert (0, 3, 3, 0) in found


def test_published_split_loses_a_part_on_the_old_slot():
    limits = Limits(slots=5, highest=8, total=16, gap=0)
    doses = schedule(limits, {2: 4})
    rng = np.random.default_rng(0)
    totals = [mutation.split(doses, 1.0, rng, limits, True).sum() for _ in range(400)]
    assert set(totals) == {0, 1, 2, 3, 4}
    assert {int(mutation.split(doses, 1.0, rng, limits).sum()) for _ in range(400)} == {4}


def test_published_split_gives_up_where_nothing_has_room():
    limits = Limits(slots=4, highest=3, total=12, gap=0)
    doses = np.full(4, 3)
    rng = np.random.default_rng(0)
    assert {int(mutation.split(doses, 1.0, rng, limits, True).sum()) for _ in range(50)} == {9}
    assert {int(mutation.split(doses, 1.0, rng, limits).sum()) for _ in range(50)} == {12}


def test_split_parts_are_uniform_and_its_chance_is_for_the_schedule():
    limits = Limits(slots=200, highest=8, total=8, gap=0)
    doses = schedule(limits, {50: 4})
    rng = np.random.default_rng(7)
    changed = [mutation.split(doses, 0.25, rng, limits) for _ in range(8000)]
    acted = [one for one in changed if one[50] == 0]
    # One part in 200 goes back to the old slot.
    assert len(acted) / 8000 == pytest.approx(0.25, abs=0.02)
    smaller = [min(one[one > 0]) if np.count_nonzero(one) > 1 else 0 for one in acted]
    counts = np.bincount(smaller, minlength=3)
    # q = 0, 1, 2, 3 with 1/4 each: no split, 1 + 3, 2 + 2, 3 + 1; meeting again is 1 in 200.
    law = np.array([0.25 + 0.75 / 200, 0.5 * 199 / 200, 0.25 * 199 / 200])
    assert chisquare(counts, len(acted) * law).pvalue > 1e-3


def test_annealing_of_the_study():
    law = mutation.annealed_probability
    assert law(1, 50) == 0.1
    assert law(26, 50) == round(0.1 * 0.5**4, 6) == 0.00625
    assert law(51, 50) == 0.001
    assert law(40, 50) == 0.001
    values = [law(k, 50) for k in range(1, 52)]
    assert values == sorted(values, reverse=True)


# --- generation ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["simple", "roulette", "tournament", "tuned_tournament"])
@pytest.mark.parametrize("published", [False, True])
def test_a_generation_keeps_elites_and_limits(name, published):
    options = GeneticSettings(selection=name, published=published)
    rng = np.random.default_rng(4)
    population = initial_population(40, rng, STUDY, published)
    scores = rng.random(40)
    assert select(scores, rng, options).shape == (16,)
    following = next_generation(population, scores, 0.05, rng, STUDY, options)
    assert following.shape == population.shape
    assert (following[:4] == population[np.argsort(-scores)[:4]]).all()
    for doses in following:
        check(doses, STUDY)


def test_children_of_one_parent_are_that_parent_without_mutation():
    options = GeneticSettings(population=10, elites=2, parents=1, selection="simple")
    rng = np.random.default_rng(0)
    population = initial_population(10, rng, STUDY)
    following = next_generation(population, np.arange(10.0), 0.0, rng, STUDY, options)
    assert (following[2:] == population[9]).all()


def test_finalists_are_distinct_and_ranked_by_mean_score():
    one, two, three = np.eye(3, dtype=np.int64)
    found = finalists(np.stack([one, two, one, three]), np.array([9.0, 6.0, 1.0, 2.0]), 2)
    assert (found == np.stack([two, one])).all()
    assert len(finalists(np.stack([one, one]), np.array([1.0, 2.0]), 5)) == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"population": 1}, "population is 1; allowed: an integer from 2"),
        ({"population": 2.5}, "population is 2.5"),
        ({"elites": 3}, "elites is 3; allowed: an even difference"),
        ({"elites": 40}, "elites is 40; allowed: an integer from 0 to 38"),
        ({"parents": 0}, "parents is 0"),
        ({"parents": 41}, "parents is 41; allowed: an integer from 1 to 40"),
        ({"selection": "tournment"}, "did you mean 'tournament'"),
        ({"crossover": "two_points"}, "did you mean 'two_point'"),
        ({"mutations": "split,swp"}, "did you mean 'swap'"),
        ({"mutations": 3}, "mutations is 3; allowed: a list"),
        ({"mutation_max": 1.5}, "mutation_max is 1.5; allowed: 0 to 1"),
        ({"mutation_max": "much"}, "mutation_max is 'much'"),
        ({"mutation_min": 0.2}, "mutation_min is 0.2; allowed: 0 to mutation_max 0.1"),
        ({"pressure": 0.0}, "pressure is 0.0"),
        ({"published": "yes"}, "published is 'yes'; allowed: true or false"),
        ({"finalists": 0}, "finalists is 0"),
        ({"finalist_replicates": 0}, "finalist_replicates is 0"),
        ({"populaton": 20}, "did you mean 'population'"),
    ],
)
def test_settings_name_what_is_wrong(change, message):
    with pytest.raises(ValueError, match=message):
        GeneticSettings.from_mapping(change)


# --- scoring ---------------------------------------------------------------------------------


def toy_problem(patients=1, replicates=1, **options):
    rows = np.linspace(0.8, 1.2, patients)[:, None] if patients > 1 else np.ones((1, 1))
    return PlanObjective(
        Problem.of(slot_toy.TREATMENT, options, patients=rows), replicates=replicates
    )


def toy_actions(count, seed=0):
    return np.random.default_rng(seed).random((count, slot_toy.SLOTS, 1))


def test_score_goes_through_actions_and_draw_0_has_the_chance_of_a_search():
    problem = toy_problem(3, noise=1.0)
    actions = toy_actions(5)
    scores = problem.score_actions(actions)
    assert (scores == problem.score(actions.reshape(5, -1))).all()
    keys = np.arange(3, dtype=np.uint64)  # those of an evaluation of the same patients
    judged, searched = (
        slot_toy.streams.normals(key, np.zeros(3, np.uint64), 16, 1).mean()
        for key in (keys, keys | np.uint64(1 << 62))
    )
    assert judged != searched
    plain = toy_problem(3).score_actions(actions)
    assert scores == pytest.approx(plain + searched, rel=1e-12)


def test_draws_are_fresh_chance_and_the_same_for_every_row():
    problem = toy_problem(3, noise=1.0)
    actions = np.repeat(toy_actions(1), 4, axis=0)
    draws = [problem.score_actions(actions, draw) for draw in range(4)]
    assert all((scores == scores[0]).all() for scores in draws)
    assert len({scores[0] for scores in draws}) == 4
    assert (problem.score_actions(actions, 2) == draws[2]).all()
    with pytest.raises(ValueError, match="draw is -1"):
        problem.score_actions(actions, -1)


def test_replicates_are_fresh_seeds():
    actions = toy_actions(2)
    problem = toy_problem(2, replicates=500, noise=1.0)
    scores = problem.score_actions(actions)
    assert problem.evaluations == 2 * 2 * 500
    assert scores == pytest.approx(toy_problem(2).score_actions(actions), abs=4 / np.sqrt(1000))
    with pytest.raises(ValueError, match="replicates is 0"):
        toy_problem(replicates=0)


@pytest.mark.parametrize("lanes", [1, 2, 7, 64])
def test_lanes_never_exceed_the_limit_and_change_nothing(lanes):
    rows = np.linspace(0.8, 1.2, 5)[:, None]
    whole = PlanObjective(
        Problem.of(slot_toy.TREATMENT, {"noise": 1.0}, patients=rows), replicates=3
    )
    assert whole.max_lanes == 64  # the toy itself asserts that it gets no more
    parts = PlanObjective(
        Problem.of(slot_toy.TREATMENT, {"noise": 1.0}, patients=rows), replicates=3, max_lanes=lanes
    )
    actions = toy_actions(9)
    assert (parts.score_actions(actions, 5) == whole.score_actions(actions, 5)).all()
    with pytest.raises(ValueError, match="max_lanes is 0"):
        PlanObjective(Problem.of(slot_toy.TREATMENT, {}, patients=rows), max_lanes=0)


@pytest.mark.parametrize(
    ("actions", "message"),
    [
        (np.zeros((2, 5, 1)), "shape"),
        (np.full((2, slot_toy.SLOTS, 1), np.nan), "allowed: finite, 0 to 1"),
        (np.full((2, slot_toy.SLOTS, 1), 1.5), "allowed: finite, 0 to 1"),
    ],
)
def test_bad_actions_are_refused(actions, message):
    with pytest.raises(ValueError, match=message):
        toy_problem().score_actions(actions)


# --- whole searches --------------------------------------------------------------------------

SMALL = GeneticSettings(population=12, elites=2, parents=6, finalists=3, finalist_generations=3)
BUDGET = 12 * 10


def search(problem, budget=BUDGET, seed=1, options=SMALL, limits=None, **arguments):
    options = replace(options, **(limits or {}))
    return GeneticAlgorithm(options).optimize(problem, budget, seed, **arguments)


@pytest.mark.parametrize("published", [False, True])
def test_the_optimum_of_the_toy_is_found(published):
    options = GeneticSettings(anneal=False, published=published)
    result = search(toy_problem(), 150 * 40, 2, options)
    assert result.score == pytest.approx(slot_toy.BEST)
    assert np.flatnonzero(result.plan).tolist() == list(slot_toy.PEAKS)
    assert result.plan.sum() == slot_toy.TOTAL
    assert result.actions.shape == (slot_toy.SLOTS, 1)
    assert result.method == "ga"
    assert optimizers()["ga"] is GeneticAlgorithm


def test_every_schedule_of_a_search_gives_what_the_limits_allow(tmp_path):
    limits = Limits.of(toy_problem().slot_space(min_gap=9.0))
    assert limits.capacity == limits.total == 12  # in units of 0.5 Gy: three doses, all full
    search(toy_problem(noise=1.0), limits={"min_gap": 9.0}, folder=tmp_path)
    population = read_checkpoint(newest(tmp_path)).arrays["population"]
    assert (population.sum(axis=1) == limits.capacity).all()
    for doses in population:
        check(doses, limits)


def test_narrower_limits_hold():
    result = search(toy_problem(), limits={"max_dose": 1.0, "min_gap": 7.0})
    assert result.plan.max() <= 1.0
    assert (np.diff(np.flatnonzero(result.plan)) >= 7).all()
    assert result.plan.sum() == 4.0  # four full doses are all that fits


def test_the_score_is_one_on_fresh_draws():
    """The best of many noisy scores is too good; the score that is returned is not."""
    problem = toy_problem(noise=3.0)
    options = GeneticSettings(finalists=1, finalist_replicates=400)
    result = search(problem, 20 * 40, 3, options)
    true = float((slot_toy.WORTH * result.plan).sum())
    assert result.score == pytest.approx(true, abs=4 * 3.0 / np.sqrt(400))
    assert max(result.history) > true + 3.0
    assert 400 < result.evaluations <= 20 * 40 + 400


def test_elites_are_scored_anew_in_each_generation():
    seen = []
    result = search(toy_problem(noise=1.0), progress=lambda *report: seen.append(report))
    assert [report[0] for report in seen] == list(range(1, 11))
    each = np.diff([report[2] for report in seen], prepend=0)
    assert (each >= 1).all()  # an elite at least
    assert [report[1] for report in seen] == result.history
    assert len(set(result.history)) == 10
    assert (np.diff(result.history) < 0.0).any()  # no remembered score


def test_same_seed_same_result_and_other_seed_other_draws():
    one, two = search(toy_problem(noise=1.0)), search(toy_problem(noise=1.0))
    assert (one.plan == two.plan).all()
    assert (one.score, one.history) == (two.score, two.history)
    assert search(toy_problem(noise=1.0), seed=2).history != one.history


def test_a_score_that_is_not_finite_is_an_error_that_names_the_schedule():
    class Broken(slot_toy.SlotToyTask):
        def step(self, actions, active):
            result = super().step(actions, active)
            result.reward_terms[:] = np.nan
            return result

    problem = PlanObjective(
        Problem.of(replace(slot_toy.TREATMENT, task=Broken), {}, patients=np.ones((1, 1)))
    )
    with pytest.raises(ValueError, match=r"scores a schedule as nan; its doses are \[.*\] Gy"):
        search(problem)


def test_what_a_search_refuses_before_any_work(tmp_path):
    problem = toy_problem()
    with pytest.raises(ValueError, match="budget is 23 schedules; allowed: at least 24"):
        search(problem, 23, folder=tmp_path / "run")
    with pytest.raises(ValueError, match=r"max_dose is 0\.3; allowed: a positive multiple of 0\.5"):
        search(problem, limits={"max_dose": 0.3}, folder=tmp_path / "run")
    with pytest.raises(ValueError, match=r"min_gap is -1\.0"):
        search(problem, limits={"min_gap": -1.0}, folder=tmp_path / "run")
    with pytest.raises(ValueError, match="resume needs the folder"):
        search(problem, resume=True)
    chemo, variant = find_variant("ChemoDosing-v0")
    other = PlanObjective(Problem.of(chemo, {}, patients=chemo.cohort("nominal").patients(1)))
    with pytest.raises(NotImplementedError, match="cannot be planned on time slots"):
        search(other, folder=tmp_path / "run")
    assert not (tmp_path / "run").exists()
    assert problem.evaluations == other.evaluations == 0
    assert variant.id == "oncogym/ChemoDosing-v0"


def test_both_methods_have_one_interface():
    for kind in optimizers().values():
        assert kind.default_budget > 0
    assert DifferentialEvolution().generations(toy_problem(), 12 * 24 * 3) == 3
    assert GeneticAlgorithm(SMALL).generations(toy_problem(), BUDGET) == 10


# --- checkpoints -----------------------------------------------------------------------------


def newest(folder):
    return list_checkpoints(folder / "checkpoints")[0]


def same_checkpoint(one, two):
    """Equal but for the wall time in the history."""
    first, second = read_checkpoint(one), read_checkpoint(two)
    assert first.steps == second.steps
    assert set(first.arrays) == set(second.arrays)
    for name in first.arrays:
        assert first.arrays[name].dtype == second.arrays[name].dtype
        assert (first.arrays[name] == second.arrays[name]).all()
    for checkpoint in (first, second):
        for row in checkpoint.state["history"]:
            del row["seconds"]
    assert first.state == second.state


class Interrupt(Exception):
    pass


def interrupted(folder, after, **options):
    """A search that stops after some generations, as a killed one would."""

    def stop(generation, best, evaluations):
        if generation == after:
            raise Interrupt

    with pytest.raises(Interrupt):
        search(toy_problem(**options), progress=stop, folder=folder)


@pytest.mark.parametrize("after", [1, 2, 6, 10])
def test_a_resumed_search_is_the_unbroken_one(tmp_path, after):
    whole = search(toy_problem(noise=1.0), folder=tmp_path / "whole")
    interrupted(tmp_path / "broken", after, noise=1.0)
    assert len(list_checkpoints(tmp_path / "broken" / "checkpoints")) == min(after, 2)
    seen = []
    result = search(
        toy_problem(noise=1.0),
        folder=tmp_path / "broken",
        resume=True,
        progress=lambda generation, *_: seen.append(generation),
    )
    assert seen == list(range(after + 1, 11))
    assert (result.plan == whole.plan).all()
    assert (result.score, result.history) == (whole.score, whole.history)
    assert result.evaluations == whole.evaluations
    same_checkpoint(newest(tmp_path / "broken"), newest(tmp_path / "whole"))
    assert search(toy_problem(noise=1.0)).score == whole.score  # a folder changes nothing


def test_equal_schedules_of_a_generation_are_simulated_once_and_score_alike(monkeypatch, tmp_path):
    problem = toy_problem(noise=1.0)
    simulated, score = [], problem.score_actions

    def noted(actions, *rest):
        simulated.append(len(actions))
        assert len(np.unique(actions, axis=0)) == len(actions)
        return score(actions, *rest)

    monkeypatch.setattr(problem, "score_actions", noted)
    search(problem, folder=tmp_path)
    # So few children of so few parents are often the same: otherwise this tests nothing.
    assert sum(simulated[:10]) < 10 * 12
    kept = read_checkpoint(newest(tmp_path)).arrays
    shared, which = np.unique(kept["population"], axis=0, return_inverse=True)
    assert len(shared) == simulated[9] < 12
    for schedule in range(len(shared)):
        assert len(set(kept["scores"][which.reshape(-1) == schedule])) == 1
    assert len(set(kept["scores"])) == len(shared)


def test_history_is_a_table(tmp_path):
    result = search(toy_problem(noise=1.0), folder=tmp_path)
    table = pd.read_csv(tmp_path / "history.csv")
    assert list(table) == [
        "generation", "best", "mean", "sd", "mutation_probability", "simulations", "seconds"
    ]  # fmt: skip
    assert table["generation"].tolist() == list(range(10))
    assert table["best"].tolist() == pytest.approx(result.history, rel=1e-12)
    assert (table["best"] >= table["mean"]).all()
    each = np.diff(table["simulations"], prepend=0)
    assert each[0] == 12
    assert ((each >= 1) & (each <= 12)).all()
    assert table["mutation_probability"].tolist()[:2] == [0.0, 0.1]
    assert table["mutation_probability"].tolist()[-1] == 0.001
    assert table["seconds"].is_monotonic_increasing
    assert not list(tmp_path.rglob("*.tmp"))


@pytest.mark.parametrize("damage", ["cut", "flip", "empty", "text"])
def test_a_damaged_checkpoint_is_named_and_the_one_before_is_used(tmp_path, damage):
    whole = search(toy_problem(noise=1.0), folder=tmp_path / "whole")
    folder = tmp_path / "broken"
    interrupted(folder, 6, noise=1.0)
    path = newest(folder)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(
        {"cut": data[: len(data) // 2], "flip": data, "empty": b"", "text": b"hello"}[damage]
    )
    with pytest.warns(RuntimeWarning, match=f"damaged checkpoint passed over: .*{path.name}"):
        result = search(toy_problem(noise=1.0), folder=folder, resume=True)
    assert result.history == whole.history
    same_checkpoint(newest(folder), newest(tmp_path / "whole"))


def test_only_damaged_or_foreign_checkpoints_are_an_error(tmp_path):
    interrupted(tmp_path, 6)
    for path in list_checkpoints(tmp_path / "checkpoints"):
        path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(CorruptFileError, match=newest(tmp_path).name):
        search(toy_problem(), folder=tmp_path, resume=True)
    from oncogym.core.checkpoint import Checkpoint, write_checkpoint

    write_checkpoint(tmp_path / "checkpoints", Checkpoint(50, {"seed": 1}, {"x": np.zeros(3)}))
    with pytest.raises(CorruptFileError, match="not the checkpoints of a genetic search"):
        search(toy_problem(), folder=tmp_path, resume=True)


def test_a_search_does_not_go_on_with_other_settings(tmp_path, monkeypatch):
    interrupted(tmp_path, 4, noise=1.0)
    resume = {"folder": tmp_path, "resume": True}
    other = GeneticSettings(
        population=12, elites=2, parents=6, finalists=4, finalist_generations=3, crossover="uniform"
    )
    for arguments, message in (
        ({"seed": 2}, "seed was 1, now 2"),
        ({"budget": 240}, "budget was 120, now 240"),
        ({"limits": {"max_dose": 1.0}}, "max_dose was 2.0, now 1.0"),
        ({"options": other}, "crossover was 'two_point', now 'uniform'; finalists was 3, now 4"),
    ):
        with pytest.raises(SearchFolderError, match=message):
            search(toy_problem(noise=1.0), **arguments, **resume)
    for problem, message in (
        (toy_problem(noise=2.0), "options was .*, now .*"),
        (toy_problem(2, noise=1.0), "patients was '1 with sha256 .*', now '2 with"),
        (toy_problem(replicates=2, noise=1.0), "replicates was 1, now 2"),
    ):
        with pytest.raises(SearchFolderError, match=message):
            search(problem, **resume)
    with pytest.raises(SearchFolderError, match="holds a search already"):
        search(toy_problem(noise=1.0), folder=tmp_path)
    monkeypatch.setattr(sources, "_digest", lambda *packages: "others")
    with pytest.raises(SearchFolderError, match=r"sources was '\w+', now 'others'"):
        search(toy_problem(noise=1.0), **resume)


# --- command line ----------------------------------------------------------------------------

COMMAND = [
    "optimize", "toy/Slots-v0", "--method", "ga", "--budget", "120", "--seed", "1",
    "--set", "population=12", "--set", "elites=2", "--set", "parents=6",
    "--option", "noise=1.0", "--replicates", "2",
]  # fmt: skip


@pytest.fixture
def toy(monkeypatch):
    """The toy is in the registry for one test, without Gymnasium ids."""
    monkeypatch.setitem(registry._TREATMENTS, "slot_toy", slot_toy.TREATMENT)


@pytest.fixture
def toy_package(tmp_path):
    """Environment variables with which a process finds the toy as an installed package."""
    info = tmp_path / "site" / "slot_toy-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: slot-toy\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[oncogym.treatments]\ntoy = slot_toy:TREATMENT\n")
    path = os.pathsep.join([str(tmp_path / "site"), str(Path(__file__).parent)])
    return {**os.environ, "PYTHONPATH": path}


def test_the_command_saves_a_plan_that_evaluate_takes(toy, tmp_path, capsys):
    out = tmp_path / "run"
    arguments = [*COMMAND, "--max-dose", "1.5", "--min-gap", "5", "--out", str(out), "--json"]
    assert main(arguments) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["method"] == "ga"
    assert document["settings"]["max_dose"] == 1.5
    assert document["settings"]["replicates"] == 2
    doses = [row["dose"] for row in document["schedule"]]
    hours = [row["time"] for row in document["schedule"]]
    assert max(doses) <= 1.5
    assert sum(doses) == slot_toy.TOTAL
    assert (np.diff(hours) >= 5.0).all()
    plan = PlanAgent.load(out / "plan.json")
    assert plan.actions[:, 0] * slot_toy.MAX_DOSE == pytest.approx(
        [row["dose"] for row in document["plan"]]
    )
    for name in ("config.json", "manifest.json", "history.csv"):
        assert (out / name).stat().st_size > 0
    assert main(["evaluate", "toy/Slots-v0", str(out / "plan.json"), "even", "--patients", "4",
                 "--json"]) == 0  # fmt: skip
    summary = json.loads(capsys.readouterr().out)["summary"]
    assert next(r for r in summary if r["agent"] == "plan" and r["metric"] == "given")[
        "mean"
    ] == pytest.approx(slot_toy.TOTAL)
    # A finished search can be resumed too: nothing is left to do but to score the finalists.
    assert main(["optimize", "--resume", str(out), "--json"]) == 0
    again = json.loads(capsys.readouterr().out)
    assert (again["score"], again["schedule"]) == (document["score"], document["schedule"])
    assert main([*COMMAND, "--out", str(out)]) == 2
    assert "holds a run already" in capsys.readouterr().err
    assert main(["optimize", "--resume", str(out)]) == 0
    assert "time" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["ChemoDosing-v0", "--method", "ga"], "cannot be planned on time slots"),
        (["toy/Slots-v0", "--method", "ga", "--budget", "79"], "allowed: at least 80"),
        (["toy/Slots-v0", "--method", "ga", "--max-dose", "0.7"], "max_dose is 0.7; allowed"),
        (["toy/Slots-v0", "--method", "ga", "--max-dose", "nan"], "max_dose is nan; allowed"),
        (["toy/Slots-v0", "--method", "ga", "--min-gap", "-1"], "min_gap is -1.0; allowed: 0 to"),
        (["toy/Slots-v0", "--method", "ga", "--set", "populaton=9"], "did you mean 'population'"),
        (["toy/Slots-v0", "--method", "ga", "--set", "elites=3"], "elites is 3; allowed"),
        (["toy/Slots-v0", "--method", "ga", "--set", "elites"], "KEY=VALUE"),
        (["toy/Slots-v0", "--method", "ga", "--from-protocols"], "--from-protocols has no meaning"),
        (["toy/Slots-v0", "--max-dose", "1"], "--max-dose has no meaning for --method de"),
        (["toy/Slots-v0", "--set", "elites=3"], "unknown setting of de 'elites'"),
        ([], "name an environment to optimise for"),
        (["--resume", "nowhere"], "nowhere holds no search to resume"),
    ],
)
def test_bad_usage_has_status_2_and_leaves_nothing(toy, arguments, message, tmp_path, capsys):
    out = tmp_path / "run"
    place = [] if "--resume" in arguments else ["--out", str(out)]
    assert main(["optimize", *arguments, *place]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error
    assert not out.exists()


def test_the_command_refuses_other_settings_by_name(toy, tmp_path, capsys):
    out = tmp_path / "run"
    assert main([*COMMAND, "--out", str(out)]) == 0
    same = ["toy/Slots-v0", "--method", "ga", "--seed", "1", "--set", "population=12"]
    same += ["--set", "mutations=split,swap,time_value", "--replicates", "2"]
    capsys.readouterr()
    assert main(["optimize", *same, "--resume", str(out)]) == 0
    for arguments, message in (
        (["--seed", "0"], "seed was 1, now 0"),
        (["--budget", "240"], "budget was 120, now 240"),
        (["--method", "de"], "method was 'ga', now 'de'"),
        (["--set", "population=14"], "set population was 12, now 14"),
        (["--set", "populaton=14"], "did you mean 'population'"),
        (["--option", "noise=2"], "option noise was 1.0, now 2"),
        (["--max-dose", "1"], "max_dose was None, now 1.0"),
        (["--cohort", "held_out"], "cohort was None, now 'held_out'"),
    ):
        assert main(["optimize", *arguments, "--resume", str(out)]) == 2
        assert message in capsys.readouterr().err
    config = out / "config.json"
    config.write_text(config.read_text()[:50])
    assert main(["optimize", "--resume", str(out)]) == 2
    assert "config.json" in capsys.readouterr().err
    config.write_text('{"settings": {"env": "toy/Slots-v0", "population": 3}}')
    assert main(["optimize", "--resume", str(out)]) == 2
    assert "config.json: not the request of a search" in capsys.readouterr().err


@pytest.mark.slow
def test_a_killed_command_ends_as_if_nothing_had_happened(toy_package, tmp_path):
    """SIGKILL after some generations; nothing on disk may be broken."""

    def command(*arguments):
        return [sys.executable, "-m", "oncogym.cli.main", *arguments]

    slow = [*COMMAND, "--option", "delay=0.03"]
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    kill_when(
        lambda: len(list_checkpoints(killed / "checkpoints")) >= 2,
        command(*slow, "--out", str(killed)),
        env=toy_package,
    )
    assert not (killed / "plan.json").exists()
    assert read_checkpoint(newest(killed)).steps < 9
    for arguments in (["optimize", "--resume", str(killed)], [*slow, "--out", str(whole)]):
        out = subprocess.run(
            command(*arguments), env=toy_package, capture_output=True, text=True, check=False
        )
        assert out.returncode == 0, out.stderr
    same_checkpoint(newest(killed), newest(whole))
    plans = [json.loads((folder / "plan.json").read_text()) for folder in (killed, whole)]
    assert plans[0]["actions"] == plans[1]["actions"]
    for name in ("score", "evaluations", "schedule", "settings", "history"):
        assert plans[0]["about"][name] == plans[1]["about"][name]
