"""Cut the info of a vector environment into one dictionary a lane."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np

# What Gymnasium keeps of a lane that SAME_STEP has already reset; on the top level only.
_FINAL = ("final_obs", "_final_obs", "final_info", "_final_info")


def split_info(info: dict[str, Any], num_envs: int) -> list[dict[str, Any]]:
    """Each lane's part of a vector info, in the layout of a scalar environment's.

    A mask ``_key`` says which lanes have ``key``; where a wrapper gives none, all have it. Arrays,
    lists and tuples with ``num_envs`` entries have one for each lane, other values belong to all.
    The parts share no memory with ``info`` nor with each other.
    """
    return _split({key: value for key, value in info.items() if key not in _FINAL}, num_envs)


def _split(info: dict[str, Any], num_envs: int) -> list[dict[str, Any]]:
    lanes: list[dict[str, Any]] = [{} for _ in range(num_envs)]
    for key, value in info.items():
        if _is_mask(key, value, info, num_envs):
            continue
        mask: Any = info.get(f"_{key}")
        masked = _is_mask(f"_{key}", mask, info, num_envs)
        parts = _split(value, num_envs) if isinstance(value, dict) else _cut(value, num_envs)
        for lane in np.flatnonzero(mask).tolist() if masked else range(num_envs):
            lanes[lane][key] = parts[lane]
    return lanes


def split_step_info(
    info: dict[str, Any], num_envs: int
) -> tuple[list[dict[str, Any]], dict[int, dict[str, Any]]]:
    """Each lane's info of the step that was taken, and by lane that of the reset which followed.

    What a wrapper notes about a finished lane outside ``final_info`` belongs to its last step.
    """
    steps = split_info(info, num_envs)
    resets: dict[int, dict[str, object]] = {}
    if "final_info" in info:
        last = _split(info["final_info"], num_envs)
        for lane in np.flatnonzero(info["_final_info"]).tolist():
            now = steps[lane]
            resets[lane] = {key: value for key, value in now.items() if key in last[lane]}
            steps[lane] = {**now, **last[lane]}
    return steps, resets


def _is_mask(key: str, value: object, info: dict[str, Any], num_envs: int) -> bool:
    return (
        key.startswith("_")
        and key[1:] in info
        and isinstance(value, np.ndarray)
        and value.dtype == np.bool_
        and value.shape == (num_envs,)
    )


def _cut(value: object, num_envs: int) -> list[Any]:
    if isinstance(value, np.ndarray) and value.ndim and len(value) == num_envs:
        if value.ndim > 1:
            return [row.copy() for row in value]
        items = value.tolist()
        return [copy.deepcopy(item) for item in items] if value.dtype == object else items
    if isinstance(value, (list, tuple)) and len(value) == num_envs:
        return [copy.deepcopy(item) for item in value]
    return [copy.deepcopy(value) for _ in range(num_envs)]
