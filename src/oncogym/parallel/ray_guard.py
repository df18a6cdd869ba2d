"""A program that ends what is left of a Ray when the process that started it has ended.

Ray's agents, and workers that are still starting, outlive a driver that was killed by a minute.
This program reads its standard input to the end, which is the end of the driver, and then kills
every process that has ``MARK=NAME`` (its arguments) in its environment, and what those have
started. What it has read names the folder of Ray's session, once there is one: whoever prints into
it is killed, too, and whoever can print where the raylet does, but for the driver. A process that
gives itself a title may write it over its environment, and the one that started it ends together
with the driver. One that is just becoming another program shows no environment either, so one look
that finds nobody proves nothing.
"""

import contextlib
import os
import runpy
import signal
import sys
import time
from pathlib import Path

#: Environment variable by which the processes of a Ray are known.
MARK = "ONCOGYM_RAY"
# Time between two looks [s]; it ends after so many in a row that find nobody, or after so many.
_PAUSE, _QUIET_LOOKS, _LOOKS = 0.2, 5, 50
_OUTPUTS = ("1", "2")
# Files that the raylet prints into; its children inherit them under any number.
_RAYLET = ("raylet.out", "raylet.err")


def _prints_into(process: Path, folder: str) -> bool:
    for number in os.listdir(process / "fd"):
        with contextlib.suppress(OSError):
            file = os.readlink(process / "fd" / number)
            ours = file.startswith(folder + os.sep)
            if ours and (number in _OUTPUTS or os.path.basename(file) in _RAYLET):
                # Lines of "name:\tvalue"; the flags of open(2) are octal.
                text = (process / "fdinfo" / number).read_text().partition("flags:")[2]
                if int(text.split()[0], 8) & os.O_ACCMODE != os.O_RDONLY:
                    return True
    return False


def _belonging(mark: bytes, folder: str, driver: int) -> list[int]:
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            marked = mark in (process / "environ").read_bytes().split(b"\0")
            if marked or (folder and _prints_into(process, folder)):
                found.append(int(process.name))
    return [pid for pid in found if pid != driver]


if __name__ == "__main__":
    for _number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(_number, signal.SIG_IGN)
    _lifeline = runpy.run_path(str(Path(__file__).with_name("lifeline.py")))
    _driver = os.getppid()
    _folder = os.fsdecode(sys.stdin.buffer.read())
    _quiet = 0
    for _ in range(_LOOKS):
        _pids = _belonging(f"{MARK}={sys.argv[1]}".encode(), _folder, _driver)
        _lifeline["kill"]([*_pids, *_lifeline["descendants"](_pids)])
        _quiet = 0 if _pids else _quiet + 1
        if _quiet == _QUIET_LOOKS:
            break
        time.sleep(_PAUSE)
