"""Evidence from outside the models' own sources: optimal control, growth of tumours, trials.

Each file says what was read. A comparison that fails is a known deviation, not a mistake of the
program: the note says why.
"""

from __future__ import annotations

from oncogym.evaluation.reproduce.beyond.anti_angiogenesis import check_anti_angiogenesis
from oncogym.evaluation.reproduce.beyond.constant_dose import check_constant_dose
from oncogym.evaluation.reproduce.beyond.fractionation import check_fractionation
from oncogym.evaluation.reproduce.beyond.glioma_growth import check_growth
from oncogym.evaluation.reproduce.beyond.glioma_trials import check_glioma_trials
from oncogym.evaluation.reproduce.beyond.neutropenia import check_neutropenia
from oncogym.evaluation.reproduce.beyond.nonmem_course import check_nonmem_course
from oncogym.evaluation.reproduce.checks import Check, Source, register


def check_beyond(seed: int) -> list[Check]:
    """All comparisons."""
    return [
        *check_anti_angiogenesis(seed),
        *check_constant_dose(seed),
        *check_fractionation(),
        *check_growth(),
        *check_glioma_trials(),
        *check_neutropenia(),
        *check_nonmem_course(),
    ]


register(
    Source(
        "beyond",
        "Evidence from outside the sources: optimal control, tumour growth, clinical trials",
        check_beyond,
    )
)
