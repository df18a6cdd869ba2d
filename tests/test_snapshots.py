"""Snapshots of lanes: a branch has the original's future, wherever and in whatever order it is."""

from __future__ import annotations

import importlib.util
import io
import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium as gym
import mortal_toy
import numpy as np
import pytest
import slot_toy
from conftest import SUITE_IDS

from oncogym.envs import Treatment, find_variant, get_treatment
from oncogym.envs.scalar_env import TherapyEnv
from oncogym.envs.snapshots import Snapshot
from oncogym.envs.therapy import StepResult, TherapyTask
from oncogym.envs.vector_env import TherapyVectorEnv

PACKAGE = Path(__file__).parent / "packages" / "oncogym_toy" / "oncogym_toy.py"
# Lanes of the original; no other axis of any array is as long.
LANES = 3
# Where the snapshot's lanes go in a larger task: one of them twice, in another order.
TAKEN = np.array([2, 0, 1, 2])
PLACES = np.array([4, 0, 3, 1])


def hormone_toy() -> Treatment:
    spec = importlib.util.spec_from_file_location("oncogym_toy", PACKAGE)
    module = importlib.util.module_from_spec(spec)
    # Dataclasses look their module up by name.
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(__import__("sys").modules, "oncogym_toy", module)
        spec.loader.exec_module(module)
    return module.TREATMENT


@dataclass(frozen=True)
class Case:
    """A decision problem whose lanes are branched."""

    name: str
    treatment: Treatment
    options: dict[str, Any]
    cohort: str = "nominal"
    # Actions up to this: a small one makes long courses.
    largest: float = 1.0

    def task(self, lanes: int) -> TherapyTask:
        return self.treatment.task(lanes, **self.options)

    def start(self, task: TherapyTask, seed: int = 0, cohort: str | None = None) -> np.ndarray:
        """Reset all lanes with patients of their own; the observations."""
        lanes = np.arange(task.num_lanes)
        seeds, episodes = (seed + lanes).astype(np.uint64), np.full(len(lanes), 2, np.uint64)
        return task.reset(lanes, self.patients(len(lanes), seed, cohort), seeds, episodes)

    def patients(self, lanes: int, seed: int = 0, cohort: str | None = None) -> np.ndarray:
        """Patients of the lanes that :meth:`start` resets."""
        seeds = (seed + np.arange(lanes)).astype(np.uint64)
        episodes = np.full(lanes, 2, np.uint64)
        return self.treatment.cohort(cohort or self.cohort).draw(seeds, episodes)

    def actions(self, task: TherapyTask, decisions: int) -> np.ndarray:
        rng = np.random.default_rng(1)
        shape = (decisions, task.num_lanes, *task.action_space.shape)
        return self.largest * rng.random(shape)


# Coarse numbers, where there are any: what is copied is the same.
FAST = {"emt6ro_fractionation": {"fidelity": "screening", "hours": 48.0, "treatment_hours": 36.0}}
SMALL = {"glioblastoma_radiation": 0.03, "chemo_dosing": 0.06}


def suite_case(env_id: str, **options: Any) -> Case:
    treatment, variant = find_variant(env_id)
    kept = {**variant.options, **FAST.get(treatment.name, {}), **options}
    cohort = kept.pop("cohort", "nominal")
    name = env_id.removeprefix("oncogym/") + "".join(f"-{value}" for value in options.values())
    return Case(name, treatment, kept, cohort, SMALL.get(treatment.name, 1.0))


CASES = [
    *(suite_case(env_id) for env_id in SUITE_IDS),
    suite_case("oncogym/ChemoDosingCohort-v0", observation="measurable"),
    suite_case("oncogym/GlioblastomaRadiationCohort-v0", observation="measurable", weekends=True),
    suite_case("oncogym/GlioblastomaRadiationPublished-v0", weekends=True),
    suite_case("oncogym/EMT6RoFractionation-v0", observation="measurable"),
    suite_case("oncogym/EMT6RoFractionation-v0", observation="image"),
    suite_case("oncogym/IMPTBeamWeighting-v0", observation="full"),
    suite_case("oncogym/IMPTBeamWeightingPublished-v0", observation="full"),
    Case("slot_toy", slot_toy.TREATMENT, {"noise": 1.0}, "population"),
    Case("mortal_toy", mortal_toy.TREATMENT, {}, "population"),
    Case("hormone_toy", hormone_toy(), {}, "population"),
]


