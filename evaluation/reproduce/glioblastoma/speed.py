"""Speed of the glioblastoma model, beside a plain NumPy transcription of the source's scheme."""

from __future__ import annotations

import time

import numpy as np

from oncogym.envs.glioblastoma_radiation.model import (
    TOTAL_DOSE,
    GlioblastomaPatient,
    simulate_batch,
)
from oncogym.evaluation.reproduce.glioblastoma import transcription as transcription
from oncogym.evaluation.reproduce.glioblastoma.source import ENV_ID, PAPER
from oncogym.evaluation.speed import (
    Job,
    Measurement,
    Settings,
    env_jobs,
    rates,
    register,
    summarise,
    training_job,
)

# Courses in one call: takes about as long as one of the transcription.
_COURSES = 256
# At least so many rounds of all implementations, however short the time.
_ROUNDS = 5
_LANES = 1024
_ACTION = np.float32(PAPER[0] / TOTAL_DOSE)
# Everything compared runs on one thread; its CPU time leaves out what other processes take, where
# the system counts it finely enough.
_FINE = time.get_clock_info("thread_time").resolution <= 1e-5
_clock = time.thread_time if _FINE else time.perf_counter
_CLOCK_NAME = "CPU time" if _FINE else "wall time"
_PROTOCOL = "34 x 1.8 Gy"


def jobs(settings: Settings) -> list[Job]:
    """The paper's protocol in every form, environments with random doses, training if asked for."""
    found = [
        Job("kernel and NumPy", lambda: _courses(settings.seconds)),
        Job("scalar environment", lambda: _scalar(settings)),
        Job(f"{_LANES} lanes", lambda: _vector(settings)),
        # Random doses as large as the protocol's on average: lanes end at different times.
        *env_jobs(
            ENV_ID, settings, largest_action=2.0 * float(_ACTION), label="random doses to 3.6 Gy"
        ),
        *env_jobs(
            "oncogym/GlioblastomaRadiation-v0",
            settings,
            lanes=(_LANES,),
            largest_action=2.0 * float(_ACTION),
            label="random doses to 3.6 Gy",
        ),
    ]
    if settings.train:
        found.append(training_job(ENV_ID, settings))
    return found


def _courses(seconds: float) -> list[Measurement]:
    """Compiled courses, transcribed courses and whole transcribed episodes in turns, one thread.

    Raises:
        RuntimeError: The implementations disagree about the day of death.
    """
    plans = np.tile(PAPER, (_COURSES, 1))
    patients = np.tile(GlioblastomaPatient().to_array(), (_COURSES, 1))
    table, detected = transcription.grow()

    def kernel() -> float:
        return float(simulate_batch(plans, parallel=False).death_day[0])

    def fresh() -> float:
        return float(simulate_batch(plans, patients, parallel=False).death_day[0])

    def course() -> float:
        return float(transcription.treat(table, detected, PAPER).death_day)

    def episode() -> float:
        return float(transcription.episode(PAPER).death_day)

    deaths = {work.__name__: work() for work in (kernel, fresh, course, episode)}  # warms up
    if len(set(deaths.values())) > 1:
        raise RuntimeError(f"the implementations disagree about the day of death: {deaths}")
    # The kernel on either side of the others, so that slow stretches of the machine hit all.
    order = (kernel, course, episode, fresh, kernel)
    times: list[list[float]] = []
    start = time.perf_counter()
    while len(times) < _ROUNDS or time.perf_counter() - start < seconds:
        marks = [_clock()]
        for work in order:
            work()
            marks.append(_clock())
        times.append(np.diff(marks).tolist())
    spent = np.array(times)
    ours = 0.5 * (spent[:, 0] + spent[:, 4]) / _COURSES
    theirs, whole, anew = spent[:, 1], spent[:, 2], spent[:, 3] / _COURSES
    days = deaths["kernel"]
    follow_up = f"{days - detected:.0f} days from detection to death"
    turns = f"{len(times)} rounds in turns, {_CLOCK_NAME}"

    def per_second(
        what: str, times: np.ndarray, note: str, target: float | None = None
    ) -> Measurement:
        return summarise(f"{_PROTOCOL}: {what}", (1.0 / times).tolist(), "episodes/s", target,
                         note=note)  # fmt: skip

    def speed_up(what: str, times: np.ndarray, note: str) -> Measurement:
        return summarise(f"{_PROTOCOL}: speed-up {what}", (times / ours).tolist(), "x", note=note)

    return [
        per_second(
            "compiled",
            ours,
            f"simulate_batch, {_COURSES} courses a call, one thread; {follow_up}, the patient's "
            "growth kept from the first call",
            45_000.0,
        ),
        per_second(
            "compiled, a new patient each",
            anew,
            f"the same with {detected} days of growth and the untreated course for every episode",
        ),
        per_second("NumPy", theirs, f"plain transcription; {follow_up}"),
        per_second("NumPy, growth included", whole, f"plain transcription; {days:.0f} days"),
        speed_up("on the same days", theirs, turns),
        speed_up(
            "on a whole episode",
            whole,
            f"{turns}; a reset of the source simulates the growth, ours has kept it",
        ),
    ]


def _scalar(settings: Settings) -> list[Measurement]:
    """Therapy decisions of the scalar environment, and whole episodes with everything in them."""
    import gymnasium

    env = gymnasium.make(ENV_ID, disable_env_checker=True)
    action = np.full(1, _ACTION, np.float32)
    env.reset(seed=settings.seed)
    therapy = 0.0

    def episode() -> int:
        nonlocal therapy
        env.reset()
        steps = len(PAPER)
        start = time.perf_counter()
        for _ in range(steps):
            env.step(action)
        therapy += time.perf_counter() - start
        _, _, terminated, _, _ = env.step(action)  # runs to death
        if not terminated:
            raise RuntimeError("the protocol's episode has not ended with its last decision")
        return steps + 1

    whole = rates(episode, settings.seconds)
    found: list[float] = []
    start = time.perf_counter()
    while len(found) < _ROUNDS or time.perf_counter() - start < settings.seconds:
        therapy = 0.0
        episode()
        found.append(len(PAPER) / therapy)
    env.close()
    what = f"{ENV_ID}, {_PROTOCOL}: scalar"
    return [
        summarise(
            f"{what}, therapy", found, "env-steps/s", 50_000.0,
            note=f"the {len(PAPER)} decisions of therapy; median over {len(found)} episodes",
        ),
        summarise(
            f"{what}, whole episodes", whole, "env-steps/s",
            note="with reset, and the decision that runs to death",
        ),
    ]  # fmt: skip


def _vector(settings: Settings) -> list[Measurement]:
    """Agent steps of the vector environment over whole episodes of the protocol."""
    import gymnasium

    env = gymnasium.make_vec(ENV_ID, num_envs=_LANES)
    actions = np.full((_LANES, 1), _ACTION, np.float32)
    env.reset(seed=settings.seed)
    decisions = len(PAPER) + 1

    def episodes() -> int:
        for _ in range(decisions):
            _, _, terminated, _, _ = env.step(actions)
        if not terminated.all():
            raise RuntimeError("the protocol's episodes have not ended with their last decision")
        return decisions * _LANES

    found = rates(episodes, settings.seconds)
    env.close()
    return [
        summarise(
            f"{ENV_ID}, {_PROTOCOL}: {_LANES} lanes", found, "agent steps/s", 500_000.0,
            note=f"whole episodes of {decisions} decisions, the last of which runs to death, and "
            "resets; all threads (NUMBA_NUM_THREADS)",
        )
    ]  # fmt: skip


register("glioblastoma", jobs)
