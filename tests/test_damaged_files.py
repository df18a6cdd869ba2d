"""Files of unknown origin: damage gives the right thing, or an error that names the file."""

from __future__ import annotations

import hashlib
import io
import json
import tracemalloc
import zipfile

import numpy as np
import pytest
import slot_toy

from oncogym.agents.optimizers import PlanObjective
from oncogym.agents.optimizers.genetic import GeneticAlgorithm, GeneticSettings
from oncogym.agents.optimizers.genetic.state import SearchFolder, SearchState
from oncogym.agents.plan import PatientPlans, PlanAgent, load_plan
from oncogym.agents.policy_files import LARGEST, Policy, dump_arrays, read_policy, write_policy
from oncogym.core.archives import ArchiveError, read_archive
from oncogym.core.checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from oncogym.core.documents import Document
from oncogym.core.files import CorruptFileError, parse_json, to_plain
from oncogym.envs.problem import Problem
from oncogym.training.settings import RunSettings, make_settings

#: Bytes that reading a damaged file may take at most.
MEMORY = 200e6
PLACES = 60
#: What replaces a value of a document, one after the other.
NONSENSE = [
    None, True, -1, 0, 3, 0.5, 1e308, 10**40, 10**400, "", "x", "nan", [], [1], [[0.5]], [None], {},
    {"a": 1}, [[[[]]]], "\x00",
]  # fmt: skip
PATIENTS = np.array([[1.0], [1.3]])


def policy():
    box = slot_toy.SlotToyTask
    rng = np.random.default_rng(0)
    return Policy(
        env_id="toy/Slots-v0",
        treatment="slot_toy",
        options={"noise": 1.0},
        observation_space=box.observation_space,
        action_space=box.action_space,
        weights=(rng.random((1, 4), np.float32), rng.random((4, 1), np.float32)),
        biases=(np.zeros(4, np.float32), np.zeros(1, np.float32)),
        log_std=np.zeros(1, np.float32),
        mean=np.zeros(1),
        variance=np.ones(1),
        about={"score": 1.0},
    )


def write_genetic(folder):
    settings = GeneticSettings(population=8, parents=6, elites=2, finalists=3)
    objective = PlanObjective(Problem.of(slot_toy.TREATMENT, {}, patients=np.array([[1.0]])))
    GeneticAlgorithm(settings).optimize(objective, 24, 0, folder=folder)
    return sorted((folder / "checkpoints").iterdir())[-1]


def read_genetic(path):
    found = read_checkpoint(path)
    return SearchFolder(path.parent.parent, found.state["settings"]).resume()


def write_plan(folder):
    PlanAgent(np.full((6, 2), 0.25)).save(folder / "plan.json", {"score": 1.0})
    return folder / "plan.json"


def write_plans(folder):
    PatientPlans(np.full((2, 6, 1), 0.25)).save(folder / "plans.json", PATIENTS)
    return folder / "plans.json"


def write_state(folder):
    arrays = {"a": np.arange(40.0), "b": np.arange(6).reshape(2, 3)}
    return write_checkpoint(folder, Checkpoint(80, {"last": {"x": 1.0}}, arrays))


def write_config(folder):
    path = folder / "config.json"
    settings = make_settings("oncogym/ChemoDosing-v0", "ppo", options={"cohort": "population"})
    path.write_text(json.dumps({"settings": settings.to_json(), "command": "train"}, indent=1))
    return path


def read_config(path):
    return RunSettings.from_json(Document.read(path, 1 << 24).inside("settings"))


KINDS = {
    "policy.npz": (lambda folder: write_policy(folder, policy()) / "policy.npz",
                   lambda path: read_policy(path.parent)),
    "policy.json": (lambda folder: write_policy(folder, policy()) / "policy.json",
                    lambda path: read_policy(path.parent)),
    "plan": (write_plan, lambda path: load_plan(path, PATIENTS)),
    "plans": (write_plans, lambda path: load_plan(path, PATIENTS)),
    "checkpoint": (write_state, read_checkpoint),
    "genetic": (write_genetic, read_genetic),
    "config": (write_config, read_config),
}  # fmt: skip


def same(one, other):
    """Whether two things that were read are equal, arrays by their bytes."""
    return plain(one) == plain(other)