@pytest.fixture(params=CASES, ids=lambda case: case.name)
def case(request: pytest.FixtureRequest) -> Case:
    return request.param


def run(task: TherapyTask, actions: np.ndarray, active: np.ndarray) -> list[StepResult]:
    """Results of all decisions until every lane is over."""
    results = []
    for action in actions:
        if not active.any():
            break
        results.append(task.step(action, active))
        active = active & ~(results[-1].terminated | results[-1].truncated)
    return results


def assert_equal_rows(results: list[StepResult], lanes: Any, others: list[StepResult], rows: Any):
    """Lanes of some results are bit for bit the rows of others."""
    assert len(others) <= len(results)
    for result, other in zip(results, others, strict=False):
        for name, ours, theirs in zip(StepResult._fields, result, other, strict=True):
            assert ours[lanes].tobytes() == theirs[rows].tobytes(), name


def told(case: Case, task: TherapyTask, lane: int) -> list[Any]:
    """Everything that a task says of a lane outside its results."""
    traces = [
        (trace.name, trace.time.tobytes(), trace.values.tobytes())
        for trace in case.treatment.traces(task, lane)
    ]
    return [task.describe(lane), *traces]


@dataclass(frozen=True)
class Course:
    """The original: results, snapshots and observations before each decision, who was active."""

    task: TherapyTask
    actions: np.ndarray
    results: list[StepResult]
    snapshots: list[Snapshot]
    seen: list[np.ndarray]
    active: list[np.ndarray]


def original(case: Case) -> Course:
    task = case.task(LANES)
    seen, active = [case.start(task)], [np.ones(LANES, np.bool_)]
    actions = case.actions(task, task.num_decisions)
    results, snapshots = [], []
    for action in actions:
        snapshots.append(task.snapshot())
        results.append(task.step(action, active[-1]))
        seen.append(results[-1].observation.copy())
        active.append(active[-1] & ~(results[-1].terminated | results[-1].truncated))
        if not active[-1].any():
            break
    assert len(results) > 2
    return Course(task, actions, results, snapshots, seen, active)


