"""Functions that kill the process that runs them; light, so that processes are quickly replaced."""

from __future__ import annotations

import os
from pathlib import Path


def die_once(item):
    """Twice the number in ``item``; the first process that gets it dies if there is a tomb."""
    number, tomb, parent = item
    perhaps_die(tomb, parent)
    return 2 * number


def perhaps_die(tomb, parent):
    # The tests' own process must live.
    if tomb and os.getpid() != parent and not Path(tomb).exists():
        Path(tomb).touch()
        os._exit(9)


def die_always(parent):
    assert os.getpid() != parent
    os._exit(9)


def refuse(number):
    if number == 3:
        raise LookupError("three is not here")
    return number
