"""Plan libraries of a test session, made once, whichever process asks for one first."""

from __future__ import annotations

import hashlib
import os
import pickle
from dataclasses import fields
from pathlib import Path

from oncogym.core.files import write_bytes_atomic
from oncogym.envs.impt_beam_weighting import plan_library as library

#: Environment variable with the folder of the libraries; programs that tests start have it, too.
FOLDER = "ONCOGYM_TEST_LIBRARIES"
make = library.library_of_phantom


def kept_library(phantom, beams=None):
    """As ``library_of_phantom``, from the session's folder if it is there."""
    parts = [getattr(phantom, part.name) for part in fields(phantom)]
    content = pickle.dumps((parts, beams))
    name = f"library-{hashlib.sha256(content).hexdigest()}.pickle"
    path = Path(os.environ[FOLDER]) / name
    if not path.exists():
        write_bytes_atomic(path, pickle.dumps(make(phantom, beams)))
    return pickle.loads(path.read_bytes())


def share_libraries():
    """Let this process take part; without a folder it makes its own."""
    if FOLDER in os.environ:
        library.library_of_phantom = kept_library