def test_a_branch_has_the_originals_future(case):
    """Begun at the start, in the middle and before the last decision, in another, busy task."""
    course = original(case)
    last = len(course.results) - 1
    other = case.task(5)
    for number, branch in enumerate((0, last // 2, last)):
        # The lanes have a past of other patients, and are at another decision.
        case.start(other, seed=100 + number, cohort="nominal")
        other.step(case.actions(other, 1)[0], np.ones(5, np.bool_))
        other.restore(course.snapshots[branch].take(TAKEN), PLACES)
        assert other.observe(PLACES).tobytes() == course.seen[branch][TAKEN].tobytes()
        active = np.zeros(5, np.bool_)
        active[PLACES] = course.active[branch][TAKEN]
        active[2] = number == 0  # goes on with its own course between the others
        actions = case.actions(other, len(course.actions))
        actions[:, PLACES] = course.actions[:, TAKEN]
        results = run(other, actions[branch:], active)
        assert_equal_rows(results, PLACES, course.results[branch:], TAKEN)
        for place, lane in zip(PLACES.tolist(), TAKEN.tolist(), strict=True):
            assert told(case, other, place) == told(case, course.task, lane)


def test_lanes_that_are_not_restored_go_their_own_way(case):
    task, twin = case.task(LANES), case.task(LANES)
    case.start(task)
    case.start(twin)
    actions = case.actions(task, 3)
    everyone = np.ones(LANES, np.bool_)
    task.step(actions[0], everyone)
    twin.step(actions[0], everyone)
    task.restore(task.snapshot(np.array([0])), np.array([2]))
    assert task.observe(np.array([0])).tobytes() == task.observe(np.array([2])).tobytes()
    one, two = task.step(actions[1], everyone), twin.step(actions[1], everyone)
    assert_equal_rows([one], [0, 1], [two], [0, 1])


def test_a_course_goes_back_in_time(case):
    """Into the same lanes, after they went on to the end; the rest of the course twice."""
    course = original(case)
    middle = len(course.results) // 2
    for _ in range(2):
        course.task.restore(course.snapshots[middle])
        assert course.task.observe().tobytes() == course.seen[middle].tobytes()
        again = run(course.task, course.actions[middle:], course.active[middle])
        assert_equal_rows(again, slice(None), course.results[middle:], slice(None))


def test_a_restored_lane_can_be_treated_anew(case):
    """What a task keeps of earlier patients does not leak into the restored ones' next course."""
    task, other = case.task(LANES), case.task(LANES)
    fresh = case.start(task)
    case.start(other, seed=100, cohort="nominal")
    other.restore(task.snapshot())
    assert case.start(other).tobytes() == fresh.tobytes()
    actions = case.actions(task, 2)
    everyone = np.ones(LANES, np.bool_)
    assert_equal_rows(run(other, actions, everyone), slice(None), run(task, actions, everyone),
                      slice(None))  # fmt: skip


def test_observations_are_those_of_the_last_step(case):
    task = case.task(LANES)
    assert case.start(task).tobytes() == task.observe().tobytes()
    active = np.ones(LANES, np.bool_)
    for action in case.actions(task, 12):
        result = task.step(action, active)
        assert task.observe().tobytes() == result.observation.tobytes()
        picked = task.observe(np.array([2, 0]))
        assert picked.dtype == task.observation_space.dtype
        assert picked.tobytes() == result.observation[[2, 0]].tobytes()
        active = active & ~(result.terminated | result.truncated)
        if not active.any():
            break


# Arrays with one entry a lane that no lane's future depends on.
NOT_STATE = {
    # The growth of the patient that a lane had last: made again where it is another's.
    "GlioblastomaTask": {"_prepared", "_start_rows", "_starts"},
    # Memory of a step.
    "EMT6RoTask": {"_begun", "_samples"},
}
EVERYWHERE = {"_all_lanes", "_none_clipped"}


def test_every_array_of_the_lanes_is_named():
    """A new array of a task is either in its snapshots or known to be none of its state."""
    lanes = 41
    for case in CASES:
        task = case.task(lanes)
        named = list(task._named_state().values())
        parts = [task, getattr(task, "_problem", task)]
        for part in parts:
            exempt = EVERYWHERE | NOT_STATE.get(type(part).__name__, set())
            for name, value in vars(part).items():
                # A state of tumours is an array of records.
                arrays = value if isinstance(value, tuple) else (getattr(value, "rows", value),)
                for array in arrays:
                    if not isinstance(array, np.ndarray) or name in exempt or not array.size:
                        continue
                    if lanes in array.shape or (array.ndim == 1 and array.size % lanes == 0):
                        shared = any(np.shares_memory(array, one) for one in named)
                        assert shared, f"{case.name}: {name}"


# The record


def test_a_snapshot_is_plain_data(case):
    task = case.task(LANES)
    case.start(task)
    task.step(case.actions(task, 1)[0], np.ones(LANES, np.bool_))
    snapshot = task.snapshot()
    file = io.BytesIO()
    np.savez(file, **snapshot.to_arrays())
    file.seek(0)
    with np.load(file, allow_pickle=False) as table:
        stored = Snapshot.from_arrays(table)
    for copy in (pickle.loads(pickle.dumps(snapshot)), stored):
        assert copy.owner == snapshot.owner
        assert list(copy.arrays) == list(snapshot.arrays)
        assert len(copy) == LANES
        assert copy.nbytes == snapshot.nbytes
        for name, array in snapshot.arrays.items():
            assert copy.arrays[name].dtype == array.dtype
            assert copy.arrays[name].tobytes() == array.tobytes()
        fresh = case.task(LANES)
        fresh.restore(copy)
        actions = case.actions(task, 2)[1]
        everyone = np.ones(LANES, np.bool_)
        case_task = case.task(LANES)
        case_task.restore(snapshot)
        assert_equal_rows([fresh.step(actions, everyone)], slice(None),
                          [case_task.step(actions, everyone)], slice(None))  # fmt: skip


def test_a_snapshot_is_a_copy_that_cannot_be_written_to(case):
    task = case.task(LANES)
    case.start(task)
    snapshot = task.snapshot()
    state = task._named_state()
    before = {name: array.tobytes() for name, array in snapshot.arrays.items()}
    for name, array in snapshot.arrays.items():
        assert array.shape[0] == LANES
        assert not np.shares_memory(array, state[name])
        with pytest.raises(ValueError, match="read-only"):
            array[...] = 0
    actions = case.actions(task, 2)
    for action in actions:
        task.step(action, np.ones(LANES, np.bool_))
    task.restore(snapshot)
    task.step(actions[0], np.ones(LANES, np.bool_))
    assert {name: array.tobytes() for name, array in snapshot.arrays.items()} == before


def test_lanes_are_taken_in_any_order(case):
    task = case.task(LANES)
    case.start(task)
    snapshot = task.snapshot()
    again = snapshot.take([2, 2, 0])
    straight = task.snapshot(np.array([2, 2, 0]))
    for name, array in snapshot.arrays.items():
        assert again.arrays[name].tobytes() == array[[2, 2, 0]].tobytes()
        assert straight.arrays[name].tobytes() == array[[2, 2, 0]].tobytes()
    assert len(snapshot.take([])) == 0
    assert len(task.snapshot(np.array([], np.intp))) == 0
    task.restore(snapshot.take([]), np.array([], np.intp))
    with pytest.raises(ValueError, match="lane 3 is out of range; allowed: 0 to 2"):
        snapshot.take([0, 3])


# Errors


def written(task: TherapyTask) -> list[bytes]:
    return [array.tobytes() for array in task._named_state().values()]


def test_what_does_not_fit_is_refused_and_nothing_written(case):
    task = case.task(LANES)
    case.start(task)
    snapshot = task.snapshot()
    task.step(case.actions(task, 1)[0], np.ones(LANES, np.bool_))
    before = written(task)
    other = next(one for one in CASES if one.treatment.name != case.treatment.name).task(LANES)
    name = next(name for name, array in snapshot.arrays.items() if array.ndim > 1 or len(array))
    array = snapshot.arrays[name]
    wider = Snapshot(snapshot.owner, {**snapshot.arrays, name: np.stack([array, array], axis=1)})
    retyped = Snapshot(snapshot.owner, {**snapshot.arrays, name: array.astype(np.complex128)})
    more = Snapshot(snapshot.owner, {**snapshot.arrays, "extra": array})
    less = Snapshot(snapshot.owner, {name: array})
    for wrong, lanes, message in (
        (snapshot, [0, 1], "a snapshot of 3 lanes for 2 lanes"),
        (snapshot.take([0]), None, "a snapshot of 1 lanes for 3 lanes"),
        (snapshot, [0, 1, 3], "lane 3 is out of range; allowed: 0 to 2"),
        (snapshot, [0, -1, 2], "lane -1 is out of range"),
        (snapshot, [1, 0, 1], "lane 1 is given 2 times"),
        (snapshot, np.ones(3, np.bool_), "whole numbers"),
        (snapshot, [0.0, 1.0, 2.0], "whole numbers"),
        (other.snapshot(), None, "allowed here: .*" + type(task).__name__),
        (wider, None, name),
        (retyped, None, f"{name} of the snapshot is complex128"),
        (more, None, "'extra'"),
        (less, None, "the snapshot lacks"),
    ):
        if wrong is less and len(snapshot.arrays) == 1:
            continue
        with pytest.raises(ValueError, match=message):
            task.restore(wrong, None if lanes is None else np.array(lanes))
        assert written(task) == before
    for ask in (task.snapshot, task.observe):
        with pytest.raises(ValueError, match="lane 7 is out of range"):
            ask(np.array([7]))


@pytest.mark.parametrize(
    ("env_id", "one", "two", "array"),
    [
        ("oncogym/ChemoDosing-v0", {}, {"horizon": 30.0}, "history_time"),
        ("oncogym/GlioblastomaRadiation-v0", {}, {"length": 150.0}, "cells"),
        ("oncogym/EMT6RoFractionation-v0", {}, {"hours": 60.0}, "doses"),
        ("oncogym/IMPTBeamWeighting-v0", {}, {"fractions": 12}, "log"),
        ("oncogym/IMPTBeamWeighting-v0", {}, {"formulation": "published"}, "weights"),
    ],
)
def test_other_options_are_refused(env_id, one, two, array):
    first, second = suite_case(env_id, **one), suite_case(env_id, **two)
    task, other = first.task(2), second.task(2)
    first.start(task)
    second.start(other)
    with pytest.raises(ValueError, match=f"{array}.*other options"):
        other.restore(task.snapshot())


def test_another_phantom_is_refused():
    """Its doses lie in other voxels, though the anatomy has the same number."""
    case = suite_case("oncogym/IMPTBeamWeighting-v0")
    task, other = case.task(1), case.task(1)
    case.start(task)
    taken = task.snapshot()
    voxels = {**taken.arrays, "voxels": taken.arrays["voxels"] + 1}
    before = written(other)
    with pytest.raises(ValueError, match="another phantom or influence"):
        other.restore(Snapshot(taken.owner, voxels))
    assert written(other) == before


def test_a_task_without_snapshots_says_so():
    class Plain(slot_toy.SlotToyTask):
        _observe_lanes = TherapyTask._observe_lanes
        _lane_state = TherapyTask._lane_state

    task = Plain(2)
    for ask in (task.snapshot, lambda: task.restore(slot_toy.SlotToyTask(2).snapshot())):
        with pytest.raises(NotImplementedError, match=r"Plain .* _lane_state\(\)"):
            ask()
    with pytest.raises(NotImplementedError, match=r"Plain .* _observe_lanes\(\)"):
        task.observe()


def test_an_array_without_lanes_is_an_error():
    class Wrong(slot_toy.SlotToyTask):
        def _lane_state(self):
            return {"slot": self.slot, "table": np.zeros((9, 2))}

    with pytest.raises(ValueError, match=r"table of Wrong has shape \(9, 2\); allowed: \(2, …\)"):
        Wrong(2).snapshot()


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({}, "no array 'owner'"),
        ({"owner": np.array("x")}, "needed: at least one"),
        ({"owner": np.array("x"), "a": np.zeros(2)}, "no array 'a'"),
        ({"owner": np.array("x"), "lanes.a": np.zeros(())}, "a has 0 axes"),
        ({"owner": np.array("x"), "lanes.a": np.array([None])}, "a has 1 axes of object"),
        (
            {"owner": np.array("x"), "lanes.a": np.zeros(2), "lanes.b": np.zeros(3)},
            "b has 3 lanes, but the first array 2",
        ),
    ],
)
def test_arrays_that_are_no_snapshot_are_refused(arrays, message):
    with pytest.raises(ValueError, match=message):
        Snapshot.from_arrays(arrays)


