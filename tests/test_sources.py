"""The digest of sources: other files, another digest."""

from __future__ import annotations

from oncogym.core import sources
from oncogym.core.sources import program


def test_the_digest_goes_by_all_files_of_a_package(tmp_path, monkeypatch):
    package = tmp_path / "some_package"
    (package / "inner").mkdir(parents=True)
    for name in ("__init__.py", "inner/__init__.py", "inner/rules.py"):
        (package / name).write_text("")
    (tmp_path / "one_file.py").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path))
    names = ("some_package", "one_file", "no_such_module")
    digests = [sources._digest.__wrapped__(*names)]
    for changed in (package / "inner" / "rules.py", tmp_path / "one_file.py"):
        changed.write_text("number = 1\n")
        digests.append(sources._digest.__wrapped__(*names))
    assert len(set(digests)) == 3


def test_the_suites_own_modules_are_in_it_already():
    alone = program()
    assert program(["oncogym.envs.chemo.task"]) == alone
    assert program(["json.decoder"]) == program(["json.encoder"]) != alone
    assert {**program(["json.decoder"]), "sources": alone["sources"]} == alone
