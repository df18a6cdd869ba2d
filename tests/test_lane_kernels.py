"""Records, the loops made of scalar functions on them, and numbers that a kernel forgets."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import NamedTuple

import numba
import numpy as np
import pytest
from numba.core.registry import cpu_target

from oncogym.envs import chemo_dosing, records
from oncogym.envs.chemo_dosing import records as chemo
from oncogym.envs.chemo_dosing.task import ChemoTask
from oncogym.envs.chemo_neutrophils import records as neutrophils
from oncogym.envs.chemo_neutrophils.task import NeutrophilTask
from oncogym.envs.emt6ro_fractionation import records as emt6ro
from oncogym.envs.emt6ro_fractionation.task import EMT6RoTask
from oncogym.envs.glioblastoma_radiation import records as glioblastoma
from oncogym.envs.glioblastoma_radiation.task import GlioblastomaTask
from oncogym.envs.impt_beam_weighting import records as protons
from oncogym.envs.impt_beam_weighting.task import IMPTTask
from oncogym.envs.lane_kernels import (
    AS_IS,
    COLUMN,
    ITEM,
    ROW,
    SHOWN_ROW,
    WHOLE,
    Chosen,
    Scored,
    Shared,
    Shown,
    clip,
    over_active,
    over_lanes,
)
from oncogym.envs.source_digest import digest_of
from oncogym.envs.twins import dealt
from oncogym.envs.unwritten import UnwrittenError

CELL = records.make_record("age", ("marks", 2))
RULE = records.make_record("pace", "limit")
SCORE = records.make_record("gain", "loss", number=np.float32)


def live(action, cell, history, seed, rule, table, score):
    """Grow older by a rule and an action, and leave marks."""
    cell.age += rule.pace * action[0]
    cell.marks[1] += table[1, 0] + seed
    history[1] = cell.age
    score.gain = cell.age
    score.loss = -action[1]
    return cell.age > rule.limit, seed == 2


def look(cell, seen):
    """Show a cell."""
    seen.gain, seen.loss = cell.age, cell.marks[1]


class Pair(NamedTuple):
    """Two arrays that lanes have in common."""

    low: np.ndarray
    high: np.ndarray


def climb(rule, pair, ladder, rung):
    """Put what a rule of several, and a pair, allow into the middle row of a lane's ladder."""
    ladder[1, 1] = clip(rule.pace, pair.low[0], pair.high[0])
    return ladder.shape[0] * 10 + rung


def rest(cell, history, rule):
    """Only grow older."""
    cell.age += rule.pace
    history[0] = cell.age


def show(cell, seen):
    """Show a cell in a plain row."""
    seen[1] = cell.age


LIVE = over_active(
    live,
    idle=rest,
    actions=ROW,
    cells=CELL,
    history=COLUMN,
    seeds=ITEM,
    rule=Shared(RULE),
    table=WHOLE,
    scores=Scored(SCORE),
    returns=("over", "second"),
)
CLIMB = over_lanes(
    climb,
    rules=Chosen(RULE, "which"),
    pair=AS_IS,
    ladders=ROW,
    rungs=ITEM,
    returns=("height",),
)
LOOK = over_lanes(look, cells=CELL, seen=Shown(SCORE))
SHOW = over_lanes(show, cells=CELL, seen=SHOWN_ROW)


def live_once(loop, cells):
    history, scores = np.full((2, 4), 7.0), np.full((4, 2), 9.0, np.float32)
    over, second = np.ones(4, np.bool_), np.ones(4, np.bool_)
    active = np.array([True, True, False, True])
    actions = np.arange(8.0).reshape(4, 2)
    rule = records.pack_record(RULE, limit=10.0, pace=2.0)
    table = np.array([[0.0], [100.0]])
    loop(active, actions, cells, history, np.arange(4), rule, table, scores, over, second)
    return history, scores, over, second


@pytest.mark.parametrize("number", [0, 1], ids=["serial", "parallel"])
def test_a_scalar_function_becomes_loops_over_lanes(number):
    cells = records.make_rows(4, CELL)
    cells[:, 0] = 1.0
    history, scores, over, second = live_once(LIVE[number], cells)
    # age 1 + 2 action[0]; the third lane is not active: it rests, its results are zeros
    assert cells.tolist() == [[1, 0, 100], [5, 0, 101], [3, 0, 0], [13, 0, 103]]
    assert history.tolist() == [[7, 7, 3, 7], [1, 5, 7, 13]]
    assert scores.tolist() == [[1, -1], [5, -3], [0, 0], [13, -7]]
    assert over.tolist() == [False, False, False, True]
    assert second.tolist() == [False, False, False, False]
    seen = np.zeros((2, 2), np.float32)
    LOOK[number](np.array([3, 1]), cells, seen)
    assert seen.tolist() == [[13, 103], [5, 101]]
    SHOW[number](np.array([2, 1]), cells, seen)
    assert seen.tolist() == [[13, 3], [5, 5]]