# Constants


@pytest.mark.slow
def test_plan_libraries_are_shared():
    case = suite_case("oncogym/IMPTBeamWeightingCohort-v0")
    task, other = case.task(2), case.task(3)
    keys = np.arange(2, dtype=np.uint64)
    # Anatomies that other tests treat, whose libraries are made.
    patients = case.patients(2)
    patients[1, 0] = 0.0
    task.reset(np.arange(2), patients, keys, keys)
    snapshot = task.snapshot()
    tables = (task.course._tables.doses, task.course.library(0).doses)
    for array in snapshot.arrays.values():
        assert not any(np.shares_memory(array, table) for table in tables)
    assert snapshot.nbytes < 0.01 * sum(table.nbytes for table in tables)
    assert list(other.course.libraries) == [0]
    other.restore(snapshot, np.array([2, 0]))
    for here, there in ((0, 2), (1, 0)):
        assert other.course.library(there) is task.course.library(here)
        assert other.course.anatomy(there) == task.course.anatomy(here)


@pytest.mark.slow
def test_libraries_are_found_by_patient_whatever_their_order():
    """Each task numbers its libraries, and is as wide, as it met them."""
    case = suite_case("oncogym/IMPTBeamWeightingCohort-v0", fractions=3)
    first, second = case.task(1), case.task(2)
    patients = case.patients(3)
    assert len(set(patients[:, 0])) == 3
    key = np.zeros(1, np.uint64)
    first.reset(np.array([0]), patients[:1], key, key)
    for lane, row in ((0, patients[1:2]), (1, patients[2:])):
        second.reset(np.array([lane]), row, key, key)
    action = case.actions(first, 1)[0]
    first.step(action, np.ones(1, np.bool_))
    second.restore(first.snapshot(), np.array([1]))
    assert second.course.anatomy(1) == patients[0, 0]
    assert second.course._models[1] != first.course._models[0]
    one = first.step(action, np.ones(1, np.bool_))
    two = second.step(np.repeat(action, 2, axis=0), np.array([False, True]))
    assert_equal_rows([one], [0], [two], [1])
    # And back, from the wider task.
    first.restore(second.snapshot(np.array([1])))
    assert first.course.voxel_doses(0).keys() == second.course.voxel_doses(1).keys()
    for name, dose in first.course.voxel_doses(0).items():
        assert dose.tobytes() == second.course.voxel_doses(1)[name].tobytes()


