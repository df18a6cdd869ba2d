"""Where the constants of docetaxel, marrow and tumour come from."""

from __future__ import annotations

from oncogym.envs.chemo_neutrophils import kernels, model, records, step_kernels
from oncogym.envs.literature import Publication
from oncogym.envs.provenance import Origin, module_constants, patient_constants

_MARROW: Origin = (
    "printed",
    "Friberg et al., J Clin Oncol 20:4713 (2002), table 4, row 1, as the vignette of CRAN's DTAT "
    "and an example of PKPDsim quote it; the paper was not read",
    "neutrophils of patients under docetaxel",
)
_DRUG: Origin = (
    "printed",
    "Bruno et al., J Pharmacokinet Biopharm 24 (1996), as fribergPars02.R of radivot/myelo and an "
    "example of PKPDsim quote it; the paper was not read",
    "plasma of patients under docetaxel",
)
_MASS: Origin = (
    "printed",
    "vignette of CRAN's DTAT and friberg02.R of radivot/myelo",
    "a property of the molecule",
)
_GRADES: Origin = (
    "printed",
    "grades of neutropenia as PMC2972576, table 5, has them (CTCAE)",
    "a definition",
)
_LABEL: Origin = (
    "printed",
    "docetaxel's dosage as MIMS prints it",
    "what is approved, not a measurement",
)


def _chosen(why: str) -> Origin:
    return "chosen", why, "nothing: a choice of this suite"


#: Modules each of whose public numbers has an entry.
MODULES = (model, kernels, step_kernels, records)
CONSTANTS = (
    *patient_constants(
        model.NeutrophilPatient,
        {
            **dict.fromkeys(("baseline", "transit_time", "feedback", "emax", "ec50"), _MARROW),
            **dict.fromkeys(("clearance", "volume"), _DRUG),
            "surface": _chosen("a middling adult, for doses per square metre"),
            "growth_rate": _chosen("doubles in 69 d"),
            "kill_rate": _chosen("100 mg/m^2 kill as much as three months grow"),
            "initial_cells": _chosen("some ten grams"),
        },
    ),
    *module_constants(
        model,
        {
            **dict.fromkeys(("K12", "K21", "K13", "K31"), ("1/h", _DRUG)),
            "CAPACITY": ("cells", _chosen("a kilogram, which treated tumours stay far from")),
            "LABEL_DOSE": ("mg/m^2", _LABEL),
            "LARGEST_DOSE": ("mg/m^2", _chosen("largest input that is computed")),
            "LONGEST_COURSE": ("d", _chosen("largest input that is computed")),
        },
    ),
    *module_constants(
        kernels,
        {
            "INFUSION": ("h", _LABEL),
            **dict.fromkeys(("LOWER_LIMIT", "GRADE2", "GRADE3", "GRADE4"), ("10^9/L", _GRADES)),
            "LARGEST_FEEDBACK": ("", _chosen("reached by no patient near the typical one")),
            "SMALLEST_COUNT": ("10^9/L", _chosen("far below one cell")),
            "MOLAR_MASS": ("mg/umol", _MASS),
        },
    ),
    *module_constants(
        step_kernels,
        {
            "LONGEST_RUN": ("d", _chosen("the week after which the label reduces the dose")),
        },
    ),
    *module_constants(
        records,
        {
            "HIGHEST_COUNT": ("10^9/L", _chosen("bound of what is shown")),
            "HIGHEST_CHANGE": ("", _chosen("bound of what is shown")),
        },
    ),
)
#: What the model rests on beside what prints its constants.
LITERATURE = (
    Publication(
        "Norris, CRAN package DTAT, vignette (2023)",
        "spreads of the cohort; the rule titrated",
    ),
    Publication("PMC3675695, table A2", "the rule nadir_grade"),
    Publication("PMC4671866, table 1", "the rule day_count"),
)
