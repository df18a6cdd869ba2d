"""Many simulations at once: each job owns its tumour, so that threads never meet.

A kernel file: it imports nothing but numpy, numba, math, records and other kernel files.
"""

import numpy as np

from oncogym.envs.compiled import compiled
from oncogym.envs.emt6ro_fractionation.frame_kernels import copy_sites
from oncogym.envs.emt6ro_fractionation.kernels import follow_course, record, seed_tumour
from oncogym.envs.emt6ro_fractionation.records import (
    BIOLOGY,
    COUNTERS,
    SETTINGS,
    TUMOUR,
)
from oncogym.envs.lane_kernels import ITEM, ROW, WHOLE, Shared, over_lanes


@compiled
def _simulate_copy(copies, source, counters, biology, settings, doses, seed, episode, until, times,
                   samples):  # fmt: skip
    own, nothing = copies[0], np.empty(0)
    copy_sites(source, own, 0, 1)
    for number in range(times.shape[0]):
        follow_course(own, counters, biology, settings, doses, times[number], nothing, seed,
                      episode)  # fmt: skip
        record(own, settings, samples[number])
    follow_course(own, counters, biology, settings, doses, until, nothing, seed, episode)


def simulate_job(number, protocol, tumours, biology, settings, doses, seed, episode, until, times,
                 samples, counters):  # fmt: skip
    """Simulate a copy of one tumour.

    Args:
        number, protocol: Which of the tumours and of the protocols.
        tumours: Initial states, left as they are.
        biology, settings, counters: Records, see ``records.py``; the last is written, from zeros.
        doses: ``(protocols, slots)`` Gy.
        seed, episode: Key of the random streams.
        until: Last step.
        times: ``(n,)`` rising steps up to ``until`` at which to record.
        samples: Records ``(n,)``, written.
    """
    _simulate_copy(np.empty(1, TUMOUR), tumours[number], counters, biology, settings,
                   doses[protocol], seed, episode, until, times, samples)  # fmt: skip


simulate_jobs, simulate_jobs_parallel = over_lanes(
    simulate_job,
    numbers=ITEM,
    protocols=ITEM,
    tumours=WHOLE,
    biology=BIOLOGY,
    settings=Shared(SETTINGS),
    doses=WHOLE,
    seeds=ITEM,
    episodes=ITEM,
    until=ITEM,
    times=WHOLE,
    samples=ROW,
    counters=COUNTERS,
)


def grow(tumour, counters, biology, settings, sites, seed, episode, until):
    """Grow a tumour from central sites, without treatment.

    Args:
        tumour, counters, biology, settings: Records, see ``records.py``; the first two are written,
            the second from zeros.
        sites: Occupied sites at the start.
        seed, episode: Key of the random streams.
        until: Its age in steps.
    """
    seed_tumour(tumour, settings, sites, seed, episode)
    nothing = np.zeros(0)
    follow_course(tumour, counters, biology, settings, nothing, until, nothing, seed, episode)


grow_lanes, grow_lanes_parallel = over_lanes(
    grow,
    tumours=ITEM,
    counters=COUNTERS,
    biology=Shared(BIOLOGY),
    settings=Shared(SETTINGS),
    sites=ITEM,
    seeds=ITEM,
    episodes=ITEM,
    until=ITEM,
)