def test_influence_of_a_refinement_is_shared():
    case = suite_case("oncogym/IMPTBeamWeightingPublished-v0")
    task, other = case.task(2), case.task(2)
    case.start(task)
    snapshot = task.snapshot()
    other.restore(snapshot)
    assert other.refinement.influence is task.refinement.influence
    assert snapshot.nbytes < 0.01 * task.refinement.influence.data.nbytes


def test_growth_before_detection_is_not_in_a_snapshot_nor_done_again(monkeypatch):
    case = suite_case("oncogym/GlioblastomaRadiation-v0")
    task, other = case.task(2), case.task(2)
    case.start(task)
    case.start(other, seed=50)
    taken = task.snapshot()
    grown = (task._start_rows, task._starts)
    assert not any(np.shares_memory(a, one) for a in taken.arrays.values() for one in grown)

    def fail(*arguments):
        raise AssertionError("a tumour was grown again")

    monkeypatch.setattr(type(task), "_prepare", fail)
    other.restore(taken)
    # The nominal patient is treated everywhere: nothing is new.
    assert case.start(other).tobytes() == case.start(task).tobytes()


# Environments

ENVIRONMENTS = {
    "chemo": (
        "oncogym/ChemoDosingCohort-v0",
        {"horizon": 8.0, "max_wait": 8.0, "observation": "measurable"},
    ),
    "glioblastoma": ("oncogym/GlioblastomaRadiationCohort-v0", {"max_therapy_days": 6}),
    "emt6ro": (
        "oncogym/EMT6RoFractionation-v0",
        {"fidelity": "screening", "hours": 24.0, "treatment_hours": 24.0, "max_wait": 24.0},
    ),
    "impt": ("oncogym/IMPTBeamWeighting-v0", {"fractions": 4}),
    "impt_published": ("oncogym/IMPTBeamWeightingPublished-v0", {"fractions": 3}),
    "toy": ("", {"noise": 1.0, "cohort": "population"}),
}


