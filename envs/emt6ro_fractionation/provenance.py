"""Where the constants of the spheroid model come from."""

from __future__ import annotations

from oncogym.envs.emt6ro_fractionation import model, parameters, rules
from oncogym.envs.literature import Publication
from oncogym.envs.provenance import Origin, module_constants, patient_constants
from oncogym.envs.radiobiology import LINEAR_QUADRATIC_RANGE

_FILE: Origin = (
    "printed",
    "parameter file of the program behind Ozimek et al. (`oncogym reproduce emt6ro`)",
    "EMT6/Ro spheroids; the experiment is not named in the file",
)
_NUMERICS: Origin = (*_FILE[:2], "nothing: numerics")
_TUMOUR: Origin = ("chosen", "the first tumour of this suite's library", "nothing: a label")
_AGE: Origin = ("derived", "ten days of growth before treatment, as in the paper", "nothing")

#: Modules each of whose public numbers has an entry.
MODULES = (parameters, rules)
CONSTANTS = (
    *patient_constants(
        model.EMT6RoPatient,
        {
            "survival": _FILE,
            "repair_delay": _FILE,
            "repair_growth": _FILE,
            "recovery": _FILE,
            "tumour": _TUMOUR,
            "age": _AGE,
        },
    ),
    *module_constants(parameters, {"SUBSTEP_SECONDS": ("s", _NUMERICS)}),
)
LITERATURE = (
    Publication(
        'Ozimek, Banas, Gora, Angus and Piotrowska, "Identifying Promising Candidate Radiotherapy '
        'Protocols via GPU-GA in-silico"',
        "the model, its protocols, and the tables that `oncogym reproduce emt6ro` repeats",
    ),
    LINEAR_QUADRATIC_RANGE,
)
