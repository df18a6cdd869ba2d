"""What a command returns for each kind of end, and what it says."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys

import pytest

from oncogym.cli import envs
from oncogym.cli.exit_status import ReportError, Terminated, message_of, status_of
from oncogym.cli.main import main
from oncogym.core.files import CorruptFileError, OutputFolderError, require_writable_folder
from oncogym.envs.device import DeviceError
from oncogym.parallel import ExecutorError

WEEKLY = ["evaluate", "ChemoDosingCohort-v0", "weekly", "--baseline", "weekly", "--patients", "3"]


def raised(error, cause):
    error.__cause__ = cause
    return error


def refused(number):
    error = OutputFolderError("cannot write")
    error.errno = number
    return error


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (ValueError("x is 3; allowed: 1"), 2),
        (CorruptFileError("plan.json, line 1"), 2),
        (FileNotFoundError("there is no folder of results"), 2),
        (FileNotFoundError(errno.ENOENT, "No such file", "x"), 2),
        (IsADirectoryError(errno.EISDIR, "Is a directory", "x"), 2),
        (OSError(errno.ENAMETOOLONG, "File name too long", "x"), 2),
        (OutputFolderError("it is a file"), 2),
        (refused(errno.EACCES), 2),
        (refused(errno.ENOSPC), 3),
        (OSError(errno.ENOSPC, "No space left on device"), 3),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), 3),
        (OSError(errno.EIO, "Input/output error"), 3),
        (OSError(errno.EMFILE, "Too many open files"), 3),
        (PermissionError(errno.EACCES, "Permission denied", "x"), 3),
        (MemoryError(), 3),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: 40000000000 bytes"), 3),
        (RuntimeError("unexpected"), 70),
        (RecursionError("maximum recursion depth exceeded"), 3),
        (DeviceError("no NVIDIA GPU is found"), 3),
        (ExecutorError("a worker was lost"), 3),
        (raised(ExecutorError("install ray"), ModuleNotFoundError("ray")), 2),
        (ModuleNotFoundError("No module named 'torch'", name="torch"), 2),
        (ModuleNotFoundError("No module named 'x'", name="oncogym.evaluation.x"), 70),
        (ReportError("saved"), 4),
        (UnicodeEncodeError("ascii", "ä", 0, 1, "ordinal not in range"), 70),
        (KeyError("x"), 70),
        (TypeError("unhashable"), 70),
        (ZeroDivisionError("division by zero"), 70),
        (BrokenPipeError(), 141),
        (KeyboardInterrupt(), 130),
        (Terminated(143), 143),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else str(value),
)
def test_every_end_has_its_status(error, status, monkeypatch, capsys):
    def run(args):
        raise error

    assert status_of(error) == status
    monkeypatch.setattr(envs, "run", run)
    assert main(["envs"]) == status
    shown = capsys.readouterr().err
    assert ("Traceback" in shown) == (status == 70)
    assert (shown == "") == (status == 141)
    if status != 141:
        assert shown.splitlines()[-1] == f"oncogym envs: {message_of(error)}"


def test_a_failed_check_has_status_1(monkeypatch):
    monkeypatch.setattr(envs, "run", lambda args: 1)
    assert main(["envs"]) == 1


def test_help_explains_the_statuses(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["--help"])
    assert stop.value.code == 0
    text = " ".join(capsys.readouterr().out.split())
    for part in ("0 fine", "1 a stated check failed", "2 bad usage", "3 the machine failed",
                 "4 results saved", "70 a fault", "130, 141, 143"):  # fmt: skip
        assert part in text


def test_a_full_disk_is_no_bad_usage(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("oncogym.core.files.write_bytes_atomic", full)
    with pytest.raises(OutputFolderError, match="No space left") as error:
        require_writable_folder(tmp_path)
    assert status_of(error.value) == 3


def test_results_that_cannot_be_saved_are_printed_at_least(tmp_path, monkeypatch, capsys):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("oncogym.evaluation.comparison.write_csv_atomic", full)
    assert main([*WEEKLY, "--out", str(tmp_path)]) == 3
    printed = capsys.readouterr()
    assert "Normalised score and gain" in printed.out
    assert "saved in" not in printed.out
    assert "No space left" in printed.err


def test_messages_are_short_and_hold_no_terminal_codes(monkeypatch, capsys):
    def run(args):
        raise ValueError("\x1b[31m" + "x" * 10**6)

    monkeypatch.setattr(envs, "run", run)
    assert main(["envs"]) == 2
    shown = capsys.readouterr().err
    assert "\x1b" not in shown
    assert len(shown) < 5000


# --- streams -----------------------------------------------------------------------------------


def shell(command, **settings):
    script = f"{sys.executable} -m oncogym.cli.main {command}"
    return subprocess.run(["bash", "-c", script], capture_output=True, timeout=120, **settings)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "status"),
    [
        (f"{' '.join(WEEKLY)} >&- 2>&- <&-", 0),
        ("envs nobody >&- 2>&-", 2),
        ("envs ChemoDosing-v0 --json >/dev/full", 3),
        (f"{' '.join(WEEKLY)} 2>/dev/full", 0),
    ],
)
def test_closed_and_full_streams_end_no_command(command, status):
    done = shell(command)
    assert done.returncode == status
    assert b"Traceback" not in done.stderr
    assert b"Exception ignored" not in done.stderr


@pytest.mark.slow
def test_nobody_reads_on(tmp_path):
    """More than a pipe holds, and a reader who has left."""
    code = (
        "import sys; from oncogym.cli import envs; from oncogym.cli.main import main; "
        "envs.run = lambda args: print('x' * 1000000) or 0; sys.exit(main(['envs']))"
    )
    script = f'{sys.executable} -c "{code}" | true; exit ${{PIPESTATUS[0]}}'
    done = subprocess.run(["bash", "-c", script], capture_output=True, timeout=60)
    assert done.returncode == 141
    assert done.stderr == b""


@pytest.mark.slow
def test_what_a_terminal_cannot_show_is_shown_as_an_escape():
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "LC_ALL": "C", "PYTHONUTF8": "0"}
    done = shell("envs EMT6RoFractionation-v0", env=environment)
    assert done.returncode == 0
    done.stdout.decode("ascii")
    done = shell("envs k\N{LATIN SMALL LETTER O WITH DIAERESIS}ln", env=environment)
    assert done.returncode == 2
    assert b"Traceback" not in done.stderr


@pytest.mark.slow
def test_files_that_are_opened_later_do_not_get_the_number_of_a_closed_stream(tmp_path):
    code = (
        "import os; from oncogym.cli.console import safe_streams\n"
        f"with safe_streams():\n    print(os.open({str(tmp_path / 'x')!r}, os.O_CREAT | os.O_RDWR))"
        f"\n    open({str(tmp_path / 'y')!r}, 'w').write(str(os.fstat(1).st_rdev))"
    )
    subprocess.run(["bash", "-c", f'{sys.executable} -c "$0" >&- 2>&-', code], check=True)
    assert (tmp_path / "y").read_text() == str(os.stat(os.devnull).st_rdev)
    assert (tmp_path / "x").read_bytes() == b""


@pytest.mark.slow
@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_signals_end_a_command_with_their_status(number, status):
    code = (
        "import sys, time; from oncogym.cli import envs; from oncogym.cli.main import main\n"
        "def run(args):\n    print('ready', file=sys.stderr, flush=True)\n    time.sleep(60)\n"
        "envs.run = run\nsys.argv[1:] = ['envs']\nsys.exit(main())"
    )
    with subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE) as process:
        assert process.stderr.readline() == b"ready\n"
        process.send_signal(number)
        assert process.wait(30) == status
        assert process.stderr.read() == b"oncogym envs: stopped\n"


def test_the_caller_gets_streams_and_signals_back():
    before = sys.stdout, sys.stderr, signal.getsignal(signal.SIGTERM)
    assert main(["envs"]) == 0
    assert (sys.stdout, sys.stderr, signal.getsignal(signal.SIGTERM)) == before
