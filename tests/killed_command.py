"""A command that is killed in the middle of its work."""

from __future__ import annotations

import subprocess
import time


def kill_when(ready, command, *, later=0.0, env=None):
    """Start a command, and kill it as soon as ``ready()`` is true, or some seconds later."""
    with subprocess.Popen(command, env=env, stderr=subprocess.DEVNULL) as process:
        try:
            limit = time.monotonic() + 300.0
            while not ready():
                assert process.poll() is None, "the work ended before it could be killed"
                assert time.monotonic() < limit, "the work did not come so far"
                time.sleep(0.005)
            time.sleep(later)
            assert process.poll() is None, "the work ended before it was killed"
        finally:
            process.kill()