def vector(name: str, mode: str, lanes: int = 4) -> TherapyVectorEnv:
    env_id, options = ENVIRONMENTS[name]
    treatment, kept = slot_toy.TREATMENT, {}
    if env_id:
        treatment, variant = find_variant(env_id)
        kept = variant.options
    return TherapyVectorEnv(
        treatment, lanes, autoreset_mode=mode, max_episode_steps=5, **{**kept, **options}
    )


def assert_same(first: Any, second: Any) -> None:
    if isinstance(first, dict):
        assert first.keys() == second.keys()
        for key in first:
            assert_same(first[key], second[key])
    elif isinstance(first, np.ndarray) and first.dtype == object:
        for one, two in zip(first, second, strict=True):
            assert (one is None) == (two is None)
            assert one is None or one.tobytes() == two.tobytes()
    else:
        assert np.asarray(first).dtype == np.asarray(second).dtype
        assert np.asarray(first).tobytes() == np.asarray(second).tobytes()


@pytest.mark.parametrize("mode", ["SameStep", "NextStep", "Disabled"])
@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_a_checkpointed_vector_environment_goes_on_undisturbed(name, mode):
    """Saved before each of some decisions (ends and pending resets among them), and stored."""
    env, twin = vector(name, mode), vector(name, mode)
    observation, _ = env.reset(seed=[3, 4, 3, 9])
    rng = np.random.default_rng(0)
    actions = rng.random((9, 4, *env.single_action_space.shape)) * 1.3 - 0.1

    def step(which: TherapyVectorEnv, number: int) -> tuple[Any, ...]:
        out = which.step(actions[number])
        done = out[2] | out[3]
        if mode == "Disabled" and done.any() and number % 3 == 0:
            return (*out, *which.reset(options={"reset_mask": done}))
        return out

    saved, expected, ends = [], [], 0
    for number in range(len(actions)):
        saved.append(env.snapshot().to_arrays())
        expected.append(step(env, number))
        ends += int((expected[-1][2] | expected[-1][3]).sum())
    assert ends > 0, "no episode ended: nothing about endings was compared"
    for start in (7, 0, 4, 5, 6):
        seen = twin.restore(Snapshot.from_arrays(saved[start]))
        if start == 0:
            assert seen.tobytes() == observation.tobytes()
        else:
            # A masked reset returned the observations last.
            last = expected[start - 1]
            assert seen.tobytes() == (last[5] if len(last) > 5 else last[0]).tobytes()
        for number in range(start, len(actions)):
            for one, two in zip(expected[number], step(twin, number), strict=True):
                assert_same(one, two)
        assert np.array_equal(env.patients, twin.patients)


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_a_checkpointed_scalar_environment_goes_on_undisturbed(name):
    env_id, options = ENVIRONMENTS[name]
    treatment, kept = slot_toy.TREATMENT, {}
    if env_id:
        treatment, variant = find_variant(env_id)
        kept = variant.options
    env, twin = (TherapyEnv(treatment, **{**kept, **options}) for _ in range(2))
    with pytest.raises(gym.error.ResetNeeded):
        env.snapshot()
    seen, _ = env.reset(seed=11)
    action = np.full(env.action_space.shape, 0.1)
    for clipped in (action - 0.3, action):
        seen = env.step(clipped)[0]
    saved = pickle.loads(pickle.dumps(env.snapshot()))
    assert twin.restore(saved).tobytes() == seen.tobytes()
    assert twin.patient == env.patient
    done = False
    while not done:
        one, two = env.step(action), twin.step(action)
        for a, b in zip(one, two, strict=True):
            assert_same(a, b)
        done = one[2] or one[3]
    # An episode that is over stays so, and the next patient is the same.
    env.reset()
    env.step(action)
    assert_same(env.restore(twin.snapshot()), one[0])
    for which in (env, twin):
        with pytest.raises(gym.error.ResetNeeded):
            which.step(action)
    assert_same(env.reset()[0], twin.reset()[0])
    assert env.patient == twin.patient


