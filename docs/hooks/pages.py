"""Pages that the site makes itself, and links from pages to files of the repository."""

from __future__ import annotations

import importlib.util
import os
import posixpath
import re
import sys
from pathlib import Path
from typing import Any

import jupytext
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[2]
#: Files at the top of the repository that are pages of the site, by path within it.
TOP = {
    "changelog.md": "CHANGELOG.md",
    "contributing.md": "CONTRIBUTING.md",
    "code-of-conduct.md": "CODE_OF_CONDUCT.md",
    "security.md": "SECURITY.md",
}
#: Scripts in cells that are pages of the site, in this folder of it and of the repository.
NOTEBOOKS = "notebooks"
#: Where other files of the repository lie in the site that a page links to.
FILES = "files"
_LINK = re.compile(r"(\]\()([^)#:\s]+)((?:#[^)]*)?\))")


def _load(name: str) -> Any:
    """A module beside this one: hooks are no package."""
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # where its dataclasses look themselves up
    spec.loader.exec_module(module)
    return module


REFERENCE: dict[str, str] = _load("reference").reference_pages(ROOT)


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Put the reference into the navigation."""
    assert config.nav is not None
    index, *pages = REFERENCE
    config.nav.insert(4, {"API": [index, *({Path(one).stem: one} for one in pages)]})
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add what is made, and the files of the repository that pages link to."""
    for path, text in REFERENCE.items():
        files.append(File.generated(config, path, content=text))
    for path, name in TOP.items():
        text = (ROOT / name).read_text(encoding="utf-8")
        files.append(File.generated(config, path, content=text))
    for script in sorted((ROOT / NOTEBOOKS).glob("*.py")):
        path, own = site_path(f"{NOTEBOOKS}/{script.name}"), f"{FILES}/{NOTEBOOKS}/{script.name}"
        files.append(File.generated(config, path, content=notebook_page(script)))
        files.append(File.generated(config, own, content=script.read_bytes()))
    wanted = set()
    for file in files.documentation_pages():
        origin = origin_of(file.src_uri)
        for _, target, _ in _LINK.findall(file.content_string):
            found = repository_path(origin, target)
            if found is not None and site_path(found).startswith(f"{FILES}/"):
                wanted.add(found)
    for found in sorted(wanted):
        files.append(File.generated(config, site_path(found), content=(ROOT / found).read_bytes()))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turn links to files of the repository into links within the site."""
    origin = origin_of(page.file.src_uri)
    here = posixpath.dirname(page.file.src_uri)

    def turned(match: re.Match[str]) -> str:
        found = repository_path(origin, match[2])
        if found is None:
            return match[0]
        return match[1] + posixpath.relpath(site_path(found), here or ".") + match[3]

    return _LINK.sub(turned, markdown)


def notebook_page(script: Path) -> str:
    """A script in cells as Markdown: its words, its code, and where the script is."""
    cells = jupytext.read(script, fmt="py:percent").cells
    parts = [
        cell.source if cell.cell_type == "markdown" else f"```python\n{cell.source}\n```"
        for cell in cells
    ]
    note = (
        f"*The script, [{script.name}](../{FILES}/{NOTEBOOKS}/{script.name}), runs as it is; "
        f"`jupytext --to ipynb {script.name}` makes a notebook of it.*"
    )
    return "\n\n".join((parts[0], note, *parts[1:])) + "\n"


def origin_of(uri: str) -> str:
    """Path in the repository of a page of the site."""
    if uri.startswith(f"{NOTEBOOKS}/"):
        return uri
    return TOP.get(uri, f"docs/{uri}")


def repository_path(origin: str, target: str) -> str | None:
    """Path in the repository of the file that a page links to; nothing for anything else."""
    path = posixpath.normpath(posixpath.join(posixpath.dirname(origin), target))
    inside = not path.startswith("..") and (ROOT / path).is_file()
    return path if inside and not os.path.isabs(target) else None


def site_path(path: str) -> str:
    """Where a file of the repository lies in the site."""
    for page, name in TOP.items():
        if name == path:
            return page
    if path.startswith(f"{NOTEBOOKS}/"):
        return str(posixpath.splitext(path)[0] + ".md")
    return path.removeprefix("docs/") if path.startswith("docs/") else f"{FILES}/{path}"
