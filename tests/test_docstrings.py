"""Public functions of three parameters or more say what each of them is."""

from __future__ import annotations

import ast
import importlib
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PLACES = {name: ROOT / name for name in ("envs", "wrappers", "agents", "training", "evaluation")}
PLACES |= {name: ROOT / "src" / "oncogym" / name for name in ("core", "parallel", "cli")}
#: `name: what it is`, and several of one kind before one colon: `a, b: …`.
ENTRY = re.compile(r" {4}(\*{0,2}\w+(?:, \*{0,2}\w+)*):\s")

#: Overloads, and compiled functions: the file of a kernel says once what its arrays are.
WITHOUT = re.compile(r"overload|intrinsic|jit\b|^inlined$|^compiled\b")


def parameters(node: ast.FunctionDef) -> list[str]:
    """Names that a caller may pass; those with an underscore before are not meant for one."""
    given = node.args
    names = [a.arg for a in (*given.posonlyargs, *given.args, *given.kwonlyargs)]
    names += [a.arg for a in (given.vararg, given.kwarg) if a is not None]
    return [n for n in names if n not in ("self", "cls") and not n.startswith("_")]


def documented(text: str, headings: str = "Args") -> set[str]:
    """Names with an entry under `Args:`."""
    section = re.search(rf"^(?:{headings}):\n((?: +\S.*\n|\n)*)", f"{text}\n", re.MULTILINE)
    entries = map(ENTRY.match, section.group(1).splitlines()) if section else ()
    return {name.strip("* ") for e in entries if e for name in e.group(1).split(",")}


def methods(tree: ast.Module) -> Iterator[tuple[ast.ClassDef | None, ast.FunctionDef]]:
    """Public functions and methods of public classes, each with its class."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
            yield None, node
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            for inner in node.body:
                if isinstance(inner, ast.FunctionDef) and (
                    inner.name == "__init__" or not inner.name.startswith("_")
                ):
                    yield node, inner


def overrides(module: str, owner: ast.ClassDef, name: str) -> bool:
    """Whether a base class has the method: its docstring is where the parameters stand."""
    if name == "__init__" or not owner.bases:
        return False
    bases = getattr(importlib.import_module(module), owner.name).__mro__[1:]
    return any(name in vars(base) for base in bases)


def promised() -> dict[str, set[str]]:
    """Methods of the suite's protocols, which document the parameters of all that follow them."""
    found: dict[str, set[str]] = {}
    for _, tree in sources():
        for owner, node in methods(tree):
            if owner and any(ast.unparse(base).startswith("Protocol") for base in owner.bases):
                found.setdefault(node.name, set()).update(documented(ast.get_docstring(node) or ""))
    return found


@cache
def sources() -> list[tuple[str, ast.Module]]:
    """Public modules by their dotted names."""
    found = []
    for name, place in PLACES.items():
        for path in sorted(place.rglob("*.py")):
            if path.name.startswith("_") and path.name != "__init__.py":
                continue
            parts = [p for p in path.relative_to(place).with_suffix("").parts if p != "__init__"]
            module = ".".join(("oncogym", name, *parts))
            found.append((module, ast.parse(path.read_text(encoding="utf-8"))))
    return found


PROMISED = promised()


def missing(module: str, tree: ast.Module) -> Iterator[str]:
    for owner, node in methods(tree):
        names = parameters(node)
        if len(names) < 3 or any(WITHOUT.search(ast.unparse(d)) for d in node.decorator_list):
            continue
        text = ast.get_docstring(node) or ""
        there = documented(text)
        if owner is not None and node.name == "__init__":  # a class documents its constructor
            about = ast.get_docstring(owner) or ""
            there |= documented(about) | documented(about, "Attributes")
        lacking = [name for name in names if name not in there]
        kept = PROMISED.get(node.name, set()) if owner else set()
        if set(lacking) - kept and not (owner and overrides(module, owner, node.name)):
            where = f"{module}.{owner.name}" if owner else module
            yield f"{where}.{node.name}: {', '.join(lacking)}"


def test_three_parameters_or_more_are_documented():
    found = [line for module, tree in sources() for line in missing(module, tree)]
    assert not found, "parameters without an entry under Args:\n" + "\n".join(found)


def test_the_rule_sees_what_is_missing():
    source = (
        'def f(a, b, *, c, **d):\n    """Do.\n\n    Args:\n        a, b: Both.\n'
        '        c: One,\n            d: not an entry.\n    """\n'
        "def g(a, b): ...\n"
        'class A:\n    """A.\n\n    Args:\n        a: One.\n    """\n'
        "    def __init__(self, a, b, c): ...\n    def _h(self, a, b, c): ...\n"
    )
    assert list(missing("m", ast.parse(source))) == ["m.f: d", "m.A.__init__: b, c"]
