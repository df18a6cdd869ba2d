"""A treatment that kills the process that simulates it; a module that workers can import."""

from __future__ import annotations

from dataclasses import replace

import slot_toy
from deadly_work import perhaps_die


class MortalTask(slot_toy.SlotToyTask):
    """Kills the first process, other than ``parent``, that treats a patient of sensitivity 1.2."""

    def __init__(self, num_lanes, *, tomb="", parent=0, **options):
        super().__init__(num_lanes, **options)
        self.tomb, self.parent = tomb, parent

    def reset(self, lanes, patients, seeds, episodes):
        if (patients[:, 0] == 1.2).any():
            perhaps_die(self.tomb, self.parent)
        return super().reset(lanes, patients, seeds, episodes)


TREATMENT = replace(slot_toy.TREATMENT, name="mortal_toy", task=MortalTask, variants=())
