"""The rules of the house: imports point one way, kernels are pure, generic parts name no model."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

from oncogym.envs import treatments

ROOT = Path(__file__).resolve().parents[1]
LAYERS = ("envs", "wrappers", "agents", "training", "evaluation")
SOURCES = sorted(path for layer in LAYERS for path in (ROOT / layer).rglob("*.py"))


def imports(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{path}: relative import"
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def uses_numba(path: Path) -> bool:
    return any(name.split(".")[0] == "numba" for name in imports(path))


def test_every_folder_is_in_the_package_mapping():
    tomllib = pytest.importorskip("tomllib")
    config = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    listed = set(config["tool"]["setuptools"]["packages"])
    there = {
        ".".join(("oncogym", *path.parent.relative_to(ROOT).parts))
        for layer in LAYERS
        for path in (ROOT / layer).rglob("__init__.py")
    }
    assert listed == there | {"oncogym"}
    folders = {path.parent for layer in LAYERS for path in (ROOT / layer).rglob("*.py")}
    assert all((folder / "__init__.py").exists() for folder in folders)


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_point_one_way(path):
    layer = LAYERS.index(path.relative_to(ROOT).parts[0])
    for name in imports(path):
        parts = name.split(".")
        if parts[0] == "oncogym" and len(parts) > 1 and parts[1] in LAYERS:
            assert LAYERS.index(parts[1]) <= layer, f"{path} imports {name}"


@pytest.mark.parametrize(
    "path", [p for p in SOURCES if uses_numba(p)], ids=lambda p: str(p.relative_to(ROOT))
)
def test_kernels_are_pure(path):
    """A file with numba kernels imports numpy, numba, math and other such files; nothing else."""
    for name in imports(path):
        top = name.split(".")[0]
        if top == "oncogym":
            parts = name.split(".")[1:]
            file = ROOT.joinpath(*parts).with_suffix(".py")
            if not file.exists():
                file = ROOT.joinpath(*parts[:-1]).with_suffix(".py")
            assert file.exists(), f"{path} imports {name}, which is no kernel file"
            assert uses_numba(file), f"{path} imports {name}, which is no kernel file"
        else:
            assert top in {"numpy", "numba", "math", "__future__"}, f"{path} imports {name}"


def test_only_named_files_use_cuda_and_only_functions_import_them():
    """What needs a GPU is imported when one is asked for: installs without it work as before."""
    named = {p for p in SOURCES if p.stem == "gpu" or p.stem.startswith("cuda_")}
    assert named == {p for p in SOURCES if "numba.cuda" in imports(p)}
    modules = {"oncogym." + ".".join(p.relative_to(ROOT).with_suffix("").parts) for p in named}
    for path in set(SOURCES) - named:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in tree.body:
            if isinstance(node, ast.ImportFrom) and node.module:
                found = {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
                assert not found & modules, f"{path} imports {found & modules} at once"


def test_a_wheel_has_every_asset_of_the_report():
    tomllib = pytest.importorskip("tomllib")
    config = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert config["tool"]["setuptools"]["package-data"]["oncogym.evaluation"] == ["assets/*"]
    folder = ROOT / "evaluation" / "assets"
    text = (ROOT / "evaluation" / "report.py").read_text(encoding="utf-8")
    assert all(f'"{path.name}"' in text for path in folder.iterdir())


def test_inside_a_model_imports_point_from_env_to_kernels():
    order = ("kernels", "model", "task", "env")
    for treatment in treatments().values():
        folder = ROOT / "envs" / treatment.name
        for name in order:
            path = folder / f"{name}.py"
            if not path.exists():
                continue
            for other in order[order.index(name) + 1 :]:
                assert f"oncogym.envs.{treatment.name}.{other}" not in imports(path)


def test_generic_parts_name_no_model():
    """Only a model's own folder, the registry's list and the reproductions may name a model."""
    names = {t.name for t in treatments().values() if (ROOT / "envs" / t.name).is_dir()}
    names |= {v.id.split("/")[1] for t in treatments().values() for v in t.variants}
    exempt = {ROOT / "envs" / "__init__.py"}
    assert names
    for path in SOURCES:
        parts = path.relative_to(ROOT).parts
        if path in exempt or parts[:2] == ("evaluation", "reproduce"):
            continue
        if parts[0] == "envs" and parts[1] in names:
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        strings = {
            node.value
            for node in ast.walk(tree)
            if isinstance(node, ast.Constant) and isinstance(node.value, str)
        }
        docs = {
            ast.get_docstring(node, clean=False)
            for node in ast.walk(tree)
            if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef))
        }
        words = imports(path) | (strings - docs)
        for name in names:
            assert not any(name in word for word in words), f"{path} names {name}"


def test_importing_the_suite_does_not_import_torch():
    import subprocess

    code = "import sys, oncogym, oncogym.agents, oncogym.wrappers; print('torch' in sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "False"
