"""Compiled functions whose file cache goes by all sources that they are made of.

A kernel file: it imports nothing but numpy, numba, math and other kernel files.

Numba's own cache goes by the content of the one file in which a function stands. It does not notice
that a function of another file, which was compiled into this one, or a record has changed, and
loads the old code.
"""

from numba import config, njit
from numba.core.caching import FunctionCache

from oncogym.envs.source_digest import digest_of


class SourceCache(FunctionCache):
    """Numba's cache of a function; what it keeps is found again by the digest of its sources, too.

    Args:
        function: The plain function.
    """

    def __init__(self, function):
        super().__init__(function)
        # Of the sources as they were imported: they may change before something is compiled.
        self._digest = digest_of(function.__module__)

    def _index_key(self, sig, codegen):
        return (*super()._index_key(sig, codegen), self._digest)


def compiled(function=None, **options):
    """Compile a function, as a decorator with or without options.

    Args:
        function: A plain function.
        **options: Options of ``njit`` but for ``cache``.
    """
    if function is None:
        return lambda later: compiled(later, **options)
    made = njit(**options)(function)
    if not config.DISABLE_JIT:  # type: ignore[attr-defined]
        made._cache = SourceCache(function)
    return made
