"""A Ray cluster, or Ray on this machine; needs the extra ``oncogym[ray]``."""

from __future__ import annotations

import contextlib
import os
import platform
import signal
import socket
import subprocess
import sys
import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from importlib import metadata
from typing import Any

from oncogym.parallel import ray_guard
from oncogym.parallel.base import (
    ATTEMPTS,
    Executor,
    ExecutorError,
    Item,
    Result,
    checked_workers,
    open_sealed,
    seal,
    thread_settings,
    usable_cores,
)
from oncogym.parallel.lifeline import LEAVING

#: Distributions of which workers must have the version of this process: other code, other bits.
SAME_VERSIONS = ("oncogym", "numpy", "numba", "scipy")

# Patience with an address [s].
_TIMEOUT = 10.0


class RayExecutor(Executor):
    """Sends the work to a Ray cluster, one core a piece; a GPU, too, for items that need one.

    Such items say so by an attribute ``gpus``.

    Where to: the connection that this process has already; else the cluster at ``address``; else
    the one that the environment variable ``RAY_ADDRESS`` names; else Ray is started on this machine
    for as long as the executor is open. Ray does the work of a lost worker again on another one.

    Args:
        workers: Pieces that are worked on at a time; by default as many as the cluster takes, and
            on this machine one for each core.
        address: ``HOST:PORT``, ``ray://HOST:PORT`` or ``auto``.

    Raises:
        ExecutorError: Ray is not installed, there is no cluster at the address, or its workers
            cannot import oncogym or have other versions than this process.
        ValueError: ``workers`` is not an integer of at least 1.
    """

    name = "ray"

    def __init__(self, workers: int | None = None, address: str | None = None) -> None:
        self.workers = None if workers is None else checked_workers(workers)
        try:
            import ray
        except ModuleNotFoundError as error:
            raise ExecutorError(
                f'the executor ray needs an extra ({error}): pip install "oncogym[ray]"'
            ) from error
        self._ray: Any = ray
        self._mine = not ray.is_initialized()
        self._guard: subprocess.Popen[bytes] | None = None
        settings = thread_settings(1)
        if self._mine:
            address = address or os.environ.get("RAY_ADDRESS")
            self._connect(address)
            if not address:
                # Workers on this machine find what this process finds, installed or not.
                settings["PYTHONPATH"] = os.pathsep.join(map(os.path.abspath, sys.path))
        elif address is not None:
            raise ExecutorError(
                f"this process is connected to a Ray cluster already; it cannot join {address}"
            )
        self._call: Any = ray.remote(
            num_cpus=1,
            max_retries=ATTEMPTS - 1,
            runtime_env={"env_vars": settings},
        )(open_sealed)
        try:
            self._require_same_versions()
        except BaseException:
            self._give_back()
            raise

    def _connect(self, address: str | None) -> None:
        try:
            with _same_handler(self._ray):
                if address:
                    _require_answer(address)
                    self._ray.init(address=address, log_to_driver=False)
                else:
                    cores = self.workers or usable_cores()
                    with self._guarded() as tell:
                        tell(
                            self._ray.init(
                                num_cpus=cores, include_dashboard=False, log_to_driver=False
                            ).address_info["session_dir"]
                        )
        except (OSError, RuntimeError, ValueError) as error:
            if not address:
                raise ExecutorError(f"Ray does not start here: {error}") from error
            raise ExecutorError(
                f"no Ray cluster at {address}: {error} (a cluster that asks for a token needs "
                "RAY_AUTH_MODE=token)"
            ) from error

    def _require_same_versions(self) -> None:
        try:
            (theirs,) = self._apply(versions, [SAME_VERSIONS])
        except (ImportError, self._ray.exceptions.RayError) as error:
            raise ExecutorError(
                f"Ray's workers cannot run oncogym; install it there too ({error})"
            ) from error
        ours = versions(SAME_VERSIONS)
        other = [
            f"{name} {theirs[name]}, here {ours[name]}"
            for name in ours
            if theirs[name] != ours[name]
        ]
        if other:
            raise ExecutorError("Ray's workers have other versions: " + "; ".join(other))

    def _there_are(self, what: str) -> int:
        """Cores (``CPU``) or GPUs of the cluster."""
        return int(self._ray.cluster_resources().get(what, 0))

    def pieces_of(self, gpus: int) -> int:
        """One piece for each GPU of the cluster where GPUs do the work."""
        return max(1, self._there_are("GPU")) if gpus else self.pieces

    def _apply(self, function: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
        """Apply ``function`` to each item somewhere in the cluster; see :class:`Executor`."""
        call, kind = self._call, "CPU"
        gpus = max((getattr(item, "gpus", 0) for item in items), default=0)
        if gpus:
            call, kind = self._call.options(num_gpus=gpus), "GPU"
            if self._there_are(kind) < gpus:
                # Ray would wait for one for ever.
                raise ExecutorError(
                    "the work asks for a GPU, and Ray finds none; allowed here: the device cpu"
                )
        errors = self._ray.exceptions
        done: dict[int, Result] = {}
        waiting: dict[Any, int] = {}
        following = iter(range(len(items)))
        # Work that is underway when another piece fails is left to end by itself: Ray 2.60 can
        # crash this process when a task ends while it is cancelled. So only a few are handed in.
        limit = self.workers or max(1, 2 * self._there_are(kind))
        try:
            while len(done) < len(items):
                while len(waiting) < limit and (index := next(following, None)) is not None:
                    waiting[call.remote(seal(function, items[index]))] = index
                ready, _ = self._ray.wait(list(waiting))
                for reference in ready:
                    result = self._ray.get(reference)
                    done[waiting.pop(reference)] = result
        except errors.RayTaskError as error:
            raise error.cause from error
        except (errors.WorkerCrashedError, errors.NodeDiedError) as error:
            raise ExecutorError(
                f"Ray workers died {ATTEMPTS} times over the same work: {error}"
            ) from error
        return [done[index] for index in range(len(items))]

    def _give_back(self) -> None:
        """Leave the cluster if the executor joined it, and end Ray if it started it."""
        if self._mine and self._ray.is_initialized() and not LEAVING.is_set():
            self._ray.shutdown()
        if self._guard is not None:
            self._guard.communicate()
            self._guard = None

    @contextlib.contextmanager
    def _guarded(self) -> Iterator[Callable[[str], None]]:
        """Let a Ray that is started within end with this process, however it ends.

        Yields what to call with the folder of its session.
        """
        if not os.path.isdir("/proc/self"):
            yield lambda folder: None
            return
        name = uuid.uuid4().hex
        self._guard = subprocess.Popen(
            [sys.executable, "-I", "-S", ray_guard.__file__, name],
            stdin=subprocess.PIPE,
            start_new_session=True,
        )
        lifeline = self._guard.stdin
        assert lifeline is not None

        def tell(folder: str) -> None:
            lifeline.write(os.fsencode(os.path.realpath(folder)))
            lifeline.flush()

        os.environ[ray_guard.MARK] = name
        try:
            yield tell
        except BaseException:
            self._guard.communicate()
            raise
        finally:
            del os.environ[ray_guard.MARK]


@contextlib.contextmanager
def _same_handler(ray: Any) -> Iterator[None]:
    """Keep the handler of SIGTERM while Ray connects, and afterwards.

    Ray's own one waits for the cluster's consent, and ends the process with a status of its own.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handler = signal.getsignal(signal.SIGTERM)
    utils: Any = getattr(ray._private, "utils", None)
    setter = getattr(utils, "set_sigterm_handler", None)
    if setter is not None:
        utils.set_sigterm_handler = lambda handler: None
    try:
        yield
    finally:
        if setter is not None:
            utils.set_sigterm_handler = setter
        if handler is not None:  # not one of another library in C
            signal.signal(signal.SIGTERM, handler)


def _require_answer(address: str) -> None:
    """Raise ``OSError`` unless somebody listens at ``HOST:PORT``: Ray itself tries for minutes."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if colon and port.isdigit():
        socket.create_connection((host.strip("[]"), int(port)), _TIMEOUT).close()


def versions(names: Sequence[str]) -> dict[str, str]:
    """Versions of Python and of distributions, ``"none"`` for what is not installed."""
    found = {"Python": ".".join(platform.python_version_tuple()[:2])}
    for name in names:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "none"
    return found
