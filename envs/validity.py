"""How a model says that a course has left the range in which its laws hold."""

from __future__ import annotations

from oncogym.envs.outcomes import Metric


class ModelRangeWarning(UserWarning):
    """A simulation has left the range in which the laws of its model hold; results are suspect."""


#: Outcome of a treatment whose model can be left during a course: 1 from then on. What the range is
#: stands on the treatment's page.
OUT_OF_RANGE = Metric("out_of_range", "Courses outside the model's range", "", False)
