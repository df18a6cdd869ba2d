"""Named errors of the planning model; all of them are ValueErrors."""

from __future__ import annotations


class PhantomFileError(ValueError):
    """A phantom or influence file that cannot be read; the message names file and fault."""


class StructureOutsideGridError(ValueError):
    """A structure that reaches beyond the grid."""


class EmptyStructureError(ValueError):
    """A structure without a single voxel."""


class OverlapError(ValueError):
    """Two structures that share voxels although neither is stated to have priority."""


class BeamMissesTargetError(ValueError):
    """A beam without a spot that reaches the target."""


class WeightError(ValueError):
    """Spot weights that are negative, not finite or of the wrong number."""


class PlanImportError(ValueError):
    """Data of another planning system that cannot be read or lack a part, which it names."""


class GridMismatchError(PlanImportError):
    """Structures and doses on grids that differ."""


class PlanningWarning(UserWarning):
    """A choice that changes clinical numbers and was not the user's; the message says which."""
