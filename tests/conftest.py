"""Shared fixtures: every registered environment, by id."""

from __future__ import annotations

import pytest

import oncogym  # noqa: F401  (registers the environments)
from oncogym.envs import treatments

SUITE_IDS = [
    variant.id
    for treatment in treatments().values()
    for variant in treatment.variants
    if variant.id.startswith("oncogym/")
]


@pytest.fixture(params=SUITE_IDS)
def env_id(request: pytest.FixtureRequest) -> str:
    return request.param
