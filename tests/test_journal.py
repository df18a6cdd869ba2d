"""Journals: what was added is there again, to the bit; what is damaged is done again."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

from oncogym.core import sources
from oncogym.core.files import CorruptFileError
from oncogym.core.journal import OtherWorkError, differences, open_journal, pack, unpack

ABOUT = {"method": "mine", "numbers": (1, 2.5)}
ENTRIES = [["a", 1], {"b": [0.1, None]}, "c", 4]


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "journal.jsonl"
    with open_journal(path, ABOUT) as journal:
        for entry in ENTRIES:
            journal.add(entry)
    return path


def entries(path, about=ABOUT, **more):
    with open_journal(path, about, resume=True) as journal:
        for entry in more.get("add", ()):
            journal.add(entry)
        return journal.entries


def test_entries_are_there_again_and_others_come_behind_them(file):
    assert entries(file) == ENTRIES
    assert entries(file, add=["d"]) == ENTRIES
    assert entries(file) == [*ENTRIES, "d"]
    with open_journal(file, ABOUT) as journal:  # not resumed: a new one
        assert journal.entries == []
    assert entries(file) == []


def test_a_new_journal_may_be_resumed_too(tmp_path):
    assert entries(tmp_path / "new", add=ENTRIES) == []
    assert entries(tmp_path / "new") == ENTRIES


@pytest.mark.parametrize("cut", range(1, 8))
def test_an_entry_that_was_cut_off_is_forgotten(cut, file):
    content = file.read_bytes()
    file.write_bytes(content[:-cut])
    assert entries(file, add=["instead"]) == ENTRIES[:-1]
    assert entries(file) == [*ENTRIES[:-1], "instead"]


def test_a_journal_that_was_cut_off_at_once_begins_anew(file):
    for size in (0, 1, 30):
        file.write_bytes(file.read_bytes()[:size])
        assert entries(file) == []


def test_no_changed_byte_of_an_entry_goes_unnoticed(file):
    content = file.read_bytes()
    first = content.index(b"\n") + 1
    for place in range(first, len(content)):
        changed = bytes([content[place] ^ 1])
        file.write_bytes(content[:place] + changed + content[place + 1 :])
        line = content.count(b"\n", first, place)
        # A line end that is gone joins two lines, or leaves the last one unfinished.
        if place == len(content) - 1:
            assert entries(file) == ENTRIES[:-1]
        else:
            with pytest.warns(RuntimeWarning, match=rf"line {line + 2}: damaged"):
                assert entries(file) == ENTRIES[:line]


@pytest.mark.parametrize("content", [b"x\n", b"00000000 1\n", b"\xff\xfe\n", b"\n", b" \n"])
def test_another_file_is_no_journal(content, file):
    file.write_bytes(content)
    with pytest.raises(CorruptFileError, match=r"journal\.jsonl: not a journal of version 1"):
        entries(file)
    assert file.read_bytes() == content


def test_other_settings_are_refused_by_name(file):
    about = {**ABOUT, "method": "yours", "more": 1}
    message = "cannot go on with other settings: method was 'mine', now 'yours'; more was None"
    with pytest.raises(ValueError, match=message):
        entries(file, about)
    assert entries(file) == ENTRIES


def test_entries_that_other_sources_decided_are_refused(file, monkeypatch):
    with (
        pytest.raises(OtherWorkError, match=r"other settings: sources was '\w+', now '\w+'"),
        open_journal(file, ABOUT, modules=["json.decoder"], resume=True),
    ):
        pass
    monkeypatch.setattr(sources, "_digest", lambda *packages: "others")
    with pytest.raises(OtherWorkError, match="now 'others'"):
        entries(file)


def test_what_has_no_json_form_is_refused_and_leaves_no_half_line(file):
    with open_journal(file, ABOUT, resume=True) as journal:
        for odd in (float("nan"), object()):
            with pytest.raises((TypeError, ValueError)):
                journal.add(odd)
        journal.add("fine")
    assert entries(file) == [*ENTRIES, "fine"]


def test_an_entry_survives_the_death_of_its_process(file):
    program = (
        "import os, sys; from pathlib import Path; from oncogym.core.journal import open_journal\n"
        "with open_journal(Path(sys.argv[1]), {}) as journal:\n"
        "    journal.add('here'); os._exit(9)"
    )
    ended = subprocess.run([sys.executable, "-c", program, os.fspath(file)], check=False)
    assert ended.returncode == 9
    assert entries(file, {}) == ["here"]


@pytest.mark.parametrize("numbers", [[], 0.1, [np.nan, np.inf, -np.inf, -0.0, 5e-324], [[1, 2]]])
def test_packed_numbers_come_back_bit_for_bit(numbers):
    table = np.asarray(numbers, np.float64)
    assert unpack(pack(numbers)).tobytes() == table.tobytes()
    with pytest.raises(ValueError, match=r"hexadecimal|size"):
        unpack("0x")


def test_differences_name_what_is_not_the_same():
    assert differences({"a": 1, "b": 2}, {"b": 3, "c": None, "a": 1}) == ["b was 2, now 3"]
