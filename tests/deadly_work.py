"""Functions for workers, most of which kill theirs; light, so that it is quickly replaced."""

from __future__ import annotations

import os
from pathlib import Path

from tqdm import tqdm


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


def show_progress(item):
    """Do nothing behind a progress bar."""
    return len(list(tqdm(range(item), disable=True)))