@pytest.mark.parametrize("number", [0, 1], ids=["serial", "parallel"])
def test_lanes_have_rows_of_any_shape_and_choose_among_records(number):
    rules, which = np.array([[1.0, 0.0], [5.0, 0.0], [9.0, 0.0]]), np.array([2, 0, 1])
    pair, ladders = Pair(np.array([2.0]), np.array([7.0])), np.zeros((3, 4, 2))
    height = np.zeros(3)
    CLIMB[number](np.arange(3), rules, which, pair, ladders, np.array([1.0, 2.0, 3.0]), height)
    assert ladders[:, 1, 1].tolist() == [7.0, 2.0, 5.0]
    assert ladders.sum() == 14.0
    assert height.tolist() == [41.0, 42.0, 43.0]


def test_a_loop_refuses_rows_of_another_width():
    with pytest.raises(ValueError, match="cells has another width than its record, 3"):
        live_once(LIVE[0], np.zeros((4, 2)))


@pytest.mark.parametrize("threads", [1, 2, 3, 5])
@pytest.mark.parametrize("lanes", [1, 4, 64])
def test_every_thread_gets_neighbours_of_all_kinds(monkeypatch, lanes, threads):
    monkeypatch.setattr(numba, "get_num_threads", lambda: threads)
    order = dealt(np.arange(lanes))
    assert np.sort(order).tolist() == list(range(lanes))
    # Of four plans with as many patients each, threads have as many of each but for one or two.
    if lanes == 64:
        for run in np.array_split(order, threads):
            assert np.ptp(np.bincount(run // 16, minlength=4)) <= 2


def test_loops_have_names_and_places_of_their_own_for_the_cache():
    other = over_lanes(look, cells=CELL, seen=Scored(SCORE))
    names = [loop.py_func.__qualname__ for loop in (*LIVE, *LOOK, *other)]
    assert len(set(names)) == len(names)
    for number, name in ((0, "live"), (2, "look"), (4, "look")):
        assert re.fullmatch(rf"{name}_lanes_\w{{8}}", names[number])
        assert names[number + 1] == f"{names[number]}_parallel"
    for loop in LIVE:
        code = loop.py_func.__code__
        assert code.co_filename == __file__
        assert code.co_firstlineno == live.__code__.co_firstlineno


def test_a_loop_holds_the_sources_that_it_is_made_of(tmp_path, monkeypatch):
    """A change of an imported file changes what numba's cache goes by; of another it does not."""
    kernel = f"{chemo_dosing.__name__}.step_kernels"
    loop = sys.modules[kernel].advance_lanes
    assert loop._cache._index_key(None, cpu_target.target_context.codegen())[-1] == digest_of(
        kernel
    )
    fresh = digest_of.__wrapped__
    for name, counts in (
        ("chemo_dosing.records", True),
        ("chemo_dosing.interval_kernels", True),
        ("streams", True),
        ("chemo_dosing.task", False),
    ):
        module = sys.modules[f"oncogym.envs.{name}"]
        changed = tmp_path / "changed.py"
        with open(module.__file__, encoding="utf-8") as file:
            changed.write_text(file.read() + "\n# changed\n", encoding="utf-8")
        with monkeypatch.context() as patch:
            patch.setattr(module, "__file__", str(changed))
            assert (fresh(kernel) != digest_of(kernel)) is counts, name


def test_records_are_packed_and_read_by_name():
    row = records.pack_record(RULE, limit=3.0, pace=0.5)
    assert row.tolist() == [0.5, 3.0]
    assert records.records_of(row, RULE)["limit"] == 3.0
    cells = np.arange(6.0).reshape(2, 3)
    assert records.records_of(cells, CELL)["marks"].tolist() == [[1, 2], [4, 5]]
    assert records.make_rows(2, SCORE).dtype == np.float32
    with pytest.raises(ValueError, match="limit given or missing"):
        records.pack_record(RULE, pace=0.5)
    with pytest.raises(ValueError, match="speed given or missing"):
        records.pack_record(RULE, pace=0.5, limit=1.0, speed=2.0)
    with pytest.raises(ValueError, match=r"rows of shape \(2, 3\); allowed: \(…, 2\)"):
        records.records_of(cells, RULE)
    with pytest.raises(ValueError, match="without fields"):
        records.make_record()
    with pytest.raises(ValueError, match="outcome: limit where the record has pace"):
        records.check_order("outcome", ["limit", "pace"], RULE)
    with pytest.raises(ValueError, match="outcome: None where the record has limit"):
        records.check_order("outcome", ["pace"], RULE)


#: Tasks of each model whose kernels write records.
TASKS = {
    "chemotherapy": (ChemoTask, {}),
    "docetaxel": (NeutrophilTask, {}),
    "docetaxel by counts": (NeutrophilTask, {"observation": "measurable"}),
    "radiation": (GlioblastomaTask, {}),
    "fractions of protons": (IMPTTask, {"observation": "full"}),
    "refinement of protons": (IMPTTask, {"formulation": "published", "observation": "full"}),
    "spheroids": (
        EMT6RoTask,
        {
            "fidelity": "screening",
            "hours": 1.0,
            "treatment_hours": 1.0,
            "min_wait": 0.5,
            "max_wait": 0.5,
        },
    ),
}
#: What the columns of a result are called, and where a task names them.
RESULTS = {
    "observation": ("observed number", lambda task: task.observed),
    "reward_terms": ("reward term", lambda task: task.reward_terms),
    "costs": ("cost", lambda task: task.costs),
    "outcome": ("outcome", lambda task: [metric.name for metric in task.metrics]),
}


@pytest.mark.parametrize("array", RESULTS)
@pytest.mark.parametrize("which", TASKS)
def test_a_number_that_a_kernel_forgets_is_an_error_that_names_it(which, array):
    """For each of them in turn, a step that writes all but this one."""
    kind, options = TASKS[which]
    what, names = RESULTS[array]

    class Forgetful(kind):
        column: int

        def _advance_lanes(self, actions, active, result):
            written = getattr(result, array).copy()
            super()._advance_lanes(actions, active, result._replace(**{array: written}))
            kept = np.arange(written.shape[1]) != self.column
            getattr(result, array)[:, kept] = written[:, kept]

    task = Forgetful(2, **options)
    keys = np.zeros(2, np.uint64)
    actions = np.full((2, *task.action_space.shape), 0.1)
    assert names(task)
    for column, name in enumerate(names(task)):
        task.column = column
        task.reset(np.arange(2), task.patients.copy(), keys, keys)
        with pytest.raises(UnwrittenError, match=f"Forgetful left {what} '{name}' of row 0"):
            task.step(actions, np.ones(2, np.bool_))


def test_results_and_descriptions_of_protons_come_from_its_records():
    assert IMPTTask.reward_terms == records.names_of(protons.TERMS)
    assert IMPTTask.costs == records.names_of(protons.COSTS)
    assert tuple(m.name for m in IMPTTask.metrics) == records.names_of(protons.OUTCOME)
    for formulation, parts in (
        ("sound", (protons.DOSES_SEEN, protons.ORGAN_SEEN)),
        ("published", (protons.TARGET_REFINED, protons.ORGAN_REFINED, protons.PLAN_REFINED)),
    ):
        task = IMPTTask(1, formulation=formulation, observation="full")
        assert task.observation_space.shape == (len(task.observed),)
        for part in parts:
            first, *rest = records.names_of(part)
            at = next(n for n, name in enumerate(task.observed) if name.endswith(first))
            assert all(task.observed[at + k].endswith(name) for k, name in enumerate(rest, 1))


def test_results_and_descriptions_of_radiation_come_from_its_records():
    assert GlioblastomaTask.reward_terms == records.names_of(glioblastoma.TERMS)
    assert GlioblastomaTask.costs == records.names_of(glioblastoma.COSTS)
    assert tuple(m.name for m in GlioblastomaTask.metrics) == records.names_of(glioblastoma.OUTCOME)
    for observation, record, more in (
        ("full", glioblastoma.SEEN, 201),
        ("measurable", glioblastoma.SCANNED, 0),
    ):
        task = GlioblastomaTask(1, observation=observation)
        assert task.observed == records.names_of(record)
        assert task.observation_space.shape == (len(task.observed) + more,)
    assert GlioblastomaTask(1, observation="density").observed == ()


def test_results_and_descriptions_of_docetaxel_come_from_its_records():
    assert NeutrophilTask.reward_terms == records.names_of(neutrophils.TERMS)
    assert NeutrophilTask.costs == records.names_of(neutrophils.COSTS)
    assert tuple(m.name for m in NeutrophilTask.metrics) == records.names_of(neutrophils.OUTCOME)
    for observation, record in (
        ("full", neutrophils.FULL),
        ("measurable", neutrophils.MEASURED),
    ):
        task = NeutrophilTask(1, observation=observation)
        assert task.observed == records.names_of(record)
        assert task.observation_space.shape == (len(task.observed),)
        assert task.observation_space.low[task.observed.index("log_cells")] == -10.0


def test_results_and_descriptions_of_spheroids_come_from_its_records():
    assert EMT6RoTask.reward_terms == records.names_of(emt6ro.TERMS)
    assert EMT6RoTask.costs == records.names_of(emt6ro.COSTS)
    assert tuple(m.name for m in EMT6RoTask.metrics) == records.names_of(emt6ro.OUTCOME)
    for observation, record, shape in (
        ("full", emt6ro.SUMMARY, (23,)),
        ("measurable", emt6ro.MEASURED, (6,)),
        ("image", emt6ro.IMAGE, (8, 51, 51)),
    ):
        task = EMT6RoTask(1, observation=observation)
        assert task.observation_space.shape == shape
        assert len(task.observed) == shape[0]
        assert np.prod(shape) == records.width_of(record)
    # A number of several has the place that the record gives it.
    names = EMT6RoTask(1).observed
    for field, first in (("phases", "g1"), ("modes", "aerobic"), ("amounts", "glucose")):
        assert emt6ro.SUMMARY.fields[field][1] == 4 * names.index(first)
    assert len(emt6ro.SAMPLED) == records.width_of(emt6ro.SAMPLE)


def test_results_and_descriptions_of_chemotherapy_come_from_its_records():
    assert ChemoTask.reward_terms == records.names_of(chemo.TERMS)
    assert ChemoTask.costs == records.names_of(chemo.COSTS)
    assert tuple(m.name for m in ChemoTask.metrics) == records.names_of(chemo.OUTCOME)
    space = ChemoTask(1).observation_space
    assert space.shape == (len(ChemoTask.observed),)
    assert chemo.OBSERVED["log_cells"] == (space.low[3], space.high[3]) == (-10.0, 10.0)


def test_a_step_is_compiled_anew_when_what_it_calls_has_changed(tmp_path):
    """The file of the step between is the same, so a cache of its own would hold the old code."""
    steps = "from oncogym.envs.lane_kernels import inlined\n"
    files = {
        "leaf_step": steps + "@inlined\ndef leaf(x):\n    return x + ADDED\n",
        "middle_step": steps + "from leaf_step import leaf\n@inlined\ndef middle(x):\n"
        "    return leaf(x)\n",
        "loop_step": "from numba import njit\nfrom middle_step import middle\n"
        "@njit(cache=True)\ndef loop(x):\n    return middle(x)\n# ADDED\n",
    }

    def found(added: str) -> str:
        for name, text in files.items():
            (tmp_path / f"{name}.py").write_text(text.replace("ADDED", added), encoding="utf-8")
        command = [sys.executable, "-c", "import loop_step; print(loop_step.loop(1.0))"]
        done = subprocess.run(
            command, cwd=tmp_path, capture_output=True, text=True, check=True, timeout=120
        )
        return done.stdout.strip()

    assert found("1.0") == "2.0"
    assert found("22.0") == "23.0"


def test_loops_of_one_function_do_not_load_each_others_code(tmp_path):
    """Rows or columns of the same array: type and instructions of the two loops are the same."""
    (tmp_path / "two_loops.py").write_text(
        "from oncogym.envs.lane_kernels import COLUMN, ROW, over_lanes\n"
        "def last(values):\n    return values[values.shape[0] - 1]\n"
        "rows = over_lanes(last, values=ROW, returns=('found',))\n"
        "columns = over_lanes(last, values=COLUMN, returns=('found',))\n",
        encoding="utf-8",
    )
    script = (
        "import sys, numpy as np, two_loops\n"
        "values, lanes = np.arange(9.0).reshape(3, 3), np.arange(3)\n"
        "for name in sys.argv[1:]:\n"
        "    for loop in getattr(two_loops, name):\n"
        "        found = np.zeros(3)\n"
        "        loop(lanes, values, found)\n"
        "        print(*found.astype(int), sum(loop.stats.cache_hits.values()))\n"
    )

    def run(*names: str) -> list[list[int]]:
        command = [sys.executable, "-c", script, *names]
        done = subprocess.run(
            command, cwd=tmp_path, capture_output=True, text=True, check=True, timeout=120
        )
        return [[int(word) for word in line.split()] for line in done.stdout.splitlines()]

    rows, columns = [2, 5, 8], [6, 7, 8]
    assert run("rows") == 2 * [[*rows, 0]]
    assert run("columns") == 2 * [[*columns, 0]]
    assert run("columns", "rows") == 2 * [[*columns, 1]] + 2 * [[*rows, 1]]
