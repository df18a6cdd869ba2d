"""Many simulations at once: each job owns its tumour, so that threads never meet.

A kernel file: it imports nothing but numpy, numba, math and other kernel files.
"""

import numpy as np
from numba import njit, prange

from oncogym.envs.emt6ro_fractionation.frame_kernels import COUNTERS, RECORDED
from oncogym.envs.emt6ro_fractionation.kernels import advance_tumour, record, seed_tumour
from oncogym.envs.twins import compile_twins


@njit(cache=True)
def _one_job(fields, phase, mode, clocks, biology, settings, doses, seed, episode, until, times,
             records, counters):  # fmt: skip
    """Simulate a copy of one tumour to step ``until``, recording at the steps ``times``."""
    fields, phase, mode, clocks = fields.copy(), phase.copy(), mode.copy(), clocks.copy()
    counters[:] = 0
    for number in range(times.shape[0]):
        advance_tumour(fields, phase, mode, clocks, counters, biology, settings, doses,
                       times[number], seed, episode)  # fmt: skip
        record(fields, phase, mode, clocks, settings, records[number])
    advance_tumour(fields, phase, mode, clocks, counters, biology, settings, doses, until, seed,
                   episode)  # fmt: skip


@njit(cache=True)
def simulate_jobs(tumour, protocol, fields, phase, mode, clocks, biology, settings, doses, seed,
                  episodes, until, times, records, counters):  # fmt: skip
    """Simulate ``jobs`` courses on one thread.

    Args:
        tumour, protocol: ``(jobs,)`` which tumour and protocol each job has.
        fields, phase, mode, clocks: ``(tumours, …)`` initial states, left as they are.
        biology: ``(jobs, BIOLOGY)``.
        settings: ``(SETTINGS,)``.
        doses: ``(protocols, slots)`` Gy.
        seed: Key of all jobs.
        episodes: ``(jobs,)`` second half of each job's key.
        until: Last step.
        times: ``(n,)`` rising steps up to ``until`` at which to record.
        records: Output ``(jobs, n, RECORDED)``.
        counters: Output ``(jobs, COUNTERS)``.
    """
    for job in range(tumour.shape[0]):
        one = tumour[job]
        _one_job(fields[one], phase[one], mode[one], clocks[one], biology[job], settings,
                 doses[protocol[job]], seed, episodes[job], until, times, records[job],
                 counters[job])  # fmt: skip


@njit(cache=True, parallel=True)
def simulate_jobs_parallel(tumour, protocol, fields, phase, mode, clocks, biology, settings, doses,
                           seed, episodes, until, times, records, counters):  # fmt: skip
    """The same on all threads."""
    for job in prange(tumour.shape[0]):
        one = tumour[job]
        _one_job(fields[one], phase[one], mode[one], clocks[one], biology[job], settings,
                 doses[protocol[job]], seed, episodes[job], until, times, records[job],
                 counters[job])  # fmt: skip


@njit(cache=True)
def _grow_one(fields, phase, mode, clocks, biology, settings, sites, seed, episode, until):
    counters = np.zeros(COUNTERS, np.int64)
    seed_tumour(fields, phase, mode, clocks, settings, sites, seed, episode)
    advance_tumour(fields, phase, mode, clocks, counters, biology, settings, np.zeros(0), until,
                   seed, episode)  # fmt: skip


def _grow_all(fields, phase, mode, clocks, biology, settings, sites, seed, episodes, until):
    """Grow a tumour from ``sites`` central sites into every row of the state arrays.

    ``until`` ``(tumours,)`` is the age of each in steps.
    """
    for row in prange(episodes.shape[0]):
        _grow_one(fields[row], phase[row], mode[row], clocks[row], biology, settings, sites, seed,
                  episodes[row], until[row])  # fmt: skip


grow_all, grow_all_parallel = compile_twins(_grow_all)


def empty_records(jobs, times):
    """Room for the records of ``jobs`` at ``times`` moments."""
    return np.zeros((jobs, times, RECORDED), np.float32)
