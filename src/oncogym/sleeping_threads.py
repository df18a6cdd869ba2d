"""Threads that wait for work sleep.

OpenMP's threads otherwise spin for a while before they sleep. As soon as another process wants a
core, a thread that works is waited for by others that keep the cores from it, and a call that takes
a tenth of a millisecond takes several.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import sys


def let_waiting_threads_sleep() -> None:
    """Make the threads of compiled code sleep while they wait, whatever was imported before.

    OpenMP reads its policy when its library is loaded. That of a program that has loaded one
    already, as torch does, has its policy for good; so numba's pool of threads gets a copy of the
    library for itself, where the system can bind it to that. A policy that the user has set stays.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    flags = getattr(os, "RTLD_DEEPBIND", 0)
    if not flags or "numba.np.ufunc.omppool" in sys.modules:
        return
    before = sys.getdlopenflags()
    sys.setdlopenflags(before | flags)
    try:
        # Without OpenMP on this machine numba takes another layer, whose threads sleep.
        with contextlib.suppress(ImportError):
            importlib.import_module("numba.np.ufunc.omppool")
    finally:
        sys.setdlopenflags(before)
