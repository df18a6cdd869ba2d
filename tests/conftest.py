"""Shared fixtures and options: every registered environment by id, plan libraries made once."""

from __future__ import annotations

import os
import signal

# Before the suite is imported, here and in every process that tests start.
os.environ["ONCOGYM_CHECK_RESULTS"] = "1"

import plan_libraries as shared
import pytest
from once import session_folder

import oncogym  # noqa: F401  (registers the environments)
from oncogym.envs import treatments
from oncogym.envs.impt_beam_weighting import plan_library as library

SUITE_IDS = [
    variant.id
    for treatment in treatments().values()
    for variant in treatment.variants
    if variant.id.startswith("oncogym/")
]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--quick",
        action="store_true",
        help="no test marked slow, and the first case only of each that has several",
    )
    parser.addoption(
        "--snippets", action="store_true", help="run the commands of README and docs, too"
    )


def pytest_configure(config: pytest.Config) -> None:
    # A shell that starts the tests in the background has Ctrl-C ignored, and programs inherit it.
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    # Files with long tests begin, so that no worker waits for another at the end.
    long = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in long)
    if not config.getoption("snippets"):
        printed = [item for item in items if item.get_closest_marker("snippets")]
        items[:] = [item for item in items if item not in printed]
        config.hook.pytest_deselected(items=printed)
    if not config.getoption("quick"):
        return
    seen: set[str] = set()
    kept, left_out = [], []
    for item in items:
        function = item.nodeid.partition("[")[0]
        again = function in seen or item.get_closest_marker("slow") is not None
        (left_out if again else kept).append(item)
        seen.add(function)
    items[:] = kept
    config.hook.pytest_deselected(items=left_out)


@pytest.fixture(params=SUITE_IDS)
def env_id(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(autouse=True, scope="session")
def plan_libraries(tmp_path_factory: pytest.TempPathFactory):
    """Make the plan library of an anatomy once a session, whichever process asks for it first."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(shared.FOLDER, str(session_folder(tmp_path_factory)))
        patch.setattr(library, "library_of_phantom", shared.kept_library)
        yield
