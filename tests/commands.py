"""Several commands of the command line in one interpreter of their own.

What a fresh process finds (packages, plug-ins) is the same for all of them, and starting one takes
seconds.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence

_PROGRAM = """
import contextlib, io, json, sys
from oncogym.cli.main import main

found = []
for arguments in json.load(sys.stdin):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            status = main(arguments)
        except SystemExit as stop:
            status = stop.code or 0
    found.append((status, out.getvalue(), err.getvalue()))
json.dump(found, sys.stdout)
"""


def run_commands(
    commands: Sequence[Sequence[object]], environment: Mapping[str, str]
) -> list[tuple[int, str, str]]:
    """Status, standard output and standard error of each command, in a process with this
    environment."""
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM],
        input=json.dumps([[str(word) for word in words] for words in commands]),
        env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return [(status, out, err) for status, out, err in json.loads(done.stdout)]
