"""One place that turns errors into messages and exit statuses."""

from __future__ import annotations

import errno

from oncogym.cli.signals import Terminated
from oncogym.core.errors import ReportError
from oncogym.core.files import OutputFolderError
from oncogym.envs.device import DeviceError
from oncogym.parallel import ExecutorError

FINE = 0
#: A check that the command states did not hold.
CHECK_FAILED = 1
#: The command line, or a file that it names, is wrong.
BAD_USAGE = 2
#: The machine failed: disk, memory, device, workers.
MACHINE = 3
#: The results are saved, but a figure or the report could not be made.
NO_REPORT = 4
#: A fault in oncogym; the traceback is shown.
BUG = 70
INTERRUPTED = 130
#: Nobody reads what is printed, as in ``oncogym envs | head -1``.
BROKEN_PIPE = 141
TERMINATED = 143

#: For ``--help``.
EXPLAINED = (
    f"Exit status: {FINE} fine; {CHECK_FAILED} a stated check failed; {BAD_USAGE} bad usage or bad "
    f"input; {MACHINE} the machine failed (disk, memory, device, workers); {NO_REPORT} results "
    f"saved, but a figure or the report failed; {BUG} a fault in oncogym; {INTERRUPTED}, "
    f"{BROKEN_PIPE}, {TERMINATED} stopped by Ctrl-C, a closed pipe, SIGTERM."
)

# What a path on the command line can be blamed for; all else is the machine's.
_MISNAMED = {
    errno.ENOENT,
    errno.ENOTDIR,
    errno.EISDIR,
    errno.EEXIST,
    errno.ENAMETOOLONG,
    errno.ELOOP,
    errno.EINVAL,
    errno.ENOTEMPTY,
}
# And a folder that was chosen for output.
_REFUSED = {errno.EACCES, errno.EPERM, errno.EROFS}


def status_of(error: BaseException) -> int:
    """The exit status for an error that ended a command."""
    if isinstance(error, KeyboardInterrupt):
        return TERMINATED if isinstance(error, Terminated) else INTERRUPTED
    if isinstance(error, BrokenPipeError):
        return BROKEN_PIPE
    if isinstance(error, ReportError):
        return NO_REPORT
    if isinstance(error, (MemoryError, RecursionError, DeviceError)) or _is_torch_memory(error):
        return MACHINE
    if isinstance(error, ModuleNotFoundError):
        return BAD_USAGE if _missing_extra(error) else BUG
    if isinstance(error, ExecutorError):
        return BAD_USAGE if isinstance(error.__cause__, ImportError) else MACHINE
    if isinstance(error, OutputFolderError):
        return BAD_USAGE if error.errno in {None, *_MISNAMED, *_REFUSED} else MACHINE
    if isinstance(error, (FileNotFoundError, FileExistsError, NotADirectoryError)):
        return BAD_USAGE
    if isinstance(error, OSError):
        return BAD_USAGE if error.errno in _MISNAMED else MACHINE
    if isinstance(error, UnicodeError):
        return BUG  # a ValueError, but never one of ours
    return BAD_USAGE if isinstance(error, ValueError) else BUG


def message_of(error: BaseException) -> str:
    """What the user is told about an error."""
    if isinstance(error, KeyboardInterrupt):
        return "stopped"
    if isinstance(error, ModuleNotFoundError) and _missing_extra(error):
        if "oncogym[" in str(error):
            return f"error: {error}"
        return f'error: {error}; install the extra with pip install "oncogym[train]"'
    text = str(error) or type(error).__name__
    if isinstance(error, MemoryError):
        text = f"out of memory ({text})"
    return f"error: {text}"


def _is_torch_memory(error: BaseException) -> bool:
    """Whether torch could not get memory, for which it has no type of error on the processor."""
    return type(error) is RuntimeError and "t allocate memory" in str(error)


def _missing_extra(error: ModuleNotFoundError) -> bool:
    return not (error.name or "").startswith("oncogym")
