"""A study in a folder: parts are done once, and never mixed with those of another study."""

from __future__ import annotations

import pytest

from oncogym.core.files import CorruptFileError, OutputFolderError
from oncogym.core.manifest import versions
from oncogym.core.run_lock import RunLockedError, hold
from oncogym.evaluation.study_folder import Part, open_study
from oncogym.parallel.choice import open_executor

CALLS: list[int] = []


def square(*, number: int, progress: bool) -> dict[str, object]:
    CALLS.append(number)
    if number == 13:
        raise RuntimeError("interrupted")
    return {"square": number * number}


def parts_of(*numbers: int) -> list[Part]:
    return [Part(f"part-{n}", square, {"number": n}) for n in numbers]


def finish(folder, parts, executor=None):
    with open_study(folder, "squares", parts, ["table.csv"]) as study:
        return study.finish(executor)


@pytest.fixture(autouse=True)
def _no_calls():
    CALLS.clear()


def test_parts_are_done_once_and_come_in_order(tmp_path):
    first = finish(tmp_path, parts_of(3, 2))
    assert [one["square"] for one in first] == [9, 4]
    assert first[0]["number"] == 3
    assert first[0]["versions"] == versions()
    assert first[0]["seconds"] > 0.0
    second = finish(tmp_path, parts_of(1, 2, 3))
    assert [one["square"] for one in second] == [1, 4, 9]
    assert second[1:] == first[::-1]
    assert CALLS == [3, 2, 1]


def test_an_interrupted_study_goes_on(tmp_path):
    with pytest.raises(RuntimeError, match="interrupted"):
        finish(tmp_path, parts_of(2, 13, 4))
    assert [one["square"] for one in finish(tmp_path, parts_of(2, 4))] == [4, 16]
    assert CALLS == [2, 13, 4]


@pytest.mark.slow
def test_workers_write_the_same_files(tmp_path):
    with open_executor(workers=2) as executor:
        found = finish(tmp_path, parts_of(5, 6), executor)
    assert [one["square"] for one in found] == [25, 36]
    assert not CALLS, "the work was done elsewhere"
    assert finish(tmp_path, parts_of(5, 6)) == found


def test_other_settings_are_refused_before_any_work(tmp_path):
    finish(tmp_path, parts_of(2))
    other = [Part("part-1", square, {"number": 1}), Part("part-2", square, {"number": 20})]
    with pytest.raises(ValueError, match=r"part-2\.json was made with number 2, now it is 20"):
        finish(tmp_path, other)
    assert CALLS == [2]


def test_damaged_parts_and_foreign_files_are_refused(tmp_path):
    finish(tmp_path, parts_of(2))
    (tmp_path / "parts" / "part-2.json").write_text('{"settings": {"num')
    with pytest.raises(CorruptFileError, match=r"part-2\.json"):
        finish(tmp_path, parts_of(2))
    with (
        pytest.raises(OutputFolderError, match="oncogym squares"),
        open_study(tmp_path, "cubes", parts_of(2), []),
    ):
        pass
    strange = tmp_path / "strange"
    strange.mkdir()
    (strange / "table.csv").write_text("mine")
    with pytest.raises(OutputFolderError, match=r"table\.csv is there"):
        finish(strange, parts_of(2))
    assert (strange / "table.csv").read_text() == "mine"


def test_one_process_at_a_time(tmp_path):
    import threading

    refused = []

    def other():
        try:
            finish(tmp_path, parts_of(2))
        except RunLockedError as error:
            refused.append(error)

    with hold(tmp_path):
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
    assert len(refused) == 1
    assert not CALLS
