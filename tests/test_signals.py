"""Ctrl-C, SIGTERM and kill -9 leave no process behind, soon."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path

import pytest

from oncogym.cli.main import main
from oncogym.cli.signals import ends_on_signals
from oncogym.parallel import ray_guard

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/environ").exists(), reason="finds processes as Linux lists them"
)

HERE = Path(__file__).parent
#: Longest time until every process has ended [s]: told to, and after the parent was killed. That
#: takes a second, more on a busy machine; what is left to itself stays for a minute.
TOLD, ORPHANED = 15.0, 30.0
MARK = "ONCOGYM_TEST"


def family(name):
    """Processes that have the mark in their environment, zombies left out."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            marked = f"{MARK}={name}".encode() in (place / "environ").read_bytes().split(b"\0")
            state = (place / "stat").read_text("utf-8", "replace").rpartition(")")[2].split()[0]
        except OSError:
            continue
        if marked and state != "Z":
            found.append(int(place.name))
    return found


class Program:
    """``endless_work`` with its arguments, as a process group of its own."""

    def __init__(self, folder, *arguments):
        self.folder = folder
        self.name = uuid.uuid4().hex
        paths = os.pathsep.join([str(HERE), os.environ.get("PYTHONPATH", "")])
        self.process = subprocess.Popen(
            [sys.executable, str(HERE / "endless_work.py"), *arguments, str(folder)],
            env={**os.environ, MARK: self.name, "PYTHONPATH": paths},
            start_new_session=True,
            stderr=subprocess.PIPE,
            text=True,
        )

    def wait_for_workers(self, count):
        deadline = time.monotonic() + 120.0
        while len(list(self.folder.iterdir())) < count:
            assert self.process.poll() is None, self.process.stderr.read()
            assert time.monotonic() < deadline, "the work did not begin"
            time.sleep(0.05)

    def end(self, number, group):
        """Send a signal; the seconds until nobody is left, and the status."""
        started = time.monotonic()
        (os.killpg if group else os.kill)(self.process.pid, number)
        while self.process.poll() is None or family(self.name):
            if time.monotonic() - started > ORPHANED + 5.0:
                break
            time.sleep(0.05)
        return time.monotonic() - started, self.process.poll()

    def clean(self):
        for pid in family(self.name):
            os.kill(pid, signal.SIGKILL)
        self.process.communicate()


@pytest.fixture
def program(tmp_path):
    started = []

    def start(*arguments):
        started.append(Program(tmp_path, *arguments))
        return started[-1]

    yield start
    for one in started:
        one.clean()


SIGNALS = pytest.mark.parametrize(
    ("number", "group", "status"),
    [
        (signal.SIGINT, True, 130),
        (signal.SIGINT, False, 130),
        (signal.SIGTERM, True, 143),
        (signal.SIGTERM, False, 143),
        (signal.SIGKILL, False, -signal.SIGKILL),
    ],
)


@pytest.mark.slow
@SIGNALS
def test_workers_end_with_their_command(number, group, status, program):
    running = program("joblib", "compute", "main")
    running.wait_for_workers(2)
    assert len(family(running.name)) >= 3
    seconds, found = running.end(number, group)
    assert found == status
    assert seconds < (ORPHANED if number == signal.SIGKILL else TOLD)


@pytest.mark.slow
def test_workers_that_a_thread_started_notice_the_end_of_their_parent(program):
    running = program("joblib", "sleep", "thread")
    running.wait_for_workers(2)
    seconds, _ = running.end(signal.SIGKILL, False)
    assert seconds < ORPHANED


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_command_without_workers_ends(number, program):
    running = program("lanes", "sleep", "main")
    running.wait_for_workers(1)
    seconds, status = running.end(number, False)
    assert status == 128 + number
    assert seconds < TOLD


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "group"),
    [(signal.SIGINT, True), (signal.SIGTERM, True), (signal.SIGTERM, False), (signal.SIGKILL, 0)],
)
def test_a_ray_of_our_own_ends_with_its_command(number, group, program):
    pytest.importorskip("ray")
    running = program("ray", "sleep", "main")
    running.wait_for_workers(2)
    seconds, status = running.end(number, bool(group))
    assert status == (-number if number == signal.SIGKILL else 128 + number)
    assert seconds < (ORPHANED if number == signal.SIGKILL else TOLD)


def test_the_guard_of_a_ray_also_ends_who_was_just_starting():
    name = uuid.uuid4().hex
    become = "import os, sys, time; time.sleep(0.3); os.execve('/bin/sleep', ['sleep', '60'], {!r})"
    late = subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", become.format({ray_guard.MARK: name})], env={}
    )
    guard = subprocess.Popen(
        [sys.executable, "-I", "-S", ray_guard.__file__, name], stdin=subprocess.PIPE
    )
    try:
        guard.communicate(timeout=30.0)
        assert late.wait(timeout=5.0) == -signal.SIGKILL
    finally:
        late.kill()


def test_the_guard_of_a_ray_also_ends_who_hides_the_mark():
    """Ray's agents write their title over their environment."""
    name = uuid.uuid4().hex
    code = "import subprocess; print(subprocess.Popen(['sleep', '60'], env={}).pid, flush=True)"
    parent = subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", code + "; input()"],
        env={ray_guard.MARK: name}, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    child = int(parent.stdout.readline())
    try:
        subprocess.run(
            [sys.executable, "-I", "-S", ray_guard.__file__, name], input=b"", timeout=30
        )
        assert parent.wait(timeout=5.0) == -signal.SIGKILL
        place = Path(f"/proc/{child}/stat")
        assert not place.exists() or place.read_text().rpartition(")")[2].split()[0] == "Z"
    finally:
        parent.kill()
        parent.communicate()
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)


def test_the_guard_of_a_ray_also_ends_orphans_that_hide_the_mark(tmp_path):
    """The process that started Ray's agents may end before the guard has looked."""
    session, other = tmp_path / "session", tmp_path / "session2"
    agents = []

    def start(path, mode, channel=None):
        path.parent.mkdir(exist_ok=True)
        with open(path, mode) as file:
            inherited = {channel: file} if channel else {"pass_fds": [file.fileno()]}
            agents.append(subprocess.Popen(["sleep", "60"], env={}, **inherited))

    start(session / "agent.out", "w", "stdout")
    start(session / "agent.err", "w", "stderr")
    start(session / "raylet.out", "a")  # Ray's agents: their own output is a pipe
    start(session / "raylet.out", "r")  # somebody who only reads the log
    start(session / "python-core-driver.log", "a")  # another driver
    start(other / "agent.out", "w", "stdout")
    try:
        subprocess.run(
            [sys.executable, "-I", "-S", ray_guard.__file__, uuid.uuid4().hex],
            input=os.fsencode(session), timeout=30,
        )  # fmt: skip
        assert [agent.wait(timeout=5.0) for agent in agents[:3]] == [-signal.SIGKILL] * 3
        assert [agent.poll() for agent in agents[3:]] == [None] * 3
    finally:
        for agent in agents:
            agent.kill()
            agent.wait()


def test_called_with_arguments_a_command_leaves_signals_alone(capsys):
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    assert main(["envs"]) == 0
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before
    assert ends_on_signals(lambda argv: len(argv))(["a", "b"]) == 2
