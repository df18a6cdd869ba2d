"""Docetaxel by the blood count: neutrophils in their unit, toxicity with a grade."""

from oncogym.envs.chemo_neutrophils.env import TREATMENT
from oncogym.envs.chemo_neutrophils.model import (
    NeutrophilCourse,
    NeutrophilPatient,
    grade,
    simulate,
)

__all__ = ["TREATMENT", "NeutrophilCourse", "NeutrophilPatient", "grade", "simulate"]
