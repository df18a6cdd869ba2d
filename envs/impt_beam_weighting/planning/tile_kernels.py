"""Kernels that lay sparse rows out as tiles: small dense blocks that share a list of columns.

Neighbouring voxels are hit by almost the same spots. Eight rows of them as one dense block need one
index for eight entries, and dose and gradient become products with short dense vectors, which
processors do many at a time; the zeros that fill a block cost less than that saves.
"""

import numpy as np

from oncogym.envs.compiled import compiled

#: Rows of a tile; kernels take them in two groups of four.
ROWS = 8


@compiled
def count_columns(indices, indptr, rows, tile_rows, spots, counts):
    """Number of columns of every tile ``(tiles,)``; arguments as for :func:`fill_tiles`."""
    seen = np.full(spots, -1, np.int64)
    for tile in range(len(tile_rows) - 1):
        found = 0
        for place in range(tile_rows[tile], tile_rows[tile + 1]):
            row = rows[place]
            for k in range(indptr[row], indptr[row + 1]):
                if seen[indices[k]] != tile:
                    seen[indices[k]] = tile
                    found += 1
        counts[tile] = found


@compiled
def fill_tiles(data, indices, indptr, rows, tile_rows, spots, starts, columns, entries):
    """Columns and entries of every tile.

    Args:
        data, indices, indptr: The sparse rows.
        rows: Rows in the order of the tiles ``(n,)``.
        tile_rows: First of ``rows`` of each tile, and their number ``(tiles + 1,)``.
        spots: Number of columns of the matrix.
        starts: First column of each tile, and their number ``(tiles + 1,)``.
        columns: Columns of the tiles, ascending in each, filled in.
        entries: ``ROWS`` rows of as many entries as a tile has columns, one tile after the other,
            filled in; zero on entry.
    """
    place = np.zeros(spots, np.int64)
    seen = np.full(spots, -1, np.int64)
    for tile in range(len(tile_rows) - 1):
        first, last = starts[tile], starts[tile + 1]
        at = first
        for number in range(tile_rows[tile], tile_rows[tile + 1]):
            row = rows[number]
            for k in range(indptr[row], indptr[row + 1]):
                if seen[indices[k]] != tile:
                    seen[indices[k]] = tile
                    columns[at] = indices[k]
                    at += 1
        columns[first:last].sort()
        for k in range(first, last):
            place[columns[k]] = k - first
        base = ROWS * first
        for number in range(tile_rows[tile], tile_rows[tile + 1]):
            row = rows[number]
            for k in range(indptr[row], indptr[row + 1]):
                entries[base + place[indices[k]]] = data[k]
            base += last - first
