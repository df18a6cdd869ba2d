"""Where the constants of the glioblastoma model come from."""

from __future__ import annotations

from oncogym.envs.glioblastoma_radiation import kernels, model
from oncogym.envs.literature import Publication
from oncogym.envs.provenance import Origin, module_constants, patient_constants
from oncogym.envs.radiobiology import LINEAR_QUADRATIC_RANGE

_SOURCE = "documentation of PDE Control Gym, BrainTumor1D"
_PRINTED: Origin = ("printed", _SOURCE, "not said there")
_SCAN: Origin = ("printed", _SOURCE, "not said there; stands for what imaging shows")
_SEEN: Origin = ("derived", "behaviour of the source's program", "nothing: a rule of the program")

#: Modules each of whose public numbers has an entry.
MODULES = (kernels, model)
CONSTANTS = (
    *patient_constants(model.GlioblastomaPatient, dict.fromkeys(model.FIELDS, _PRINTED)),
    *module_constants(
        kernels,
        {
            "T1_LEVEL": ("of K", _SCAN),
            "T2_LEVEL": ("of K", _SCAN),
            "DETECTION_RADIUS": ("mm", _PRINTED),
            "DEATH_RADIUS": ("mm", _PRINTED),
            "LEFTOVER": ("Gy", _SEEN),
            "TAIL": ("of K", ("chosen", "densities below count as none", "nothing: numerics")),
        },
    ),
    *module_constants(
        model,
        {"TOTAL_DOSE": ("Gy", _PRINTED), "MARGIN": ("mm", _PRINTED), "LENGTH": ("mm", _SEEN)},
    ),
)
LITERATURE = (
    Publication(
        "trial RTOG 90-05, radiosurgery limits by diameter, through the documentation of PDE "
        "Control Gym",
        "law of the safe dose and its largest dose",
    ),
    Publication(
        "Harpold, Alvord and Swanson, J Neuropathol Exp Neurol 66:1 (2007)",
        "how far diffusion and proliferation spread among patients",
    ),
    Publication("Swanson et al., Br J Cancer 98:113 (2008)", "the same"),
    Publication(
        "Rockne et al., Phys Med Biol 55:3271 (2010)", "that radiosensitivity differs by patient"
    ),
    Publication("Kim et al., Cancers 9:51 (2017)", "front speeds beside those of the cohort"),
    Publication("Stupp et al., N Engl J Med 352:987 (2005)", "the protocol standard"),
    Publication("Perry et al., N Engl J Med 376:1027 (2017)", "the protocol hypofractionated"),
    LINEAR_QUADRATIC_RANGE,
)
