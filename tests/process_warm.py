"""What a forkserver imports: plans and spheroids made here are there in every process it forks."""

import process_cases

for _id in process_cases.IDS:
    process_cases.course(_id)
