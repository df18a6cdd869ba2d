"""A program that ends what is left of a Ray when the process that started it has ended.

Ray's agents, and workers that are still starting, outlive a driver that was killed by a minute.
This program waits for the end of its standard input, which is the end of the driver, and then
kills every process that has ``MARK=NAME`` (its arguments) in its environment, and what those have
started: a process that gives itself a title may write it over its environment. One that is just
becoming another program shows none either, so one look that finds nobody proves nothing.
"""

import contextlib
import runpy
import signal
import sys
import time
from pathlib import Path

#: Environment variable by which the processes of a Ray are known.
MARK = "ONCOGYM_RAY"
# Time between two looks [s]; it ends after so many in a row that find nobody, or after so many.
_PAUSE, _QUIET_LOOKS, _LOOKS = 0.2, 5, 50


def _marked(text: bytes) -> list[int]:
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if text in (place / "environ").read_bytes().split(b"\0"):
                found.append(int(place.name))
    return found


if __name__ == "__main__":
    for _number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(_number, signal.SIG_IGN)
    _lifeline = runpy.run_path(str(Path(__file__).with_name("lifeline.py")))
    sys.stdin.read()
    _quiet = 0
    for _ in range(_LOOKS):
        _pids = _marked(f"{MARK}={sys.argv[1]}".encode())
        _lifeline["kill"]([*_pids, *_lifeline["descendants"](_pids)])
        _quiet = 0 if _pids else _quiet + 1
        if _quiet == _QUIET_LOOKS:
            break
        time.sleep(_PAUSE)
