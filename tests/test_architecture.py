"""The rules of the house: imports point one way, kernels are pure, generic parts name no model."""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path

import pytest

from oncogym.envs import treatments

ROOT = Path(__file__).resolve().parents[1]
#: From the ground up: a floor imports itself and those below.
FLOORS = ("core", "parallel", "envs", "wrappers", "agents", "training", "evaluation", "cli")
#: Floors that lie in src; the others are folders at the top.
INNER = {name: ROOT / "src" / "oncogym" / name for name in ("core", "parallel", "cli")}
PLACES = {name: INNER.get(name, ROOT / name) for name in FLOORS}
SOURCES = sorted(path for place in PLACES.values() for path in place.rglob("*.py"))


def floor_of(path: Path) -> str:
    return next(name for name, place in PLACES.items() if place in path.parents)


def module_of(path: Path) -> str:
    """Dotted name of a source file."""
    name = floor_of(path)
    parts = path.relative_to(PLACES[name]).with_suffix("").parts
    return ".".join(("oncogym", name, *(part for part in parts if part != "__init__")))


MODULES = {module_of(path): path for path in SOURCES}


def imports(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{path}: relative import"
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def named_modules(path: Path) -> set[str]:
    """Modules of ours whose content a file names; a package only where the name is its own."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            inner = {alias.name: f"{node.module}.{alias.name}" for alias in node.names}
            found |= {full if full in MODULES else node.module for full in inner.values()}
    return found & set(MODULES)


def uses_numba(path: Path) -> bool:
    """Whether a file compiles its functions, by numba, its cached form or what makes loops."""
    ours = ("oncogym.envs.lane_kernels", "oncogym.envs.compiled")
    return any(name.split(".")[0] == "numba" or name.startswith(ours) for name in imports(path))


def test_every_folder_is_in_the_package_mapping():
    tomllib = pytest.importorskip("tomllib")
    config = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    listed = set(config["tool"]["setuptools"]["packages"])
    there = {module_of(path) for path in SOURCES if path.name == "__init__.py"}
    assert listed == there | {"oncogym"}
    assert all((path.parent / "__init__.py").exists() for path in SOURCES)


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_point_one_way(path):
    own = FLOORS.index(floor_of(path))
    for name in imports(path):
        parts = name.split(".")
        if parts[0] == "oncogym" and len(parts) > 1 and parts[1] in FLOORS:
            assert FLOORS.index(parts[1]) <= own, f"{path} imports {name}"


@pytest.mark.slow
def test_no_import_goes_in_a_circle():
    """Imports within functions count, and those for type checking too."""
    arrows = {module: named_modules(path) - {module} for module, path in MODULES.items()}
    done: set[str] = set()

    def visit(module: str, way: tuple[str, ...]) -> None:
        if module in way:
            circle = " -> ".join((*way[way.index(module) :], module))
            raise AssertionError(f"imports in a circle: {circle}")
        if module in done:
            return
        for other in sorted(arrows[module]):
            visit(other, (*way, module))
        done.add(module)

    for module in sorted(arrows):
        visit(module, ())


def test_the_plug_in_points_name_no_plug_in():
    """An optimiser or algorithm is named in its own file, its settings, and as the default."""
    from oncogym.agents.optimizers import optimizers
    from oncogym.training.algorithms import algorithm_names

    exempt = {PLACES["agents"] / "optimizers" / "__init__.py",
              PLACES["training"] / "algorithms" / "__init__.py"}  # fmt: skip
    names = {*optimizers(), *algorithm_names()}
    own = [PLACES["agents"] / "optimizers", PLACES["training"] / "algorithms"]
    models = {t.name for t in treatments().values()}
    for path in SOURCES:
        parts = path.relative_to(ROOT).parts
        if path in exempt or (parts[0] == "envs" and parts[1] in models):
            continue
        if parts[:2] == ("evaluation", "reproduce") or any(place in path.parents for place in own):
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        strings = {n.value for n in ast.walk(tree) if isinstance(n, ast.Constant)}
        assert not names & {s for s in strings if isinstance(s, str)}, path
    text = (PLACES["training"] / "runs.py").read_text(encoding="utf-8").lower()
    known = {*algorithm_names(), "a2c", "ddpg", "dqn", "recurrent_ppo", "td3", "tqc", "trpo"}
    assert not known & set(re.findall(r"[a-z0-9_]+", text))
    assert "stable_baselines3" not in text


def test_generic_code_knows_no_unit():
    """Gray, hours and milligrams belong to the models; the plan space carries unit and grid."""
    models = {t.name for t in treatments().values()}
    for path in SOURCES:
        parts = path.relative_to(ROOT).parts
        if parts[0] == "envs" and (parts[1] in models or len(parts) > 2):
            continue
        if parts[:2] == ("evaluation", "reproduce"):
            continue
        text = path.read_text(encoding="utf-8")
        words = set(re.findall(r"[A-Za-z/]+", text))
        assert not words & {"Gy", "mg", "mg/L", "mm", "cm", "slot_hours"}, path
        # Hours of the computer's work may be spoken of, in comments.
        tree = ast.parse(text)
        spoken = {n.value for n in ast.walk(tree) if isinstance(n, ast.Constant)}
        spoken = {s for s in spoken if isinstance(s, str)}
        spoken |= {n.id for n in ast.walk(tree) if isinstance(n, ast.Name)}
        spoken |= {n.arg for n in ast.walk(tree) if isinstance(n, (ast.arg, ast.keyword)) if n.arg}
        parts_of_names = {word for s in spoken for word in re.split(r"[^A-Za-z]+", s)}
        assert not parts_of_names & {"hour", "hours"}, path


@pytest.mark.parametrize(
    "path", [p for p in SOURCES if uses_numba(p)], ids=lambda p: str(p.relative_to(ROOT))
)
def test_kernels_are_pure(path):
    """A file with numba kernels imports numpy, numba, math and other such files; nothing else.

    Besides them files of records, and for numba's cache the digest of its sources.
    """
    plain = {"records.py", "source_digest.py"}
    for name in imports(path):
        top = name.split(".")[0]
        if top == "oncogym":
            file = MODULES.get(name) or MODULES.get(name.rpartition(".")[0])
            assert file is not None, f"{path} imports {name}, which is no kernel file"
            if file.name == "__init__.py" or file.name in plain:
                continue
            assert uses_numba(file), f"{path} imports {name}, which is no kernel file"
        else:
            assert top in {"numpy", "numba", "math", "__future__"}, f"{path} imports {name}"


@pytest.mark.parametrize(
    "path", [p for p in SOURCES if p.name == "records.py"], ids=lambda p: str(p.relative_to(ROOT))
)
def test_records_are_pure(path):
    """A file of records imports numpy, math and other such files, without the compiler."""
    allowed = {"numpy", "numpy.typing", "math", "__future__", "typing", "collections.abc"}
    found = {name for name in imports(path) if name.rpartition(".")[0] not in allowed} - allowed
    assert all(name.startswith("oncogym.envs.records") for name in found), found


@pytest.mark.slow
def test_only_named_files_use_cuda_and_only_functions_import_them():
    """What needs a GPU is imported when one is asked for: installs without it work as before."""
    named = {p for p in SOURCES if p.stem == "gpu" or p.stem.startswith("cuda_")}
    assert named == {p for p in SOURCES if "numba.cuda" in imports(p)}
    modules = {module_of(path) for path in named}
    for path in set(SOURCES) - named:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in tree.body:
            if isinstance(node, ast.ImportFrom) and node.module:
                found = {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
                assert not found & modules, f"{path} imports {found & modules} at once"


def test_a_wheel_has_every_asset_of_the_report():
    tomllib = pytest.importorskip("tomllib")
    config = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert config["tool"]["setuptools"]["package-data"]["oncogym.evaluation.report"] == ["assets/*"]
    folder = ROOT / "evaluation" / "report" / "assets"
    text = (ROOT / "evaluation" / "report" / "page.py").read_text(encoding="utf-8")
    assert all(f'"{path.name}"' in text for path in folder.iterdir())


def test_planning_stands_without_the_environments():
    """Whatever its files import, at their top or within functions, and what that imports."""
    room = "oncogym.envs.impt_beam_weighting.planning"
    few = {
        f"oncogym.envs.{name}"
        for name in ("compiled", "radiobiology", "threads", "twins", "unowned")
    }
    waiting = {module for module in MODULES if f"{module}.".startswith(f"{room}.")}
    assert len(waiting) > 20
    met: set[str] = set()
    while waiting:
        module = waiting.pop()
        met.add(module)
        # Tasks and environments import it, whatever they are called.
        assert not any(f"{name}.".startswith("gymnasium.") for name in imports(MODULES[module]))
        others = named_modules(MODULES[module])
        if f"{module}.".startswith(f"{room}."):
            out = {name for name in others if not name.startswith((room, "oncogym.core."))}
            assert out <= few, f"{module} imports {out - few}"
        waiting |= others - met


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


@pytest.mark.slow
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


@pytest.mark.slow
def test_importing_the_suite_does_not_import_torch():
    import subprocess

    code = "import sys, oncogym, oncogym.agents, oncogym.wrappers; print('torch' in sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "False"
