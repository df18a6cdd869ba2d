"""The widest vectors of the processor for long loops over flat memory.

A kernel file: it imports nothing but numpy, numba, math and other kernel files.
"""

from numba import config, types
from numba.extending import intrinsic


@intrinsic
def _wish(typingctx):
    def codegen(context, builder, signature, args):
        attributes = builder.function.attributes
        if "alwaysinline" in attributes:
            raise ValueError(f"{builder.function.name} asks for wide vectors; forceinline=False")
        attributes.add("noinline")
        # llvmlite knows no attribute with a value; its set is written out as it stands.
        set.add(attributes, '"prefer-vector-width"="512"')
        return context.get_dummy_value()

    return types.void(), codegen


def wide_vectors():
    """Let the loops of the function that calls this use vectors of 512 bits where there are any.

    LLVM takes half of that by default: on older processors the wide ones slow the clock, and short
    loops lose by them. Results stay the same bits, because no sum is put in another order. The
    calling function is compiled for itself, since one into which it was put would not have the
    wish: ``@compiled(forceinline=False)``, as numba hands the option on to what is called.
    """


# Plain Python has no vectors.
if not config.DISABLE_JIT:  # type: ignore[attr-defined]
    wide_vectors = _wish  # type: ignore[assignment]