def test_lanes_of_a_vector_environment_are_branched_one_by_one():
    env, twin = vector("toy", "SameStep", 4), vector("toy", "SameStep", 2)
    env.reset(seed=0)
    actions = np.full((4, 1), 0.5)
    env.step(actions)
    with pytest.raises(gym.error.ResetNeeded, match="before some lanes"):
        twin.restore(env.snapshot(np.array([3])), np.array([1]))
    twin.reset(seed=77)
    twin.restore(env.snapshot(np.array([3])), np.array([1]))
    one, two = env.step(actions), twin.step(actions[:2])
    assert one[0][3] == two[0][1]
    assert one[1][3] == two[1][1]
    assert np.array_equal(env.patients[3], twin.patients[1])


def test_snapshots_of_other_environments_are_refused():
    env = vector("toy", "SameStep")
    with pytest.raises(gym.error.ResetNeeded):
        env.snapshot()
    env.reset(seed=0)
    snapshot = env.snapshot()
    with pytest.raises(ValueError, match=r"\(SameStep\).*allowed here: .*\(NextStep\)"):
        vector("toy", "NextStep").restore(snapshot)
    with pytest.raises(ValueError, match=r"allowed here: .*ChemoTask"):
        vector("chemo", "SameStep").restore(snapshot)
    with pytest.raises(ValueError, match="a snapshot of 4 lanes for 3 lanes"):
        vector("toy", "SameStep", 3).restore(snapshot)
    with pytest.raises(ValueError, match="allowed here"):
        env.restore(env.task.snapshot())
    with pytest.raises(ValueError, match="allowed here"):
        env.task.restore(snapshot)


def test_a_task_plans_with_a_scalar_environments_state():
    """The use of it: many futures of one patient, in lanes of another task."""
    env = TherapyEnv("chemo_dosing", cohort="population")
    env.reset(seed=5)
    env.step(np.array([0.1]))
    plans = np.linspace(0.0, 0.2, 8)
    model = get_treatment("chemo_dosing").task(8)
    model.restore(env.task.snapshot().take([0] * 8))
    futures = model.step(plans[:, None], np.ones(8, np.bool_))
    kept = env.snapshot()
    for plan, future in zip(plans, futures.observation, strict=True):
        env.restore(kept)
        assert env.step(np.array([plan]))[0].tobytes() == future.tobytes()
