"""Where the constants of the chemotherapy model come from."""

from __future__ import annotations

from oncogym.envs.chemo_dosing import model
from oncogym.envs.literature import Publication
from oncogym.envs.provenance import Origin, module_constants, patient_constants

_TUTORIAL: Origin = (
    "printed",
    "tutorial on drug dosing (`oncogym reproduce chemo`)",
    "nothing: a teaching example without a named drug or tumour",
)
_BOUND: Origin = ("chosen", "largest input that is computed", "nothing: a bound of the code")

#: Modules each of whose public numbers has an entry.
MODULES = (model,)
CONSTANTS = (
    *patient_constants(model.ChemoPatient, dict.fromkeys(model.FIELDS, _TUTORIAL)),
    *module_constants(
        model,
        {
            "HORIZON": ("d", _TUTORIAL),
            "TOXICITY_LIMIT": ("", _TUTORIAL),
            "DOSE_LIMIT": ("mg/L", _TUTORIAL),
            "COST_PENALTY": (
                "",
                ("chosen", "the source prints no size of its penalty", "nothing: a weight"),
            ),
            "LARGEST_DOSE": ("mg/L", _BOUND),
            "LONGEST_HORIZON": ("d", _BOUND),
        },
    ),
)
LITERATURE = (
    Publication("PMC4671866, table 1", "dose levels and delays of the protocol dose_reduction"),
    Publication(
        'ClinLab Navigator, "Human Chorionic Gonadotropin Tumor Marker"',
        "size of the marker's limit of detection",
    ),
)
