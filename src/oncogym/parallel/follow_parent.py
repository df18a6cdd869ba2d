"""A script that a worker runs first: from then on it ends soon after the process that started it.

It is given ``PARENT``, that process's id, and ``AT_ONCE``: its main thread started this process.
Then Linux itself ends the worker together with that thread, also in a compiled call that lets no
other thread run. Another thread may end long before its process, so that only looking is left.
"""

import contextlib
import ctypes
import os
import signal
import sys
import threading
import time

# So often a worker looks whether its parent still lives [s].
_LOOK = 1.0
# prctl(2): the signal that a process gets when the thread that started it ends.
_PR_SET_PDEATHSIG = 1


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_LOOK)
    os._exit(1)


if __name__ == "follow_parent":
    _parent: int = globals()["PARENT"]
    if globals()["AT_ONCE"] and sys.platform.startswith("linux"):
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != _parent:  # it ended before this process was ready
        os._exit(1)
    threading.Thread(target=_watch, args=(_parent,), name="follow-parent", daemon=True).start()
