"""Treatment planning for protons: phantoms, beams, dose influence, objectives, plans, importers.

It stands without the environments: nothing here knows of tasks, patients or courses of fractions.
"""

from oncogym.envs.impt_beam_weighting.planning import importers as importers
from oncogym.envs.impt_beam_weighting.planning.beams import BeamSet
from oncogym.envs.impt_beam_weighting.planning.complications import complications
from oncogym.envs.impt_beam_weighting.planning.dose_statistics import (
    dose_statistics,
    dvh,
)
from oncogym.envs.impt_beam_weighting.planning.dvh_plot import plot_dvh
from oncogym.envs.impt_beam_weighting.planning.errors import (
    BeamMissesTargetError,
    EmptyStructureError,
    GridMismatchError,
    OverlapError,
    PhantomFileError,
    PlanImportError,
    PlanningWarning,
    StructureOutsideGridError,
    WeightError,
)
from oncogym.envs.impt_beam_weighting.planning.groups import centroid_groups
from oncogym.envs.impt_beam_weighting.planning.influence import (
    DoseInfluence,
    Scenario,
    pencil_beams,
    scenarios,
)
from oncogym.envs.impt_beam_weighting.planning.objective import (
    Objective,
    Problem,
    Term,
)
from oncogym.envs.impt_beam_weighting.planning.phantom import Phantom
from oncogym.envs.impt_beam_weighting.planning.phantoms import (
    PHANTOMS,
    phantom,
)
from oncogym.envs.impt_beam_weighting.planning.planner import (
    Plan,
    plan,
)
from oncogym.envs.impt_beam_weighting.planning.published import PublishedModel
from oncogym.envs.impt_beam_weighting.planning.structures import (
    Structure,
    StructureSet,
)

__all__ = [
    "PHANTOMS",
    "BeamMissesTargetError",
    "BeamSet",
    "DoseInfluence",
    "EmptyStructureError",
    "GridMismatchError",
    "Objective",
    "OverlapError",
    "Phantom",
    "PhantomFileError",
    "Plan",
    "PlanImportError",
    "PlanningWarning",
    "Problem",
    "PublishedModel",
    "Scenario",
    "Structure",
    "StructureOutsideGridError",
    "StructureSet",
    "Term",
    "WeightError",
    "centroid_groups",
    "complications",
    "dose_statistics",
    "dvh",
    "pencil_beams",
    "phantom",
    "plan",
    "plot_dvh",
    "scenarios",
]
