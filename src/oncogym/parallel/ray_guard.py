"""A program that ends what is left of a Ray when the process that started it has ended.

Ray's agents, and workers that are still starting, outlive a driver that was killed by a minute.
This program waits for the end of its standard input, which is the end of the driver, and then
kills every process that has ``MARK=NAME`` (its arguments) in its environment.
"""

import contextlib
import os
import signal
import sys
import time
from pathlib import Path

#: Environment variable by which the processes of a Ray are known.
MARK = "ONCOGYM_RAY"
# So often it looks, since what is killed may just have started others.
_ROUNDS = 5


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
    sys.stdin.read()
    for _ in range(_ROUNDS):
        _pids = _marked(f"{MARK}={sys.argv[1]}".encode())
        for _pid in _pids:
            with contextlib.suppress(OSError):
                os.kill(_pid, signal.SIGKILL)
        if not _pids:
            break
        time.sleep(0.2)
