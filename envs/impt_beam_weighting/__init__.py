"""IMPT beam weighting: proton dose influence, planning, and 30 fractions under errors."""

from oncogym.envs.impt_beam_weighting import importers as importers
from oncogym.envs.impt_beam_weighting.beams import BeamSet
from oncogym.envs.impt_beam_weighting.complications import complications
from oncogym.envs.impt_beam_weighting.dose_statistics import dose_statistics, dvh
from oncogym.envs.impt_beam_weighting.dvh_plot import plot_dvh
from oncogym.envs.impt_beam_weighting.env import TREATMENT
from oncogym.envs.impt_beam_weighting.errors import (
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
from oncogym.envs.impt_beam_weighting.groups import centroid_groups
from oncogym.envs.impt_beam_weighting.influence import (
    DoseInfluence,
    Scenario,
    pencil_beams,
    scenarios,
)
from oncogym.envs.impt_beam_weighting.model import IMPTPatient, simulate
from oncogym.envs.impt_beam_weighting.objective import Objective, Problem, Term
from oncogym.envs.impt_beam_weighting.phantom import Phantom
from oncogym.envs.impt_beam_weighting.phantoms import PHANTOMS, phantom
from oncogym.envs.impt_beam_weighting.plan_library import (
    PlanLibrary,
    library_of_influence,
    library_of_phantom,
)
from oncogym.envs.impt_beam_weighting.planner import Plan, plan
from oncogym.envs.impt_beam_weighting.published import PublishedModel
from oncogym.envs.impt_beam_weighting.structures import Structure, StructureSet

__all__ = [
    "PHANTOMS",
    "TREATMENT",
    "BeamMissesTargetError",
    "BeamSet",
    "DoseInfluence",
    "EmptyStructureError",
    "GridMismatchError",
    "IMPTPatient",
    "Objective",
    "OverlapError",
    "Phantom",
    "PhantomFileError",
    "Plan",
    "PlanImportError",
    "PlanLibrary",
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
    "library_of_influence",
    "library_of_phantom",
    "pencil_beams",
    "phantom",
    "plan",
    "plot_dvh",
    "scenarios",
    "simulate",
]