def plain(value):
    if isinstance(value, np.ndarray):
        return (str(value.dtype), value.shape, value.tobytes())
    if isinstance(value, np.random.Generator):
        return value.bit_generator.state
    if isinstance(value, dict):
        return {name: plain(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if hasattr(value, "__dict__"):
        return plain(vars(value))
    return str(value)


def damages(data, rng):
    """Truncated, flipped, overwritten, doubled and enlarged copies of a file."""
    yield b""
    for place in rng.integers(0, len(data), PLACES // 4):
        yield data[:place]
    for place in rng.integers(0, len(data), PLACES // 2):
        changed = bytearray(data)
        changed[place] ^= 1 << rng.integers(8)
        yield bytes(changed)
    for place in rng.integers(0, len(data), PLACES // 4):
        yield data[:place] + rng.bytes(8) + data[place + 8 :]
    yield data + data
    yield data[: len(data) // 2] + data


def try_to_read(read, path):
    """What was read, or ``None`` for the error that names the file."""
    tracemalloc.start()
    found = message = None
    try:
        found = read(path)
    except CorruptFileError as error:
        message = str(error)
    except ValueError as error:
        # The one other thing that can be wrong with plans.
        message = str(error) if "other patients" in str(error) else f"{error!r}"
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < MEMORY
    assert message is None or str(path.parent) in message
    return found


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("kind", KINDS)
def test_damage_anywhere(kind, tmp_path):
    write, read = KINDS[kind]
    path = write(tmp_path)
    data = path.read_bytes()
    whole = read(path)
    refused = 0
    for changed in damages(data, np.random.default_rng(1)):
        path.write_bytes(changed)
        found = try_to_read(read, path)
        refused += found is None
        if path.suffix == ".npz":  # checksums leave no third way
            assert found is None or same(found, whole)
        else:
            assert found is None or type(found) is type(whole)
    assert refused > PLACES // 2


def places(value, way=()):
    yield way
    if isinstance(value, dict):
        for name, item in value.items():
            yield from places(item, (*way, name))
    elif isinstance(value, list) and value:
        yield from places(value[0], (*way, 0))


def replaced(value, way, new):
    if not way:
        return new
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[way[0]] = replaced(copy[way[0]], way[1:], new)
    return copy


def without(value, way):
    copy = dict(value) if isinstance(value, dict) else list(value)
    if len(way) == 1:
        del copy[way[0]]
    else:
        copy[way[0]] = without(copy[way[0]], way[1:])
    return copy


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["policy.json", "plan", "plans", "config"])
def test_values_of_another_kind(kind, tmp_path):
    write, read = KINDS[kind]
    path = write(tmp_path)
    document = json.loads(path.read_text())
    whole = read(path)
    for number, way in enumerate(places(document)):
        # A problem's file takes tens of milliseconds: a third of the values at each place.
        for new in NONSENSE[number % 3 :: 3] if kind == "config" else NONSENSE:
            path.write_text(json.dumps(replaced(document, way, new)))
            found = try_to_read(read, path)
            assert found is None or type(found) is type(whole), (way, new)
        if way:
            path.write_text(json.dumps(without(document, way)))
            try_to_read(read, path)


@pytest.mark.slow
def test_values_of_another_kind_in_a_search(tmp_path):
    path = write_genetic(tmp_path)
    for old in path.parent.iterdir():
        if old != path:
            old.unlink()
    found = read_checkpoint(path)
    state = to_plain(found.state)
    folder = SearchFolder(tmp_path, state["settings"])
    for number, way in enumerate(places(state)):
        if way[:1] not in ((), ("settings",)):
            for new in NONSENSE[number % 3 :: 3]:
                changed = replaced(state, way, new)
                write_checkpoint(path.parent, Checkpoint(found.steps, changed, found.arrays))
                got = try_to_read(lambda _: folder.resume(), path)
                assert got is None or isinstance(got, SearchState)


# --- archives --------------------------------------------------------------------------------


def archive(members, compression=zipfile.ZIP_STORED):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as table:
        for name, data in members:
            table.writestr(f"{name}.npy", data)
    return buffer.getvalue()


def header(shape, dtype="<f8"):
    text = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}"
    text = text + " " * (-(len(text) + 11) % 64) + "\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode()


def npy(array):
    part = io.BytesIO()
    np.lib.format.write_array(part, array)
    return part.getvalue()


BOMB = 1 << 26


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (archive([("a", header((BOMB // 8,)) + bytes(BOMB))], zipfile.ZIP_DEFLATED), "unpacks to"),
        (archive([("a", header((1 << 40,)))]), "has the shape"),
        (archive([("a", header((-1,)))]), "sizes of at least 0"),
        (archive([("a", header("(2, 'x')"))]), "truncated or altered"),
        (archive([("a", header("(" * 3000))]), "truncated or altered"),
        (archive([("a", header((1,), "|O") + bytes(8))]), "values of type object"),
        (archive([("a", header((1,), "<U9") + bytes(36))]), "values of type <U9"),
        (archive([("a", npy(np.ones(3))[:-1])]), "do not make an array"),
        (archive([("a", npy(np.ones(3)) + b"more")]), "do not make an array"),
        (archive([("a", npy(np.ones(3))), ("b", npy(np.ones(1)))]), "not expected: b"),
        (archive([]), "missing: a"),
        (archive([("a", npy(np.ones(4)))]), r"a has the shape \(4,\); allowed: \(3,\)"),
        (archive([(str(k), b"") for k in range(200)]), "more than 20|200 arrays"),
        (b"", "truncated"),
        (b"PK\x05\x06" + bytes(18), "missing: a"),
        (npy(np.ones(3)), "truncated, or no archive"),
    ],
    # Names of their own: archives hold the time, and workers must collect the same tests.
    ids=[
        "bomb", "huge", "negative", "text", "deep", "objects", "strings", "short", "long",
        "unexpected", "missing", "shape", "many", "empty", "no_members", "no_archive",
    ],
)  # fmt: skip
def test_archives_that_are_refused(data, message):
    tracemalloc.start()
    try:
        with pytest.raises(ArchiveError, match=message):
            read_archive(data, 1 << 20, shapes={"a": (3,)}, most_members=20)
        assert tracemalloc.get_traced_memory()[1] < 10e6
    finally:
        tracemalloc.stop()


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_name_that_comes_twice():
    with pytest.raises(ArchiveError, match="a name comes twice: a"):
        read_archive(archive([("a", npy(np.ones(3)))] * 2), 1 << 20)


def test_what_numpy_writes_is_read(tmp_path):
    arrays = {
        "matrix": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        "scalar": np.array(2.5),
        "none": np.zeros((0, 4), np.int16),
        "flags": np.array([True, False]),
        "big_endian": np.arange(3, dtype=">i4"),
    }
    np.savez_compressed(tmp_path / "a.npz", **arrays)
    for data in ((tmp_path / "a.npz").read_bytes(), dump_arrays(arrays)):
        found = read_archive(data, 1 << 20)
        assert set(found) == set(arrays)
        for name, array in arrays.items():
            assert found[name].dtype == array.dtype
            np.testing.assert_array_equal(found[name], array)
            assert found[name].flags.writeable


# --- the cases that were found ---------------------------------------------------------------


def test_a_policy_that_unpacks_to_gigabytes(tmp_path):
    write_policy(tmp_path, policy())
    document = json.loads((tmp_path / "policy.json").read_text())
    data = archive([("weight_0", header((BOMB // 8,)) + bytes(BOMB))], zipfile.ZIP_DEFLATED)
    assert len(data) < 1 << 20
    (tmp_path / "policy.npz").write_bytes(data)
    document["tensors"]["sha256"] = hashlib.sha256(data).hexdigest()
    (tmp_path / "policy.json").write_text(json.dumps(document))
    with pytest.raises(CorruptFileError, match=r"policy\.npz: wrong arrays \(missing: bias_0"):
        read_policy(tmp_path)
    # A description that asks for as much is refused as well, before the tensors are opened.
    document["network"]["sizes"] = [1, LARGEST // 8, 1]
    (tmp_path / "policy.json").write_text(json.dumps(document))
    with pytest.raises(CorruptFileError, match=r"policy\.json: network"):
        read_policy(tmp_path)


def test_tensors_of_the_wrong_type(tmp_path):
    write_policy(tmp_path, policy())
    path = tmp_path / "policy.json"
    document = json.loads(path.read_text())
    document["tensors"] = [1]
    path.write_text(json.dumps(document))
    with pytest.raises(CorruptFileError, match=r"policy\.json: tensors: a list of 1; allowed"):
        read_policy(tmp_path)


def test_a_checkpoint_that_unpacks_to_gigabytes(tmp_path):
    path = tmp_path / "checkpoint_000000000080.npz"
    path.write_bytes(archive([("a", header((BOMB // 8,)) + bytes(BOMB))], zipfile.ZIP_DEFLATED))
    with pytest.raises(CorruptFileError, match="unpacks to 67108"):
        read_checkpoint(path)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b'{"a": NaN}', "NaN is not a number of JSON"),
        (b"[-Infinity]", "-Infinity is not"),
        (b'{"a": 1, "a": 2}', "the name 'a' comes twice"),
        (b"1" * 5000, "digits"),
        (b"[" * 100_000, "nested too deeply"),
        (b'"\xff"', "line 1: not UTF-8"),
        (b" ", "the file is empty"),
        (b"[1,\n2", "line 2, column 2"),
    ],
)
def test_json_that_is_refused(data, message):
    with pytest.raises(CorruptFileError, match=f"^FILE.*{message}"):
        parse_json(data, "FILE")
