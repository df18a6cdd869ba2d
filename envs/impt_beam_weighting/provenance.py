"""Where the constants of the proton-planning model come from."""

from __future__ import annotations

from oncogym.envs.impt_beam_weighting import model
from oncogym.envs.impt_beam_weighting.planning import bragg
from oncogym.envs.literature import Publication
from oncogym.envs.provenance import Origin, module_constants, patient_constants
from oncogym.envs.radiobiology import PROTON_COMPLICATIONS

_BORTFELD: Origin = ("printed", "Bortfeld, Med. Phys. 24, 2024 (1997)", "ranges in water")
_MARGIN: Origin = (
    "chosen",
    "the size of the usual margins, 3 to 5 mm and 3 to 3.5 %",
    "nothing: no clinic's data",
)
_PLANNED: Origin = ("chosen", "the plan's own geometry, without errors", "nothing")

#: Modules each of whose public numbers has an entry.
MODULES = (bragg, model)
CONSTANTS = (
    *patient_constants(
        model.IMPTPatient,
        {
            "anatomy": ("chosen", "the phantom itself", "nothing: a label"),
            "shift_x": _PLANNED,
            "shift_y": _PLANNED,
            "shift_z": _PLANNED,
            "range_error": _PLANNED,
            "random_sd": _MARGIN,
        },
    ),
    *module_constants(
        bragg,
        {
            "ALPHA": ("cm/MeV^p", _BORTFELD),
            "POWER": ("", _BORTFELD),
            "ENERGY_SPREAD": ("relative", ("chosen", "1 % of the energy", "no machine")),
            "TABLE_STEP": ("cm", ("chosen", "depth-dose tables", "nothing: numerics")),
        },
    ),
    *module_constants(
        model,
        {
            "SYSTEMATIC_SD": ("cm", _MARGIN),
            "RANGE_SD": ("relative", _MARGIN),
            "RANDOM_SD": ("cm", _MARGIN),
        },
    ),
)
LITERATURE = (
    Publication(
        "tutorial on intensity-modulated proton therapy (`oncogym reproduce impt`)",
        "phantom and objective of the published formulation",
    ),
    *PROTON_COMPLICATIONS,
)
