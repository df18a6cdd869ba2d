"""``python -m oncogym`` is the command ``oncogym``."""

import sys

from oncogym.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
