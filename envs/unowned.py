"""Arrays without an owner for inner loops of compiled kernels.

A kernel file: it imports nothing but numpy, numba, math and other kernel files.
"""

from numba import njit
from numba.extending import intrinsic


@intrinsic
def _unowned(typingctx, array):
    def codegen(context, builder, signature, args):
        view = context.make_array(signature.args[0])(context, builder, value=args[0])
        view.meminfo = view.meminfo.type(None)
        view.parent = view.parent.type(None)
        return view._getvalue()

    return array(array), codegen


@njit(cache=True, inline="always")
def unowned(array):
    """The same array without an owner, for use while a caller keeps the owner alive.

    Numba counts references to arrays and their views by atomic instructions, which wait for all
    stores of the sweep before. Without an owner nothing is counted.
    """
    return _unowned(array)
