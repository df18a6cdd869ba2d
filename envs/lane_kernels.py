"""From one scalar function on records to the loops over lanes, on one thread and on all.

A kernel file: it imports nothing but numpy, numba, math and other kernel files.

A model writes what becomes of **one** lane, as short functions of records (``state.time``,
``patient.growth_rate``); :func:`over_lanes` and :func:`over_active` make the loops. What made such
code slow in numba, and what is done here about each:

* *Counted references.* Numba counts references to every array that a function receives or slices,
  by atomic instructions that wait for all stores before them; for fifteen arrays that costs more
  than the arithmetic of a lane. A record taken from an array is a bare pointer and is not counted,
  and the arrays handed out here (rows, columns, whole ones) have no owner. The caller of the
  kernel keeps the owners alive.
* *Unboxing.* Each array argument costs about 0.1 microseconds a call, one of a structured type
  more, and a tuple of arrays some microseconds. So kernels take plain arrays of float64, one by one
  (no ``*args``), and see their rows as records only inside.
* *Records in parallel loops.* Numba cannot hand a record into a ``prange``: arrays go in, and the
  record is taken inside, one that all lanes share from an array of one row.
* *Missing inlining.* LLVM keeps a function of some size as a call, which spills every number to
  memory, and a record's fields with them. :func:`inlined` forces it, and so it is on the steps of
  a model. Functions that return many numbers or sit in loops over nodes gain most.
* *Cache.* Numba's file cache goes by a function's file, name, first line and instructions, not by
  what these call: two loops made of one template would load each other's code. The loops made here
  carry the file and line of their scalar function, and its name with letters that stand for the
  roles of the arguments. Like all that is :func:`.compiled.compiled`, they are compiled anew when
  one of their sources has changed.
* *Plain Python.* With ``NUMBA_DISABLE_JIT=1`` the loops run uncompiled.
"""

import numpy as np
from numba import config, njit, prange, types
from numba.core import cgutils
from numba.extending import intrinsic

from oncogym.envs.compiled import compiled
from oncogym.envs.source_digest import short_digest
from oncogym.envs.unowned import unowned

#: What the scalar function gets of an array: the lane's number of ``(lanes,)``, the lane's row of
#: ``(lanes, …)``, the lane's column of ``(…, lanes)``, all of it, or a row of the result, of which
#: there is one for each lane asked for. And what is no array, such as a named tuple of some that no
#: lane has for its own: it costs some microseconds a call, see above.
ITEM, ROW, COLUMN, WHOLE, SHOWN_ROW = "item", "row", "column", "whole", "shown row"
AS_IS = "as is"


# Where the loop over active lanes calls what happens in the others.
_IDLE = "idle"


class Shared:
    """The one record ``(numbers,)`` that all lanes share."""

    def __init__(self, record):
        self.record = record


class Chosen:
    """One of several records, that of a lane's number in the array ``by`` ``(lanes,)``.

    The loop takes that array right after the records.
    """

    def __init__(self, record, by):
        self.record, self.by = record, by


class Shown:
    """A record of the result's row, of which there is one for each lane asked for."""

    def __init__(self, record):
        self.record = record


class Scored:
    """The lane's record of a result: zeros where a lane takes no decision."""

    def __init__(self, record):
        self.record = record


def inlined(function):
    """Compile a step of a model so that it becomes part of whoever calls it.

    It has no file cache: a loop that is compiled anew because a file has changed would take from it
    a step whose own file has not, with the old code of the changed one in it.
    """
    return njit(error_model="numpy", forceinline=True)(function)


@inlined
def clip(value, low, high):
    """A number, or the end of an interval that it lies beyond."""
    return min(max(value, low), high)


@intrinsic
def record_at(typingctx, array, row, kind):
    """The record in a row of ``(rows, numbers)``, or the only one of ``(numbers,)``; no owner.

    The row is not checked, nor is the array's width: the loops made below do that once a call.
    """
    record = kind.dtype
    numbers = {getattr(record.typeof(name), "dtype", record.typeof(name)) for name in record.fields}
    fits = isinstance(array, types.Array) and array.layout == "C" and array.ndim in (1, 2)
    if not fits or numbers != {array.dtype}:
        raise TypeError(f"{array} holds no records of {sorted(map(str, numbers))} in rows")

    def codegen(context, builder, signature, args):
        source = context.make_array(signature.args[0])(context, builder, value=args[0])
        data = source.data
        if signature.args[0].ndim == 2:
            number = context.cast(builder, args[1], signature.args[1], types.intp)
            stride = cgutils.unpack_tuple(builder, source.strides)[0]
            data = cgutils.pointer_add(builder, data, builder.mul(number, stride))
        return builder.bitcast(data, context.get_value_type(signature.return_type))

    return record(array, row, kind), codegen


def _view(axis):
    """An intrinsic for the view of an array at a number of its ``axis``, without an owner.

    The first axis of an array of two or more, or the last.
    """

    @intrinsic
    def view(typingctx, array, number):
        whole = axis == 0 and array.layout == "C"
        result = types.Array(array.dtype, array.ndim - 1, "C" if whole else "A")

        def codegen(context, builder, signature, args):
            source = context.make_array(signature.args[0])(context, builder, value=args[0])
            at = context.cast(builder, args[1], signature.args[1], types.intp)
            shape = cgutils.unpack_tuple(builder, source.shape)
            strides = cgutils.unpack_tuple(builder, source.strides)
            made = context.make_array(signature.return_type)(context, builder)
            offset = builder.mul(at, strides.pop(axis))
            shape.pop(axis)
            made.data = cgutils.pointer_add(builder, source.data, offset)
            made.shape = cgutils.pack_array(builder, shape)
            made.strides = cgutils.pack_array(builder, strides)
            made.itemsize = source.itemsize
            made.meminfo = made.meminfo.type(None)
            made.parent = made.parent.type(None)
            return made._getvalue()

        return result(array, number), codegen

    return view


