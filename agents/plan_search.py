"""The search by which a controller moves the plans of all its patients together."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from oncogym.agents.batch_cma import BatchCMA
from oncogym.agents.patient_streams import PatientStreams
from oncogym.envs.therapy import Floats

#: Scores ``(patients, plans)`` of offsets ``(patients, plans, decisions, action size)``.
Judge = Callable[[Floats], Floats]


class PlanSearch:
    """A search of what to add to plans, stretch by stretch; who judges may change on the way.

    Args:
        origin: Offsets around which it moves ``(patients, decisions, action size)``.
        time: Number of the first decision that it moves.
        stretch: Number of the stretch, of actions that move together, of each decision from there.
        spread: Standard deviation of the largest moves.
        plans: Plans of a generation.
        draws: Random numbers, one stream a patient.
    """

    def __init__(
        self,
        origin: Floats,
        time: int,
        stretch: NDArray[np.intp],
        spread: float,
        plans: int,
        draws: PatientStreams,
    ) -> None:
        self._origin, self._draws = origin, draws
        self._ahead, self._stretch = slice(time, time + len(stretch)), stretch
        self._shape = (len(origin), plans, int(stretch.max()) + 1, origin.shape[2])
        self._cma = BatchCMA(len(origin), self._shape[2] * self._shape[3], spread, plans)

    def improve(self, judge: Judge, generations: int, offsets: Floats, best: Floats) -> None:
        """Replace plans, in place, wherever a better one is found.

        Args:
            judge: Scores of plans, the larger the better.
            generations: Number of generations.
            offsets: The best plans so far ``(patients, decisions, action size)``.
            best: Their scores by this judge ``(patients,)``.
        """
        patients, plans, _, _ = self._shape
        everybody = np.arange(patients)
        for _ in range(generations):
            drawn = self._draws.normals(everybody, int(np.prod(self._shape[1:])))
            moves = self._cma.ask(drawn.reshape(patients, plans, -1))
            tried = np.repeat(self._origin[:, None], plans, axis=1)
            tried[:, :, self._ahead] += moves.reshape(self._shape)[:, :, self._stretch]
            scores = judge(tried)
            self._cma.tell(moves, scores)
            first = np.argmax(scores, axis=1)
            better = scores[everybody, first] > best
            best[better] = scores[everybody, first][better]
            offsets[better] = tried[everybody, first][better]
