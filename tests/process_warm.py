"""What a forkserver imports: plans and spheroids made here are there in every process it forks."""

import contextlib

import process_cases

with contextlib.suppress(ImportError):
    import stable_baselines3.common.vec_env  # noqa: F401

for _id in process_cases.IDS:
    process_cases.course(_id)
