"""The API reference as Markdown for mkdocstrings: a page a package, from the sources alone."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

#: The packages whose public names a user calls; each is a folder at the top of the repository.
PACKAGES = ("envs", "wrappers", "agents", "training", "evaluation")


@dataclass(frozen=True)
class Module:
    """What a source file offers.

    Args:
        name: Dotted name.
        summary: First line of its docstring.
        defined: Public classes and functions, in order.
        exported: What `__all__` names, in order; empty without one.
        origin: Module from which an imported name comes, by name.
        assigned: Names that it assigns.
        is_package: Whether it is the file of a package.
    """

    name: str
    summary: str
    defined: tuple[str, ...]
    exported: tuple[str, ...]
    origin: Mapping[str, str] = field(default_factory=dict)
    assigned: frozenset[str] = frozenset()
    is_package: bool = False


def read_modules(root: Path) -> dict[str, Module]:
    """All public modules below :data:`PACKAGES` by dotted name; files of kernels are left out."""
    found = {}
    for package in PACKAGES:
        for path in sorted((root / package).rglob("*.py")):
            parts = path.relative_to(root).with_suffix("").parts
            is_package = parts[-1] == "__init__"
            name = ".".join(("oncogym", *(parts[:-1] if is_package else parts)))
            if any(part.startswith("_") for part in name.split(".")) or parts[-1] == "__main__":
                continue
            tree = ast.parse(path.read_text(encoding="utf-8"))
            if not uses_numba(tree):
                found[name] = read_module(name, tree, is_package)
    return found


def uses_numba(tree: ast.Module) -> bool:
    """Whether a file imports numba: kernels take bare arrays and are nobody's interface."""
    for node in ast.walk(tree):
        names = [one.name for one in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module]
        if any(name.split(".")[0] == "numba" for name in names):
            return True
    return False


def read_module(name: str, tree: ast.Module, is_package: bool) -> Module:
    """What the syntax tree of a module tells."""
    defined, assigned, exported, origin = [], set(), (), {}
    for node in tree.body:
        if isinstance(node, (ast.ClassDef, ast.FunctionDef)):
            if not node.name.startswith("_") and node.name not in defined:
                defined.append(node.name)
        elif isinstance(node, (ast.Assign, ast.AnnAssign)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names = {one.id for one in targets if isinstance(one, ast.Name)}
            assigned |= names
            if names == {"__all__"} and node.value is not None:
                exported = tuple(ast.literal_eval(node.value))
        elif isinstance(node, ast.ImportFrom) and node.module:
            origin |= {one.asname or one.name: node.module for one in node.names}
    summary = (ast.get_docstring(tree) or "").partition("\n")[0]
    return Module(
        name, summary, tuple(defined), exported, origin, frozenset(assigned), is_package
    )  # fmt: skip


def place_of(modules: Mapping[str, Module], module: str, name: str) -> tuple[str, str]:
    """Module and name under which a name is defined, followed through re-exports.

    Raises:
        KeyError: It is defined nowhere in the modules.
    """
    own = modules[module]
    if name in own.defined or name in own.assigned:
        return module, name
    if own.origin[name] == module:  # a module that a package exports
        return f"{module}.{name}", ""
    return place_of(modules, own.origin[name], name)


def members(modules: Mapping[str, Module]) -> dict[str, list[str]]:
    """The names that the reference explains, by module: definitions and exported constants."""
    found = {
        name: [one for one in own.defined if not own.exported or own.is_package
               or one in own.exported]
        for name, own in modules.items()
    }  # fmt: skip
    for name, own in modules.items():
        for one in own.exported:
            place, inner = place_of(modules, name, one)
            if inner and inner not in found[place]:
                found[place].append(inner)
    return found


def package_of(modules: Mapping[str, Module], name: str) -> str:
    """The package on whose page a module stands."""
    return name if modules[name].is_package else name.rpartition(".")[0]


def reference_pages(root: Path) -> dict[str, str]:
    """Markdown by path within the site: an index, and one page for each package."""
    modules = read_modules(root)
    explained = members(modules)
    packages = [
        name
        for name, own in modules.items()
        if own.is_package and (own.exported or any(explained[one] for one in inside(modules, name)))
    ]
    pages = {f"reference/{name}.md": package_page(modules, explained, name) for name in packages}
    lines = ["# API reference", "", "Every public name, from the docstrings.", ""]
    lines += ["| package | what it holds |", "|---|---|"]
    lines += [f"| [`{name}`]({name}.md) | {modules[name].summary} |" for name in packages]
    return {"reference/index.md": "\n".join(lines) + "\n", **pages}


def inside(modules: Mapping[str, Module], package: str) -> Iterator[str]:
    """A package and the modules right below it."""
    return (name for name in modules if package_of(modules, name) == package)


def package_page(
    modules: Mapping[str, Module], explained: Mapping[str, list[str]], package: str
) -> str:
    """The names that a package exports, then its modules one after the other."""
    own = modules[package]
    lines = [f"# {package}", "", own.summary, ""]
    if own.exported:
        lines += ["| public name | explained in |", "|---|---|"]
        for name in own.exported:
            place, inner = place_of(modules, package, name)
            target = f"{place}.{inner}" if inner else place
            lines.append(f"| [`{name}`][{target}] | `{place}` |")
        lines.append("")
    for name in inside(modules, package):
        if explained[name] or name in exported_modules(modules, package):
            lines += [f"::: {name}", "    options:", f"      members: {explained[name]!r}", ""]
    return "\n".join(lines)


def exported_modules(modules: Mapping[str, Module], package: str) -> set[str]:
    """Modules that a package exports as such."""
    return {f"{package}.{name}" for name in modules[package].exported} & set(modules)
