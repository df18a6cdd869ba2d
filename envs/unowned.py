"""Arrays without an owner for inner loops of compiled kernels.

A kernel file: it imports nothing but numpy, numba, math and other kernel files.
"""

import numpy as np
from numba import config
from numba.extending import intrinsic

from oncogym.envs.compiled import compiled


@intrinsic
def _unowned(typingctx, array):
    def codegen(context, builder, signature, args):
        view = context.make_array(signature.args[0])(context, builder, value=args[0])
        view.meminfo = view.meminfo.type(None)
        view.parent = view.parent.type(None)
        return view._getvalue()

    return array(array), codegen


def unowned(array):
    """The same array without an owner, for use while a caller keeps the owner alive.

    Numba counts references to arrays and their views by atomic instructions, which wait for all
    stores of the sweep before. Without an owner nothing is counted.
    """
    return _unowned(array)


# Plain Python counts for itself.
_PLAIN = config.DISABLE_JIT  # type: ignore[attr-defined]
unowned = np.asarray if _PLAIN else compiled(unowned, inline="always")
