"""Regenerate the shipped tumour library: ``python -m oncogym.envs.emt6ro_fractionation FILE``."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from oncogym.envs.emt6ro_fractionation.tumour_library import library_bytes


def main(arguments: Sequence[str] | None = None) -> int:
    """Grow the shipped library and write it, or compare it with a file."""
    parser = argparse.ArgumentParser(
        prog="python -m oncogym.envs.emt6ro_fractionation", description=main.__doc__
    )
    parser.add_argument("file", type=Path, help="where to write library.npz, or what to compare")
    parser.add_argument("--check", action="store_true", help="compare; exit status 1 if different")
    chosen = parser.parse_args(arguments)
    content = library_bytes()
    if chosen.check:
        same = chosen.file.read_bytes() == content
        print(f"{chosen.file}: {'the same' if same else 'DIFFERENT'} ({len(content)} bytes)")
        return 0 if same else 1
    part = chosen.file.with_name(chosen.file.name + ".part")
    part.write_bytes(content)
    os.replace(part, chosen.file)
    print(f"{chosen.file}: {len(content)} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
