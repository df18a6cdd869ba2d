"""Where the constants of adaptive therapy come from."""

from __future__ import annotations

from oncogym.envs.adaptive_therapy import model, step_kernels
from oncogym.envs.literature import Publication
from oncogym.envs.provenance import Origin, module_constants, patient_constants

_NOMINAL: Origin = (
    "printed",
    "Gallagher 2024, Cancer Res 84:1929, its code's patient `base`",
    "nothing: a nominal patient of the model of Strobl 2021, Cancer Res 81:1135",
)
_FIXED: Origin = (
    "printed",
    "Strobl 2021, Cancer Res 81:1135, fixed in all its fits",
    "chosen there; the fits are to PSA of the Bruchovsky trial",
)
_LIMIT: Origin = (
    "printed",
    "Strobl 2021 and Gallagher 2024: 20 % over the start",
    "a definition; the trial's progression is radiographic",
)


def _chosen(why: str) -> Origin:
    return "chosen", why, "nothing: a choice of this suite"


#: Modules each of whose public numbers has an entry.
MODULES = (model, step_kernels)
CONSTANTS = (
    *patient_constants(
        model.AdaptivePatient,
        {
            **dict.fromkeys(("n0", "fR", "cost", "turnover"), _NOMINAL),
            **dict.fromkeys(("rS", "dD"), _FIXED),
        },
    ),
    *module_constants(
        model,
        {
            "PROGRESSION": ("starting burdens", _LIMIT),
            "INTERVAL": ("d", _chosen("the trial's visits had a median gap of 32 d")),
            "SUBSTEP": ("d", _chosen("logarithms right to 7e-9 over 28 d")),
            "LONGEST_SUBSTEP": ("d", _chosen("logarithms right to 1e-6 over 28 d")),
            "HORIZON": ("d", _chosen("ten years, 130 visits")),
        },
    ),
    *module_constants(
        step_kernels,
        {
            "YEAR": ("d", ("derived", "the calendar's mean year", "nothing: a unit")),
            "DRUG_WEIGHT": ("", _chosen("a day of full dose costs a fifth of a good day")),
            "TOXICITY_DAYS": ("d", _chosen("toxicity follows the dose in two months")),
            "TOXICITY_LIMIT": ("full doses", _chosen("only months of full dose pass it")),
            "SUCCESS_RATIO": ("", _chosen("half as long again as full dose")),
            "SUCCESS_BURDEN": ("starting burdens", _chosen("hovering at the limit fails")),
            "DEATH_RATIO": (
                "starting burdens",
                _chosen("well past progression; no source has one"),
            ),
            "DEATH_BURDEN": ("capacities", _chosen("hardly any room is left to grow into")),
        },
    ),
)
#: What the model rests on beside what prints its constants.
LITERATURE = (
    Publication("Nixon 1997, J Urol 157:2183", "error of the marker"),
    Publication("Zhang 2022, eLife 11:e76284", "the rule at50 and the time between visits"),
)
