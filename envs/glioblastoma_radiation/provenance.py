"""Where the constants of the glioblastoma model come from."""

from __future__ import annotations

from oncogym.envs.glioblastoma_radiation import kernels, model
from oncogym.envs.provenance import Origin, module_constants, patient_constants

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
