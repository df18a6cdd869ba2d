"""The automaton: reference numbers, rules, properties, files."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oncogym.envs.emt6ro_fractionation import (
    RECORD,
    EMT6RoPatient,
    Parameters,
    Protocol,
    ProtocolError,
    Tumour,
    TumourFileError,
    grow,
    kernels,
    library,
    read_protocols,
    read_tumour,
    rules,
    simulate,
    write_tumour,
)
from oncogym.envs.emt6ro_fractionation.jobs import live_until
from oncogym.envs.emt6ro_fractionation.parameters import FIDELITIES, Fidelity
from oncogym.envs.emt6ro_fractionation.records import BIOLOGY, COUNTERS, SIDE, SITES, Chance
from oncogym.envs.emt6ro_fractionation.tumour import State, stack
from oncogym.envs.emt6ro_fractionation.tumour_library import biology, library_bytes
from oncogym.envs.records import make_rows, records_of

DATA = Path(__file__).parent / "data"
REFERENCE = DATA / "emt6ro_tumours"
BMII = Protocol.parse("2@0;2@24;2@24;2@24;2@24", "BMII")


def reference_tumours() -> list[Tumour]:
    return [read_tumour(REFERENCE / f"tumor-{n}.txt") for n in range(1, 11)]


def advance(state: State, steps: int, fidelity="exact", doses=None, seed=1, follow=True):
    """Let the only tumour live; its counters."""
    settings = Parameters().settings(FIDELITIES[fidelity], follow)
    doses = np.zeros(0) if doses is None else np.asarray(doses, np.float64)
    rows = make_rows(1, COUNTERS)
    return live_until(steps, state, rows, biology(), settings, doses, seed)[0]


def source_biology() -> np.void:
    """The source's biology as the rules of a site take it."""
    return records_of(biology(), BIOLOGY)[()]


def single_cell(row=25, column=25, **clocks) -> State:
    """One group in G1 in the bath; times in steps."""
    state = State.empty(1)
    site = row * SIDE + column
    state.phase[0, site] = rules.G1
    state.groups["ends"][0, site] = [3600, 9600, 10800, 12000, 12060]
    for name, value in clocks.items():
        state.groups[name][0, site] = value
    return state


@pytest.mark.parametrize("row", range(15))
def test_first_steps_of_the_reference(row):
    """After one diffusion and after one step everything is determined; later, births are random."""
    expected = pd.read_csv(DATA / "emt6ro_first_steps.csv").iloc[row]
    state = stack([read_tumour(REFERENCE / f"tumor-{int(expected.tumour)}.txt")])
    steps = int(expected.nsteps)
    if steps == 0:
        exact = Parameters().settings(Fidelity(), True)
        box, free = kernels.diffuse_tumour(state.rows, exact)
        disc = expected[["roi_r0", "roi_c0", "H", "W", "Dm", "free"]].to_numpy(np.int64)
        assert (*box, free) == tuple(disc)
        born = 0
    else:
        born = int(advance(state, steps)["births"])
    occupied = state.phase[0] > 0
    phases = np.bincount(state.phase[0], minlength=6)[1:]
    modes = np.bincount(state.mode[0][occupied], minlength=4)
    fields = state.fields[0].astype(np.float64) + Parameters().bath[:, None]
    sums = expected[["sumCHO", "sumOX", "sumGI"]].to_numpy(np.float64)
    if steps < 10:
        # Whether a group in D divides at once is random; it becomes two in G1, the new one aerobic.
        assert expected.births == 0
        assert occupied.sum() == expected.occ + born
        birth = np.array([2, 0, 0, 0, -1]) * born
        assert (phases - birth).tolist() == expected[["G1", "S", "G2", "M", "D"]].tolist()
        modes[0] -= born
        assert modes.tolist() == expected[["mode0", "mode1", "mode2", "mode3"]].tolist()
        np.testing.assert_allclose(fields.sum(axis=1), sums, rtol=1e-5)
    else:  # at most the few divisions of ten steps differ
        assert abs(int(occupied.sum()) - expected.occ) <= 2
        np.testing.assert_allclose(fields.sum(axis=1), sums, rtol=1e-3)