row_at = _view(0)
column_at = _view(-1)

if config.DISABLE_JIT:  # type: ignore[attr-defined]

    def record_at(array, row, kind):  # type: ignore[misc]
        """The record, as an object whose fields are attributes."""
        records = array.reshape(-1, array.shape[-1])[row].view(np.dtype((np.record, kind)))
        return records[0]

    def row_at(array, number):
        """The row itself."""
        return array[number]

    def column_at(array, number):
        """The column itself."""
        return array[..., number]


def over_lanes(function, *, returns=(), **arrays):
    """Loops ``(lanes, *arrays)`` over lanes by number ``(k,)``.

    Args:
        function: What happens in one lane; its parameters are those of ``arrays``, in order.
        returns: Names of arrays ``(lanes,)`` that receive what it returns.
        **arrays: What it gets of each array: a record (the lane's row), :class:`Shared`,
            :class:`Chosen`, :class:`Shown`, ``ITEM``, ``ROW``, ``COLUMN``, ``WHOLE``,
            ``SHOWN_ROW`` or ``AS_IS``.

    Returns:
        The serial and the parallel loop, ``…_lanes_ROLES`` and ``…_lanes_ROLES_parallel``.
    """
    head = ["for row in prange(lanes.shape[0]):", "    lane = lanes[row]"]
    return _compile(function, "lanes", head, arrays, returns)


def over_active(function, *, idle=None, returns=(), **arrays):
    """Loops ``(active, *arrays)`` over the lanes of a mask ``(lanes,)``.

    Other lanes get zeros where results are :class:`Scored`, and in the arrays of ``returns``.

    Args:
        function, returns, **arrays: As in :func:`over_lanes`.
        idle: What happens in the other lanes, if anything; its parameters are some of those of
            ``function``, by name.
    """
    clear = []
    for name, role in arrays.items():
        if isinstance(role, Scored):
            clear += [
                f"        for column in range({name}.shape[1]):",
                f"            {name}[lane, column] = 0.0",
            ]
    clear += [f"        {name}[lane] = False" for name in returns]
    if idle is not None:
        clear.append(_IDLE)
    head = [
        "for number in prange(active.shape[0]):",
        "    lane = row = np.int64(number)",
        "    if not active[lane]:",
        *(clear or ["        pass"]),
        "        continue",
    ]
    return _compile(function, "active", head, arrays, returns, idle)


def _compile(function, first, head, arrays, returns, idle=None):
    """The loops of a scalar function, as source: numba cannot make its ``prange`` of ``*args``."""
    own = {"np": np, "prange": prange, "body": inlined(function), "unowned": unowned}
    own |= {"record_at": record_at, "row_at": row_at, "column_at": column_at}
    own["__name__"] = function.__module__
    before, given, parameters = [], [], [first]
    for name, role in arrays.items():
        given.append(_taken(name, role, own))
        parameters += [name, role.by] if isinstance(role, Chosen) else [name]
        record = getattr(role, "record", role if isinstance(role, np.dtype) else None)
        if record is not None:
            width = record.itemsize // record[0].base.itemsize
            message = f"{name} has another width than its record, {width}"
            before += [f"if {name}.shape[-1] != {width}:", f"    raise ValueError({message!r})"]
        elif role == WHOLE:
            before.append(f"{name} = unowned({name})")
    targets = ", ".join(f"{name}[lane]" for name in returns)
    call = f"{targets}{' = ' if targets else ''}body({', '.join(given)})"
    if idle is not None:
        own["idle"] = inlined(idle)
        taken = dict(zip(_parameters(function), given, strict=True))
        call_idle = f"        idle({', '.join(taken[name] for name in _parameters(idle))})"
        head = [call_idle if line == _IDLE else line for line in head]
    text = "\n".join(f"    {line}" for line in [*before, *head, f"    {call}"])
    roles = [first, *map(_spelled, arrays.values()), len(returns), getattr(idle, "__name__", "")]
    loops = []
    for ending in ("", "_parallel"):
        name = f"{function.__name__}_lanes_{short_digest(repr(roles))}{ending}"
        source = f"def {name}({', '.join([*parameters, *returns])}):\n{text}\n"
        place = {**own}
        exec(compile(source, function.__code__.co_filename, "exec"), place)
        loop = place[name]
        loop.__code__ = loop.__code__.replace(co_firstlineno=function.__code__.co_firstlineno)
        loop.__doc__ = function.__doc__
        loops.append(compiled(loop, error_model="numpy", parallel=bool(ending)))
    return tuple(loops)


def _spelled(role):
    """The role of an argument as text."""
    kind = "" if isinstance(role, str | np.dtype) else type(role).__name__
    return kind, str(getattr(role, "record", role))


def _parameters(function):
    """Names of a function's parameters."""
    return function.__code__.co_varnames[: function.__code__.co_argcount]


def _taken(name, role, own):
    """Source of what the scalar function gets of an array."""
    if isinstance(role, str):
        return {
            ITEM: f"{name}[lane]",
            ROW: f"row_at({name}, lane)",
            COLUMN: f"column_at({name}, lane)",
            WHOLE: name,
            AS_IS: name,
            SHOWN_ROW: f"row_at({name}, row)",
        }[role]
    own[f"{name}_record"] = role if isinstance(role, np.dtype) else role.record
    number = {Shared: "0", Shown: "row", Chosen: f"{getattr(role, 'by', '')}[lane]"}
    at = number.get(type(role), "lane")
    return f"record_at({name}, {at}, {name}_record)"
