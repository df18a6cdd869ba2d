"""Trained policies that come with the suite, found by environment and name.

They lie beside this module in ``policies/``; ``manifest.json`` there says what each is, how it was
trained, what it scores, and the checksum of its description, which has that of its network.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

from oncogym.agents.learned import PolicyAgent
from oncogym.core.documents import Document
from oncogym.core.errors import nearest
from oncogym.core.files import CorruptFileError, read_bytes
from oncogym.envs.registry import find_variant

#: What a shipped policy's name begins with on a command line.
PREFIX = "pretrained:"
MANIFEST = "manifest.json"
FORMAT = "oncogym-pretrained"
_LONGEST = 1 << 22
_HEX = 64


@dataclass(frozen=True)
class ShippedPolicy:
    """An entry of the manifest.

    Args:
        env: Id of the environment.
        name: Name of the policy for that environment, such as that of its algorithm.
        sha256: Checksum of ``policy.json``.
        score: What it scored: cohort, number of patients, mean return, success and cost.
        rule: The protocol with the best mean return on the same patients among those that see no
            more, and what that scored; so that nobody takes a policy for the best there is.
        command: How it was trained.
    """

    env: str
    name: str
    sha256: str
    score: dict[str, Any]
    rule: dict[str, Any]
    command: str

    @property
    def folder(self) -> str:
        """Its folder within ``policies/``."""
        return f"{self.env.rpartition('/')[2]}/{self.name}"


def policies_folder() -> Any:
    """Where the shipped policies lie."""
    return files("oncogym.agents") / "policies"


def read_manifest() -> list[ShippedPolicy]:
    """The policies that come with the suite.

    Raises:
        CorruptFileError: The manifest is damaged.
    """
    with as_file(policies_folder() / MANIFEST) as path:
        document = Document.read(path, _LONGEST)
    if document.text("format") != FORMAT or not isinstance(document["policies"], list):
        raise CorruptFileError(f"{document.place}: not a list of shipped policies")
    found = []
    for number, values in enumerate(document["policies"]):
        entry = Document(values, f"{document.place}: policy {number}")
        policy = ShippedPolicy(
            env=entry.text("env"),
            name=entry.text("name"),
            sha256=entry.text("sha256"),
            score=entry.mapping("score"),
            rule=entry.mapping("rule"),
            command=entry.text("command"),
        )
        if not all(part.replace("_", "").replace("-", "").isalnum() for part in _parts(policy)):
            raise entry.error("name", "letters, digits, - and _")
        if len(policy.sha256) != _HEX:
            raise entry.error("sha256", f"{_HEX} hexadecimal digits")
        found.append(policy)
    return found


def pretrained(env_id: str, name: str, label: str | None = None) -> PolicyAgent:
    """A trained policy that comes with the suite.

    Args:
        env_id: Id of the environment in which it was trained and shall act.
        name: Name of the policy, such as ``"ppo"``.
        label: Name for tables and figures; by default that of the algorithm.

    Raises:
        UnknownNameError: There is no such environment, or no such policy for it; the message
            suggests the nearest.
        ValueError: No policy comes with the suite for the environment; the message says for which
            one does.
        CorruptFileError: A file is not the one that was shipped.
    """
    env_id = find_variant(env_id)[1].id
    shipped = read_manifest()
    here = {policy.name: policy for policy in shipped if policy.env == env_id}
    if not here:
        others = ", ".join(sorted({policy.env for policy in shipped})) or "none"
        raise ValueError(
            f"no trained policy comes with oncogym for {env_id}; allowed: {others}; train one with "
            f"`oncogym train {env_id}`"
        )
    if name not in here:
        raise nearest(f"pretrained policy of {env_id}", name, here)
    policy = here[name]
    with as_file(policies_folder()) as root:
        folder = Path(root) / policy.folder
        data = read_bytes(folder / "policy.json", _LONGEST)
        if hashlib.sha256(data).hexdigest() != policy.sha256:
            raise CorruptFileError(f"{folder / 'policy.json'}: not the policy that was shipped")
        return PolicyAgent.load(folder, env_id, label=label)


def _parts(policy: ShippedPolicy) -> list[str]:
    return policy.folder.split("/")