def test_reference_files_round_trip(tmp_path):
    tumour = read_tumour(REFERENCE / "tumor-3.txt")
    assert tumour.sites == 315
    write_tumour(tmp_path / "copy.txt", tumour)
    again = read_tumour(tmp_path / "copy.txt")
    for name in ("phase", "mode"):
        assert np.array_equal(getattr(tumour, name), getattr(again, name))
    np.testing.assert_allclose(again.clocks, tumour.clocks, rtol=1e-6)
    np.testing.assert_allclose(again.amounts, tumour.amounts, atol=2e-5)


def test_malformed_tumour_files_name_file_line_and_value(tmp_path):
    path = tmp_path / "tumour.txt"
    write_tumour(path, library()[0])
    lines = path.read_text().splitlines()
    first = next(n for n, line in enumerate(lines[2:], 2) if line == "1")
    for number, text, problem in (
        (0, "50", "line 1: height is 50; allowed: 51 to 51"),
        (2, "2", "line 3: an occupied flag is 2"),
        (3, "lots", "line 4: glucose is 'lots'; allowed: a number"),
        (4, "-1", "line 5: oxygen is -1; allowed: 0 to"),
        (4, "nan", "line 5: oxygen is nan"),
        (first + 13, "0.5", f"line {first + 14}: a phase is 0.5; allowed: a whole number"),
        (first + 12, "7", f"line {first + 13}: a mode is 7; allowed: 0 to 3"),
    ):
        broken = tmp_path / "broken.txt"
        broken.write_text("\n".join([*lines[:number], text, *lines[number + 1 :]]))
        with pytest.raises(TumourFileError, match=problem.replace(".", r"\.")) as error:
            read_tumour(broken)
        assert str(broken) in str(error.value)
    (tmp_path / "short.txt").write_text("\n".join(lines[:100]))
    with pytest.raises(TumourFileError, match="line 101: the file ends where"):
        read_tumour(tmp_path / "short.txt")
    (tmp_path / "long.txt").write_text("\n".join([*lines, "3"]))
    with pytest.raises(TumourFileError, match=f"line {len(lines) + 1}: 1 values too many"):
        read_tumour(tmp_path / "long.txt")
    (tmp_path / "binary.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(TumourFileError, match="not a text file"):
        read_tumour(tmp_path / "binary.txt")
    with pytest.raises(FileNotFoundError):
        read_tumour(tmp_path / "nowhere.txt")


# Protocols


def test_waits_come_before_doses_and_times_go_down_to_the_grid():
    assert BMII.times == ((0.0, 2.0), (24.0, 2.0), (48.0, 2.0), (72.0, 2.0), (96.0, 2.0))
    four = Protocol.from_pairs([(1.42, 17.1)] * 7)
    assert [hour for hour, _ in four.times] == [17.0, 34.0, 51.0, 68.0, 85.5, 102.5, 119.5]
    assert Protocol.from_times([(5.0, 1.0), (5.4, 2.0), (1.0, 0.0)]).times == ((5.0, 3.0),)
    # 0.1 + 0.2 + 0.2 is a little below 0.5, and meant to be 0.5
    assert Protocol.from_pairs([(1.0, 0.1), (1.0, 0.2), (1.0, 0.2)]).times == (
        (0.0, 2.0),
        (0.5, 1.0),
    )
    assert Protocol.from_slots(BMII.slots(240)).times == BMII.times
    assert BMII.total == 10.0


@given(
    st.lists(
        st.tuples(st.integers(1, 40).map(lambda k: k / 4), st.integers(0, 60).map(lambda k: k / 2)),
        min_size=1,
        max_size=10,
    )
)
def test_pairs_and_times_describe_the_same_protocol(pairs):
    times = np.cumsum([wait for _, wait in pairs])
    doses = [dose for dose, _ in pairs]
    one = Protocol.from_pairs(pairs)
    assert one == Protocol.from_times(zip(times, doses, strict=True))
    assert one.total == pytest.approx(sum(doses))
    text = ";".join(f"{dose}@{wait}" for dose, wait in pairs)
    assert Protocol.parse(text) == one


def test_malformed_protocols_name_file_line_and_value(tmp_path):
    for text, problem in (
        ("1.25@x", "'1.25@x' is not DOSE@WAIT"),
        ("1.25", "'1.25' is not DOSE@WAIT"),
        ("-1@2", "a dose is -1 Gy"),
        ("1@-2", "a wait is -2 h"),
        ("nan@2", "a dose is nan Gy"),
        ("1@inf", "a wait is inf h"),
    ):
        path = tmp_path / "protocols.txt"
        path.write_text(f"# comment\n\ngood 1@2\nbad {text}\n")
        with pytest.raises(ProtocolError, match=f"line 4: bad: {problem}") as error:
            read_protocols(path)
        assert str(path) in str(error.value)
    path.write_text("lonely\n")
    with pytest.raises(ProtocolError, match="line 1: 'lonely' has no doses"):
        read_protocols(path)
    with pytest.raises(ProtocolError, match="no pair of numbers"):
        Protocol.from_times([(1.0, 2.0, 3.0)])
    assert len(read_protocols(DATA / "emt6ro_random_protocols.txt")) == 20


# Rules of a site


def test_a_lone_group_divides_after_its_cycle():
    """G1 6 h, S 10, G2 2, M 2: the daughter appears in the first step of D."""
    state = single_cell()
    advance(state, 12000)
    assert (state.phase[0] > 0).sum() == 1
    counters = advance(single := single_cell(), 12001)
    assert (counters["births"], counters["sites"]) == (1, 2)
    places = np.flatnonzero(single.phase[0])
    assert (single.phase[0][places] == rules.G1).all()
    assert (single.groups["clock"][0, places] == 0.0).all()
    apart = np.abs(places // SIDE - places[::-1] // SIDE).max()
    assert apart <= 1


def test_directions_have_the_weights_of_distances():
    count = np.zeros((3, 3))
    for u in (np.arange(200_000) + 0.5) / 200_000:
        row, column = rules.direction(u)
        count[row + 1, column + 1] += 1
    share = count / count.sum()
    root = np.sqrt(2.0)
    cross, corner = root / (4 + 4 * root), 1 / (4 + 4 * root)
    expected = np.array([[corner, cross, corner], [cross, 0, cross], [corner, cross, corner]])
    np.testing.assert_allclose(share, expected, atol=1e-5)


@pytest.mark.parametrize("fidelity", ["exact", "accelerated", "screening"])
def test_a_group_without_room_dies_at_the_end_of_d(fidelity):
    """Surrounded by sites that cannot divide, it waits in D for a tenth of an hour and dies."""
    state = single_cell(clock=12000.0)
    middle = 25 * SIDE + 25
    state.phase[0, middle] = rules.M
    for row in (24, 25, 26):
        for column in (24, 25, 26):
            site = row * SIDE + column
            if site != middle:  # in the middle of S for a long time
                state.phase[0, site] = rules.S
                state.groups["ends"][0, site] = np.arange(5) * 100_000
                state.groups["ends"][0, site, 1] = 100_000
    counters = advance(state, 120, fidelity)
    assert counters["age_deaths"] == 1
    assert state.phase[0, middle] == rules.VACANT
    assert counters["sites"] == 8


def test_crowded_groups_stop_before_s_and_damage_waits():
    state = single_cell(clock=3599.0)
    for row in (24, 25, 26):
        for column in (24, 25, 26):
            site = row * SIDE + column
            state.phase[0, site] = rules.G1
            state.groups["ends"][0, site] = 1e6 + np.arange(5)
    middle = 25 * SIDE + 25
    state.groups["ends"][0, middle] = [
        3600,
        9600,
        10800,
        12000,
        12060,
    ]
    advance(state, 600, doses=[1.5, 0.5])
    row = state.groups[0, middle]
    assert state.phase[0, middle] == rules.G1
    assert row["clock"] == 3599.0
    assert state.mode[0, middle] >= 2
    assert row["damage"] == 2.0
    assert row["repaired"] == 0.0
    assert row["repair"] == pytest.approx(600 * 3.3414 * np.exp(0.1492 * 2.0), rel=1e-6)


def test_a_dose_interrupts_a_repair_and_counts_what_was_recovered():
    after = rules.irradiate(np.float32(2.0), np.float32(480.0), np.float32(1.0), source_biology())
    assert after == pytest.approx(2.0 / (1.0 + 1.0) + 1.0)
    # In S with a repair under way: the dose resets it, and the clock goes on until G2.
    state = single_cell(clock=5000.0, damage=2.0, repaired=480.0, repair=3000.0)
    state.phase[0, 25 * SIDE + 25] = rules.S
    advance(state, 10, doses=[1.0])
    row = state.groups[0, 25 * SIDE + 25]
    assert row["damage"] == pytest.approx(2.0)
    assert (row["repaired"], row["clock"]) == (0.0, 5010.0)


def test_survival_of_a_repair_is_exponential():
    draws = [
        rules.killed(np.float32(2.0), source_biology(), Chance(np.uint64(1), np.uint64(n), 0), 5)
        for n in range(20_000)
    ]
    expected = 1.0 - np.exp(-0.4993 * 2.0)
    assert np.mean(draws) == pytest.approx(expected, abs=4 * np.sqrt(expected / 20_000))


def test_time_of_long_steps_is_spent_event_by_event():
    """Over any number of steps at once a free cell is where single steps bring it."""
    ends = np.array([3600, 9600, 10800, 12000, 12060], np.float32)
    zero = np.float32(0.0)
    for length in (1, 7, 20, 60):
        phase, clock = rules.G1, zero
        for _ in range(0, 9000, length):
            phase, clock, *_ = rules.advance_budget(
                phase, np.float32(clock), ends, zero, zero, zero, True, False, length,
                source_biology(), Chance(np.uint64(0), np.uint64(0), 0), 0,
            )  # fmt: skip
        total = -(-9000 // length) * length
        assert (phase, clock) == (rules.S, total)


# Simulation


@pytest.mark.slow
def test_same_results_whatever_the_batch_and_threads():
    tumours = library()[:2]
    several = [BMII, Protocol.parse("1@0;3@30", "x"), Protocol.from_times([])]
    options = {"runs": 2, "seed": 5, "hours": 120.0, "fidelity": "accelerated"}
    whole = simulate(several, tumours, record=[0.0, 60.0, 119.5], **options)
    serial = simulate(several, tumours, parallel=False, **options)
    assert np.array_equal(whole.sites, serial.sites)
    assert np.array_equal(whole.burden, serial.burden)
    alone = simulate(several[1], tumours, **{**options, "runs": 1})
    assert alone.sites.tolist() == whole.sites[1:2, :, :1].tolist()
    other = simulate(several, tumours, **{**options, "seed": 6})
    assert not np.array_equal(whole.sites, other.sites)
    paired = simulate(several, tumours, paired=True, **{**options, "hours": 100.0})
    assert (paired.sites[0] != paired.sites[1]).any()
    start = [tumour.sites for tumour in tumours]
    assert whole.course("sites")[0, :, 0, 0].tolist() == start
    course = whole.courses
    assert (course[..., 1:6].sum(-1) == course[..., 0]).all()
    assert (course[..., 6:10].sum(-1) == course[..., 0]).all()
    assert course.shape == (3, 2, 2, 3, len(RECORD))


@pytest.mark.slow
@pytest.mark.parametrize("fidelity", ["exact", "screening"])
def test_sampling_the_acid_changes_no_cell(fidelity):
    one = Protocol.parse("2@1;2@20")
    given = {"runs": 1, "hours": 30.0, "fidelity": fidelity}
    auto = simulate(one, library()[:2], **given)
    always = simulate(one, library()[:2], acid="always", **given)
    for name in ("sites", "burden", "births", "deaths"):
        assert np.array_equal(getattr(auto, name), getattr(always, name))


@pytest.mark.slow
def test_acid_that_acts_is_followed():
    """With a low threshold proliferation stops, whether or not the acid is sampled at first."""
    acid = {"acid_stop": 6e-3}
    given = {"hours": 24.0, "fidelity": "exact", "parameters": acid}
    auto = simulate(Protocol.from_times([]), library()[:1], **given)
    always = simulate(Protocol.from_times([]), library()[:1], acid="always", **given)
    free = simulate(Protocol.from_times([]), library()[:1], hours=24.0)
    assert always.births[0, 0, 0] < free.births[0, 0, 0]
    assert auto.sites[0, 0, 0] == pytest.approx(always.sites[0, 0, 0], abs=15)


def test_dose_at_the_last_slot_two_in_one_slot_and_none():
    tumour = library()[0]
    late = simulate(Protocol.from_times([(11.5, 5.0)]), tumour, hours=12.0)
    none = simulate(Protocol.from_times([]), tumour, hours=12.0)
    zero = simulate(Protocol.from_times([(3.0, 0.0)]), tumour, hours=12.0)
    assert none.sites == zero.sites
    assert late.repair_deaths[0, 0, 0] == none.repair_deaths[0, 0, 0] == 0
    two = simulate(Protocol.from_times([(0.0, 1.0), (0.2, 1.0)]), tumour, hours=12.0)
    one = simulate(Protocol.from_times([(0.0, 2.0)]), tumour, hours=12.0)
    assert two.sites == one.sites
    with pytest.raises(ProtocolError, match="5 Gy at 12 h; allowed: before 12 h"):
        simulate(Protocol.from_times([(12.0, 5.0)]), tumour, hours=12.0)


@pytest.mark.parametrize("fidelity", ["exact", "accelerated", "screening"])
def test_a_tumour_that_dies_out_stays_dead(fidelity):
    state = single_cell()
    tumour = Tumour.from_state(state)
    killed = simulate(
        Protocol.from_times([(0.0, 20.0)]), tumour, hours=240.0, fidelity=fidelity,
        record=[0.0, 120.0, 240.0],
    )  # fmt: skip
    assert killed.sites[0, 0, 0] == 0
    assert killed.course("sites")[0, 0, 0].tolist()[-1] == 0.0
    assert killed.repair_deaths[0, 0, 0] == killed.deaths[0, 0, 0] == 1
    assert 0.0 < killed.burden[0, 0, 0] < 1.0
    empty = simulate(BMII, Tumour.from_state(State.empty(1)), fidelity=fidelity)
    assert empty.sites[0, 0, 0] == 0


@pytest.mark.parametrize("fidelity", ["accelerated", "screening"])
def test_a_tumour_at_the_edge_of_the_lattice_stays_on_it(fidelity):
    corner = Tumour.from_state(single_cell(0, 0))
    result = simulate(Protocol.from_times([]), corner, hours=240.0, fidelity=fidelity)
    assert 50 < result.sites[0, 0, 0] < SITES
    state = stack([corner])
    advance(state, 144_000, fidelity)
    assert np.isfinite(state.fields).all()
    assert state.phase[0, 0] != rules.VACANT or (state.phase[0] > 0).any()


def test_a_full_lattice_is_simulated():
    """Every site occupied: nowhere to divide, everything starves from within."""
    state = State.empty(1)
    state.phase[:] = rules.G1
    state.groups["ends"] = [
        3600,
        9600,
        10800,
        12000,
        12060,
    ]
    full = Tumour.from_state(state)
    for fidelity in ("exact", "screening"):
        result = simulate(Protocol.from_times([]), full, hours=1.0, fidelity=fidelity)
        assert 0 < result.sites[0, 0, 0] <= SITES


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 239), st.floats(0.25, 10.0), st.integers(0, 2**40))
def test_fields_and_counts_stay_within_their_bounds(slot, dose, seed):
    state = stack([library()[seed % 10]])
    doses = np.zeros(240)
    doses[slot % 24] = dose
    counters = advance(state, 7200, "screening", doses, seed % 1000)
    amounts = state.fields[0] + Parameters().bath[:, None]
    assert amounts.min() > -25.0  # what one mode eats at once from a site that holds just enough
    assert (amounts.max(axis=1) <= Parameters().bath * [1.0001, 1.0001, 30.0]).all()
    assert counters["sites"] == (state.phase[0] > 0).sum()
    born = counters["births"] - counters["deaths"]
    assert counters["sites"] == library()[seed % 10].sites + born
    vacant = state.phase[0] == rules.VACANT
    assert (state.clocks[0][vacant] == 0.0).all()


def test_bad_arguments_are_refused_by_name():
    for options, problem in (
        ({"runs": 0}, "runs is 0"),
        ({"seed": -1}, "seed is -1"),
        ({"hours": 0.3}, "hours is 0.3 h; allowed: 0.5"),
        ({"fidelity": "exakt"}, "did you mean 'exact'"),
        ({"compression": 61}, "compression is 61; allowed: an integer from 1 to 60"),
        ({"compression": 2.5}, "compression is 2.5"),
        ({"record": "daily"}, "unknown record"),
        ({"record": [3.0, 1.0]}, "must rise"),
        ({"record": [300.0]}, "a time to record is 300 h"),
        ({"acid": "never"}, "unknown acid"),
        ({"tumours": []}, "no tumour"),
        ({"protocols": []}, "no protocol"),
        ({"parameters": {"g3": 1.0}}, "unknown parameter 'g3'"),
        ({"parameters": {"g1": -1.0}}, "g1 is -1.0"),
        ({"parameters": {"diffusion_oxygen": 5.0}}, "unstable"),
    ):
        with pytest.raises(ValueError, match=problem):
            simulate(**{"protocols": BMII, **options})
    with pytest.raises(ValueError, match=r"tumour is 1\.5"):
        EMT6RoPatient(tumour=1.5)
    with pytest.raises(ValueError, match=r"age is 0\.3 d"):
        EMT6RoPatient(age=0.3)
    with pytest.raises(ValueError, match="survival is -1"):
        EMT6RoPatient(survival=-1.0)
    with pytest.raises(ValueError, match="days is"):
        grow([1], 0.01)
    with pytest.raises(ValueError, match="numbers of tumours"):
        grow([-1], 1.0)
    with pytest.raises(ValueError, match="sites is 0"):
        grow([1], 1.0, sites=0)


# Library


def test_growth_is_the_same_alone_and_in_company():
    one, two = grow([7, 8], 2.0)
    alone = grow([8], 2.0)[0]
    assert np.array_equal(two.phase, alone.phase)
    assert np.array_equal(two.amounts, alone.amounts)
    assert not np.array_equal(one.phase, two.phase)
    assert grow([7], 0.0)[0].sites == 10


@pytest.mark.slow
def test_the_shipped_library_is_regenerated_byte_for_byte():
    from importlib.resources import files

    content = (files("oncogym.envs.emt6ro_fractionation") / "library.npz").read_bytes()
    assert library_bytes() == content


@pytest.mark.slow
def test_command_that_regenerates_explains_itself():
    out = subprocess.run(
        [sys.executable, "-m", "oncogym.envs.emt6ro_fractionation", "--help"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "library.npz" in out.stdout


def test_shipped_tumours_are_like_the_reference_ones():
    """Sites, phases and modes of ten tumours beside those of the specification."""
    sites = np.array([tumour.sites for tumour in library()])
    assert abs(sites.mean() - 321.5) < 4 * np.hypot(sites.std(ddof=1), 10.9) / np.sqrt(10)
    phases = sum(np.bincount(t.phase.ravel(), minlength=6)[1:] for t in library())
    np.testing.assert_allclose(phases / phases.sum(), [0.77, 0.147, 0.036, 0.047, 0.0], atol=0.03)
    assert (stack(library()).groups["damage"] == 0.0).all()


# Statistics (fixed seeds: they pass or fail for good)


@pytest.mark.slow
def test_growth_from_ten_sites():
    """Specification 8.4: 331.1 sites at day 10 (sd 15.1, 10 runs), S with 2 h of spread."""
    grown = grow(range(500, 512), 10.0, fidelity="exact", parameters=Parameters())
    sites = np.array([tumour.sites for tumour in grown])
    # Held to what 30 tumours would have to meet.
    error = np.hypot(15.1 / np.sqrt(10), 15.1 / np.sqrt(30))
    assert abs(sites.mean() - 331.1) < 4 * error


@pytest.mark.slow
def test_random_protocols_of_the_reference():
    """7 schedules, 40 runs each at m = 20, against 500 of the source's program each.

    The mean over all has a standard error of 2.5 sites: an offset of 10 exceeds its limit of 6 with
    a probability of 0.94. tests/test_reproduce_emt6ro.py holds the mean over 28 others as well.
    """
    table = pd.read_csv(DATA / "emt6ro_random_protocols_reference.csv")
    protocols = read_protocols(DATA / "emt6ro_random_protocols.txt")
    assert [p.name for p in protocols] == table["id"].tolist()
    table, protocols = table[::3].reset_index(drop=True), protocols[::3]
    result = simulate(protocols, reference_tumours(), runs=4, seed=3, fidelity="accelerated")
    sites = result.sites.reshape(len(table), -1)
    # Held to what 100 runs would have to meet.
    error = np.hypot(table.sd_sites / np.sqrt(500), sites.std(axis=1, ddof=1) / np.sqrt(100))
    z = (sites.mean(axis=1) - table.mean_sites) / error
    assert np.abs(z).max() < 4.0
    assert abs((sites.mean(axis=1) - table.mean_sites).mean()) < 6.0
    assert np.corrcoef(sites.mean(axis=1), table.mean_sites)[0, 1] > 0.97
    ratio = np.sqrt((sites.var(axis=1, ddof=1)).mean() / (table.sd_sites**2).mean())
    assert 0.85 < ratio < 1.2
