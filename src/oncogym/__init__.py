"""oncogym: Gymnasium environments for cancer-treatment planning.

Importing the package registers its environments with Gymnasium, and those of installed packages
that offer a treatment under the entry-point group ``oncogym.treatments``.
"""

from importlib.metadata import PackageNotFoundError, version

from oncogym.sleeping_threads import let_waiting_threads_sleep

let_waiting_threads_sleep()  # before anything that starts threads is imported

from oncogym import envs as envs

try:
    __version__ = version("oncogym")
except PackageNotFoundError:  # used from a copied source tree
    __version__ = "0+unknown"

envs.register_all()
