"""Work that does not end by itself, and a program that lets workers do it."""

from __future__ import annotations

import itertools
import os
import sys
import threading
import time
from pathlib import Path


def sleep(folder):
    (Path(folder) / str(os.getpid())).touch()
    time.sleep(600)


def compute(folder):
    """Like a compiled call: no other thread runs meanwhile, and no handler of a signal."""
    (Path(folder) / str(os.getpid())).touch()
    sum(itertools.repeat(1, 10**12))


def main(argv=None):
    from oncogym.parallel import open_executor

    executor, work, starter, folder = sys.argv[1:]
    with open_executor(executor, None if executor == "lanes" else 2) as pool:
        job = (globals()[work], [folder] * 4)
        if starter == "thread":
            thread = threading.Thread(target=pool.map, args=job)
            thread.start()
            thread.join()
        else:
            pool.map(*job)
    return 0


if __name__ == "__main__":
    import endless_work

    from oncogym.cli.signals import ends_on_signals

    sys.exit(ends_on_signals(endless_work.main)())
