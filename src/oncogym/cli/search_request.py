"""What ``oncogym optimize`` was asked for: defaults, checks, and the request of an old search."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from oncogym.agents.optimizers import DEFAULT, find_optimizer
from oncogym.agents.optimizers.base import plain_settings
from oncogym.cli.arguments import read_options
from oncogym.core.checks import whole_number
from oncogym.core.files import CorruptFileError, read_json, to_plain
from oncogym.core.json_types import JsonObject
from oncogym.core.pairs import read_pairs
from oncogym.envs.cohort import CohortName
from oncogym.envs.problem import MOST_PATIENTS
from oncogym.envs.registry import find_variant

#: Settings with an option of their own on the command line.
LIMITS = ("max_dose", "min_gap")
# Setting of methods that otherwise score some plans on top of their budget.
_WITHIN = "within_budget"


@dataclass(frozen=True)
class SearchRequest:
    """Everything that decides a search; names are those of the command line.

    Args:
        env: Environment id.
        method: Name of the optimiser.
        budget: Plans or schedules to score; 0 takes the method's own default.
        seed: Seed of the search and of an unlimited cohort.
        cohort: Cohort of the patients; ``None`` takes the one that the id resets to.
        patients: Patients; ``None`` takes 1 nominal or 32 others.
        replicates: Simulations of each patient.
        option: Options of the environment.
        set: Settings of the method.
        from_protocols: Begin with the clinical protocols; by default wherever plans are searched.
        each: Find a plan of its own for each patient; ``cohort`` is then by default that of
            evaluations.
    """

    env: str
    method: str = DEFAULT
    budget: int = 0
    seed: int = 0
    cohort: CohortName | None = None
    patients: int | None = None
    replicates: int = 1
    option: dict[str, Any] = field(default_factory=dict)
    set: dict[str, Any] = field(default_factory=dict)
    from_protocols: bool | None = None
    each: bool = False

    def __post_init__(self) -> None:
        for name, most in (("patients", MOST_PATIENTS), ("replicates", 10**5)):
            if getattr(self, name) is not None:
                whole_number(name, getattr(self, name), 1, most)
        whole_number("seed", self.seed, 0, 2**32 - 1)
        whole_number("budget", self.budget, 0, 10**12)
        if (self.patients or 1) * self.replicates > MOST_PATIENTS:
            raise ValueError(
                f"{self.patients} patients, {self.replicates} times each; allowed: together at "
                f"most {MOST_PATIENTS} simulations of a plan"
            )
        kind = find_optimizer(self.method)
        # The command promises a budget; what comes on top of it elsewhere is within it here.
        if _WITHIN in {one.name for one in dataclasses.fields(kind.Settings)}:
            object.__setattr__(self, "set", {_WITHIN: True, **self.set})
        optimizer = find_optimizer(self.method, self.set)
        # All of them, in JSON's types: a search that goes on is compared with what is asked then.
        object.__setattr__(self, "set", to_plain(plain_settings(optimizer)))
        if not self.budget:
            object.__setattr__(self, "budget", optimizer.default_budget)
        if optimizer.takes != "plan":
            foreign = {"--from-protocols": self.from_protocols, "--each": self.each}
            for name, given in foreign.items():
                if given:
                    raise ValueError(f"{name} has no meaning for --method {self.method}")
        if self.from_protocols is None:
            object.__setattr__(self, "from_protocols", optimizer.takes == "plan")


def read_request(args: argparse.Namespace) -> SearchRequest:
    """The request on the command line, completed from the folder of ``--resume``.

    Raises:
        ValueError: No environment is named, something is out of range, the folder holds no search,
            or the search in it began with other settings.
        CorruptFileError: The folder's ``config.json`` is damaged.
    """
    asked = _asked(args)
    if args.resume is not None:
        return _resumed(args.resume, asked)
    if "env" not in asked:
        raise ValueError("name an environment to optimise for, or a search to --resume")
    return SearchRequest(**asked)


def _asked(args: argparse.Namespace) -> JsonObject:
    """The arguments that were given, by name."""
    values = {f.name: getattr(args, f.name) for f in dataclasses.fields(SearchRequest)}
    values["option"] = read_options(values["option"])
    values["set"] = read_pairs(values["set"])
    for name in LIMITS:
        if getattr(args, name) is not None:
            method = values["method"] or DEFAULT
            own = dataclasses.fields(find_optimizer(method).Settings)
            if args.resume is None and name not in {one.name for one in own}:
                option = "--" + name.replace("_", "-")
                raise ValueError(f"{option} has no meaning for --method {method}")
            if name in values["set"]:
                raise ValueError(f"{name} is given twice, by --set and by an option of its own")
            values["set"][name] = getattr(args, name)
    if values["env"] is not None:
        values["env"] = find_variant(values["env"])[1].id
    # False and empty are what argparse leaves where nothing was said; 0 is a value.
    unsaid = {name: None if name == "from_protocols" else False for name in values}
    return {k: v for k, v in values.items() if v is not None and v is not unsaid[k] and v != {}}


def _resumed(folder: Path, asked: Mapping[str, Any]) -> SearchRequest:
    config = folder / "config.json"
    if not config.is_file():
        raise ValueError(f"{folder} holds no search to resume: there is no config.json")
    document = read_json(config)
    try:
        saved = SearchRequest(**document["settings"])
    except (KeyError, TypeError, ValueError) as error:
        raise CorruptFileError(f"{config}: not the request of a search ({error!r})") from error
    if "set" in asked:
        complete = SearchRequest(**{**to_plain(saved), "set": {**saved.set, **asked["set"]}}).set
        asked = {**asked, "set": {name: complete[name] for name in asked["set"]}}
    changed = _changes(to_plain(saved), asked)
    if changed:
        raise ValueError(f"{folder} cannot go on with other settings: " + "; ".join(changed))
    return saved


def _changes(saved: Mapping[str, Any], asked: Mapping[str, Any]) -> list[str]:
    """What ``asked`` would change; both are plain, and only what was asked for counts."""
    pairs: list[tuple[str, Any, Any]] = []
    for name, value in asked.items():
        if isinstance(value, dict):
            pairs += [(f"{name} {key}", saved[name].get(key), value[key]) for key in value]
        else:
            pairs.append((name, saved[name], value))
    return [f"{name} was {old!r}, now {new!r}" for name, old, new in pairs if old != new]
