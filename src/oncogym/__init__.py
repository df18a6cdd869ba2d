"""oncogym: Gymnasium environments for cancer-treatment planning.

Importing the package registers its environments with Gymnasium, and those of installed packages
that offer a treatment under the entry-point group ``oncogym.treatments``.
"""

import os
from importlib.metadata import PackageNotFoundError, version

# Threads that wait for work must not spin: beside any other busy process that costs milliseconds a
# call. OpenMP reads this when its library is loaded, so it stands before every import that does.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from oncogym import envs as envs

try:
    __version__ = version("oncogym")
except PackageNotFoundError:  # used from a copied source tree
    __version__ = "0+unknown"

envs.register_all()
