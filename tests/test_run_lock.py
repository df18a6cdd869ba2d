"""Two processes and one run folder: the second is told who the first is."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import threading

import pytest

from oncogym.core import run_lock
from oncogym.core.files import OutputFolderError
from oncogym.core.run_lock import LOCK_FILE, RunLockedError, hold, is_stale

HOLDER = """
import sys, time
from oncogym.core import run_lock
if sys.argv[2] == "file":
    run_lock.fcntl = None
with run_lock.hold(sys.argv[1]):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture(params=["kernel", "file"])
def kind(request, monkeypatch):
    if request.param == "file":
        monkeypatch.setattr(run_lock, "fcntl", None)
    return request.param


@pytest.fixture
def holder(tmp_path, kind):
    command = [sys.executable, "-c", HOLDER, str(tmp_path), kind]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_the_second_process_is_told_who_the_first_is(holder, tmp_path):
    with (
        pytest.raises(RunLockedError, match=f"in use by process {holder.pid} since 20"),
        hold(tmp_path),
    ):
        pass
    assert json.loads((tmp_path / LOCK_FILE).read_text())["pid"] == holder.pid


def test_a_killed_owner_is_not_in_the_way(holder, tmp_path):
    holder.kill()
    holder.wait()
    assert (tmp_path / LOCK_FILE).exists()
    with hold(tmp_path):
        assert json.loads((tmp_path / LOCK_FILE).read_text())["pid"] == os.getpid()
    assert list(tmp_path.iterdir()) == []


def test_one_thread_may_hold_a_folder_twice_and_another_may_not(tmp_path, kind):
    (tmp_path / "link").symlink_to(tmp_path)
    errors = []

    def other():
        try:
            with hold(tmp_path):
                pass
        except RunLockedError as error:
            errors.append(str(error))

    with hold(tmp_path), hold(tmp_path / "link"):
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
    assert len(errors) == 1
    assert "another thread" in errors[0]
    other()
    assert len(errors) == 1


@pytest.mark.parametrize(
    ("changes", "stale"),
    [
        ({}, False),
        ({"pid": 2**22 + 1}, True),
        ({"boot": "another"}, True),
        ({"process_started": "1"}, True),  # the id was used again
        ({"host": "elsewhere", "pid": 2**22 + 1}, False),  # nobody can know
        ({"pid": "12"}, False),
        ({"pid": -1}, False),
    ],
)
def test_stale_records(changes, stale, tmp_path, monkeypatch):
    record = {**json.loads(run_lock._record()), **changes}
    assert record["host"] == platform.node() or "host" in changes
    assert is_stale(record) is stale
    monkeypatch.setattr(run_lock, "fcntl", None)
    (tmp_path / LOCK_FILE).write_text(json.dumps(record))
    if stale:
        with hold(tmp_path):
            pass
    else:
        with pytest.raises(RunLockedError, match="in use by"), hold(tmp_path):
            pass


@pytest.mark.parametrize("text", ["", "{", "[1]", "[" * 4000, '{"pid": "x"}', "\xff"])
def test_damaged_records(text, tmp_path):
    (tmp_path / LOCK_FILE).write_text(text)
    with hold(tmp_path):
        pass
    assert not (tmp_path / LOCK_FILE).exists()


def test_a_folder_that_cannot_be_written_to(tmp_path):
    with pytest.raises(OutputFolderError, match="cannot write to folder"), hold(tmp_path / "no"):
        pass
