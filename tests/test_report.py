"""The report page, the manifest, and the files that a run leaves behind."""

from __future__ import annotations

import base64
import csv
import json
import math
import os
import re
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from oncogym.core import files
from oncogym.core.files import CorruptFileError, OutputFolderError
from oncogym.core.manifest import git_state, manifest
from oncogym.evaluation.report.page import Report
from oncogym.evaluation.statistics import Interval

MINUS, DASH = "\N{MINUS SIGN}", "\N{EN DASH}"
VOID = {"meta", "img", "br", "hr", "link", "input"}


class Page(HTMLParser):
    """Checks that the tags balance, and keeps what the tests ask about."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[tuple[str, str]] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open[-1:] == [tag], f"</{tag}> does not match"
        self.open.pop()

    def handle_data(self, data):
        if data.strip():
            self.words.append((self.open[-1] if self.open else "", data.strip()))

    def all(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]

    def text(self, *tags):
        return [words for tag, words in self.words if tag in tags]


def table():
    return pd.DataFrame(
        {
            "agent": ["A", "B", "C"],
            "success": [0.5, 0.75, np.nan],
            "gain": [Interval(-0.5, -1.0, 0.25), Interval(2.0, 1.0, 3.0), Interval(0.0, 0.0, 0.0)],
            "patients": [4, 4, 4],
            "safe": [True, False, True],
        }
    )


def figure(points=5):
    from matplotlib.figure import Figure

    picture = Figure(figsize=(4, 3))
    axes = picture.subplots()
    axes.plot(range(points), marker="o", label="y")
    axes.legend()
    return picture


def full():
    report = Report("Title", "One line.")
    report.add_text("Before the table.\n\nAnother paragraph.")
    report.add_heading("Results").add_table(table(), "Lead table", best={"success": "max"})
    report.add_heading("Results").add_figure(figure(), "A line", "a line that rises")
    report.add_heading("More").add_code("oncogym envs\noncogym speed")
    report.add_table([{"x": 1, "y": "one"}, {"x": 2}], "Second table", formats={"x": "03d"})
    return report.add_provenance({"command": "test", "versions": {"numpy": "2", "torch": None}})


def test_page_is_balanced_self_contained_and_labelled():
    text = full().render()
    page = Page(text)
    for _, attributes in page.tags:
        for name in ("src", "href", "srcset", "data", "action"):
            assert re.match(r"data:|#|$", attributes.get(name) or ""), attributes
    addresses = text.replace("http://www.w3.org/2000/svg", "")  # a name, not a place
    assert not re.search(r"@import|url\(|https?://", addresses)
    assert "default-src 'none'" in text
    assert "prefers-color-scheme: dark" in text
    assert page.all("html")[0]["lang"] == "en"
    assert all(image["alt"] for image in page.all("img"))
    assert len(page.all("caption")) == len(page.all("table")) == 3
    assert all(cell.get("scope") in ("col", "row") for cell in page.all("th"))
    names = [a["id"] for _, a in page.tags if "id" in a]
    assert names == ["results", "results-2", "more"]
    assert len(set(names)) == len(names)
    assert {link["href"] for link in page.all("a")} == {f"#{name}" for name in names}


def test_page_opens_with_title_and_summary_and_keeps_the_order():
    text = full().render()
    order = ["<h1>Title", "One line.", "<nav", "Before the table.", "Lead table", "A line"]
    places = [text.index(part) for part in order]
    assert places == sorted(places)
    assert text.index('id="results"') < text.index("Lead table") < text.index('id="results-2"')
    assert Page(Report("Only a title").render()).text("h1") == ["Only a title"]


def test_parts_links_and_folded_tables():
    report = Report("t").add_links({"A b/results.csv": "every <patient>"})
    for title in ("One & two", "One & two"):
        with report.tab(title):
            report.add_table(table(), "Numbers", folded=True)
    text = report.render()
    page = Page(text)
    sections = page.all("section")
    assert [one["id"] for one in sections] == ["one-two", "one-two-2"]
    assert {one["data-title"] for one in sections} == {"One & two"}
    assert text.count('<section class="tab"') == text.count("</section>") == 2
    (link,) = page.all("a")
    assert link["href"] == "A%20b/results.csv"
    assert "every &lt;patient&gt;" in text
    assert page.text("summary") == ["Numbers", "Numbers"]
    assert [set(one) for one in page.all("details")] == [{"class"}, {"class"}]  # closed


def test_intervals_have_quiet_ends_and_three_digits():
    rows = [{"x": Interval(13.1529, 12.0, 14.25)}, {"x": Interval(2.0, 2.0, 2.0)}]
    text = Report("t").add_table(rows, "c").render()
    assert '>13.2 <span class="ends">[12.0, 14.2]</span><' in text
    assert ">2.0<" in text
    (small,) = re.findall(
        r"<td[^>]*>([^<]*)<", Report("t").add_table([{"x": 0.00125}], "c").render()
    )
    assert small == "0.001"


def colours_of(style: str) -> dict[str, str]:
    return dict(re.findall(r"--(\w+): (#[0-9a-f]{3,6});", style))


def luminance(colour: str) -> float:
    digits = colour[1:] if len(colour) == 7 else "".join(2 * c for c in colour[1:])
    parts = [int(digits[i : i + 2], 16) / 255.0 for i in (0, 2, 4)]
    linear = [p / 12.92 if p <= 0.03928 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("dark", [False, True])
def test_colours_stand_out_from_the_page(dark):
    """By WCAG's ratio: lines 3 to 1, words 4.5 to 1."""
    folder = Path(__file__).parents[1] / "evaluation" / "report" / "assets"
    light, night = (folder / "report.css").read_text(encoding="utf-8").split("@media screen", 1)
    own = colours_of(light) | (colours_of(night.partition("}")[0]) if dark else {})
    page = luminance(own["page"])

    def ratio(name: str) -> float:
        low, high = sorted((luminance(own[name]), page))
        return (high + 0.05) / (low + 0.05)

    assert min(ratio(f"c{number}") for number in range(8)) >= 3.0
    assert ratio("stop") >= 3.0
    assert min(ratio(name) for name in ("ink", "soft", "accent")) >= 4.5


def test_text_is_escaped_everywhere():
    evil = '<script>alert("x")</script>&\x00\udc80'
    report = Report(evil, evil).add_heading(evil).add_text(evil).add_code(evil)
    report.add_table([{evil: evil, "n": 1}], evil, formats={evil: str}, best={"n": "max"})
    report.add_figure(figure(), evil, evil).add_provenance({evil: evil})
    text = report.render()
    assert text.count("<script>") == 1  # the page's own
    page = Page(text)
    assert page.all("img")[0]["alt"].startswith('<script>alert("x")</script>&')
    text.encode("utf-8")
    assert "\x00" not in text


def test_same_input_gives_the_same_bytes(tmp_path):
    first = full().render()
    assert first == full().render()
    report = full()
    assert report.render() == first == report.render()
    path = report.write(tmp_path / "report.html")
    assert path.read_text(encoding="utf-8") == first
    assert os.listdir(tmp_path) == ["report.html"]


def test_cells_are_formatted_sortable_and_the_best_marked():
    report = Report("t").add_table(
        table(),
        "c",
        columns=["agent", "success", "gain", "safe", "patients"],
        formats={"success": ".0%", "gain": ".1f"},
        best={"success": "max", "gain": "min"},
    )
    text = report.render()
    page = Page(text)
    assert page.text("button") == ["agent", "success", "gain", "safe", "patients"]
    assert page.text("th") == ["A", "B", "C"]
    assert page.text("strong") == [f"{MINUS}0.5", "75%"]
    assert page.text("span") == [f"[{MINUS}1.0, 0.2]", "[1.0, 3.0]", "[0.0, 0.0]"]
    assert page.text("td") == [
        "50%", "yes", "4", "2.0", "no", "4", DASH, "0.0", "yes", "4",
    ]  # fmt: skip
    assert [c["data-sort"] for c in page.all("td") if "data-sort" in c] == [
        "0.5", "-0.5", "4.0", "0.75", "2.0", "4.0", "", "0.0", "4.0",
    ]  # fmt: skip


def test_cells_that_look_equal_are_equally_best():
    rows = [["a", 0.901], ["b", 0.9], ["c", 0.5], ["d", None]]
    report = Report("t").add_table(
        rows, "c", columns=["agent", "score"], formats={"score": ".2f"}, best={"score": "max"}
    )
    assert Page(report.render()).text("strong") == ["0.90", "0.90"]


def test_text_with_hyphens_is_left_alone():
    rows = [{"id": "oncogym/Toy-v0", "day": "2020-01-02", "x": -1.5, "worst": -math.inf}]
    page = Page(Report("t").add_table(rows, "c").render())
    assert page.text("td", "th") == [
        "oncogym/Toy-v0",
        "2020-01-02",
        f"{MINUS}1.50",
        f"{MINUS}infinite",
    ]


def test_an_index_and_rows_of_sequences():
    frame = table().set_index("agent")[["patients"]]
    page = Page(Report("t").add_table(frame, "c", index=True).render())
    assert page.text("button") == ["agent", "patients"]
    assert page.text("th") == ["A", "B", "C"]
    Page(Report("t").add_table([], "empty", columns=["a"]).render())


def test_misuse_is_refused_with_the_reason():
    report = Report("t")
    with pytest.raises(KeyError, match=r"no column 'sucess'.*'success'"):
        report.add_table(table(), "c", formats={"sucess": ".2f"})
    with pytest.raises(KeyError, match="no column 'z'"):
        report.add_table(table(), "c", columns=["z"])
    with pytest.raises(ValueError, match="must be 'max' or 'min'"):
        report.add_table(table(), "c", best={"success": "high"})
    with pytest.raises(ValueError, match="need `columns`"):
        report.add_table([[1, 2]], "c")
    with pytest.raises(ValueError, match="row 1 has 1 cells for 2"):
        report.add_table([[1, 2], [3]], "c", columns=["a", "b"])
    with pytest.raises(ValueError, match="caption"):
        report.add_table(table(), " ")
    with pytest.raises(ValueError, match="alternative text"):
        report.add_figure(figure(), "c", "")
    with pytest.raises(ValueError, match="neither PNG nor SVG"):
        report.add_figure(b"GIF89a", "c", "alt")
    with pytest.raises(ValueError, match="level"):
        report.add_heading("h", 1)


def test_figures_are_svg_unless_dense_or_asked(monkeypatch):
    def embedded(report):
        image = Page(report.render()).all("img")[-1]
        media, data = image["src"].split(";base64,")
        return media, base64.b64decode(data), image

    media, svg, _ = embedded(Report("t").add_figure(figure(), "c", "alt"))
    assert media == "data:image/svg+xml"
    assert b"<dc:date>" not in svg
    media, png, image = embedded(Report("t").add_figure(figure(), "c", "alt", kind="png"))
    assert media == "data:image/png"
    assert png.startswith(b"\x89PNG")
    assert 250 < int(image["width"]) < 450  # about four inches at 96 dots, drawn at 144
    dense = Report("t").add_figure(figure(20_000), "c", "alt")
    assert embedded(dense)[0] == "data:image/png"
    assert embedded(Report("t").add_figure(png, "c", "alt"))[1] == png
    assert embedded(Report("t").add_figure(svg, "c", "alt"))[1] == svg


def test_provenance_is_flattened():
    page = Page(full().render())
    assert page.text("th")[-3:] == ["command", "versions.numpy", "versions.torch"]
    assert page.text("td")[-3:] == ["test", "2", DASH]


def test_manifest_is_plain_and_says_what_ran():
    record = manifest("benchmark", seeds=[np.int64(3)], settings={"out": Path("a"), "x": np.pi})
    assert json.loads(json.dumps(record, allow_nan=False)) == record
    assert record["seeds"] == [3]
    assert record["settings"] == {"out": "a", "x": np.pi}
    assert record["versions"]["numpy"] == np.__version__
    assert record["started_utc"].endswith("+00:00")
    assert record["cpu_count"] >= 1
    with pytest.raises(TypeError, match=r"builtins\.object"):
        manifest("benchmark", settings={"x": object()})
    assert Page(Report("t").add_provenance(record).render())


def test_git_state_is_that_of_the_file_not_of_the_working_folder(tmp_path, monkeypatch):
    def git(*arguments):
        identity = ["-c", "user.name=n", "-c", "user.email=e@example.org"]
        identity += ["-c", "commit.gpgsign=false"]
        subprocess.run(["git", *identity, *arguments], cwd=tmp_path, check=True)

    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)
    try:
        git("init", "--quiet")
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("git is not installed")
    module = tmp_path / "module.py"
    module.write_text("a = 1\n")
    assert git_state(module) is None  # nothing committed
    git("add", "module.py")
    git("commit", "--quiet", "-m", "m")
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "nowhere"))
    state = git_state(module)
    assert re.fullmatch("[0-9a-f]{40,64}", state["commit"])
    assert state["dirty"] is False
    installed = tmp_path / "installed.py"  # a wheel inside somebody's repository
    installed.write_text("")
    assert git_state(installed) is None
    assert git_state(module)["dirty"] is False
    module.write_text("a = 2\n")
    assert git_state(module)["dirty"] is True


def test_writing_is_atomic_and_leaves_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "a.json"
    files.write_json_atomic(path, {"b": 1, "a": math.nan})
    assert path.read_text() == '{\n  "b": 1,\n  "a": null\n}\n'

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="No space left"):
        files.write_json_atomic(path, {"c": 2})
    assert files.read_json(path) == {"b": 1, "a": None}
    assert os.listdir(tmp_path) == ["a.json"]
    monkeypatch.undo()
    with pytest.raises(TypeError, match="no JSON form"):
        files.write_json_atomic(path, {"c": object()})
    assert files.read_json(path) == {"b": 1, "a": None}


def test_writing_follows_links_and_obeys_the_umask(tmp_path):
    target, link = tmp_path / "target.txt", tmp_path / "link.txt"
    target.write_text("old")
    link.symlink_to(target)
    files.write_text_atomic(link, "new\n")
    assert link.is_symlink()
    assert target.read_text() == "new\n"
    plain = tmp_path / "plain.txt"
    plain.write_text("")
    assert target.stat().st_mode == plain.stat().st_mode
    files.write_text_atomic(os.devnull, "gone")
    assert not Path(os.devnull).is_file()


def test_csv_keeps_every_digit(tmp_path):
    frame = pd.DataFrame({"x": np.random.default_rng(0).normal(size=20), "y": "a,b"})
    path = files.write_csv_atomic(tmp_path / "t.csv", frame)
    with path.open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert [float(row["x"]) for row in rows] == frame["x"].tolist()
    assert {row["y"] for row in rows} == {"a,b"}


def test_plain_values():
    value = {"i": Interval(1.0, np.float64(0.5), math.inf), 2: (np.arange(2), {3, 1}, np.bool_(1))}
    assert files.to_plain(value) == {
        "i": {"estimate": 1.0, "low": 0.5, "high": "inf"},
        "2": [[0, 1], [1, 3], True],
    }


def test_an_output_folder_is_made_and_left_clean(tmp_path):
    folder = files.require_writable_folder(tmp_path / "a" / "b")
    assert folder.is_dir()
    assert os.listdir(folder) == []
    assert files.require_writable_folder(folder) == folder


def test_an_unusable_output_folder_is_named_with_the_reason(tmp_path, monkeypatch):
    blocker = tmp_path / "file"
    blocker.write_text("")
    with pytest.raises(OutputFolderError, match=re.escape(f"folder {blocker}: it is a file")):
        files.require_writable_folder(blocker)
    below = blocker / "x" / "y"
    with pytest.raises(OutputFolderError, match=re.escape(f"{below}: {blocker} is a file")):
        files.require_writable_folder(below)
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    with pytest.raises(OutputFolderError, match="it is a broken link"):
        files.require_writable_folder(tmp_path / "link")

    real_open = os.open

    def read_only(path, flags, *mode, **kwargs):
        if flags & os.O_CREAT:
            raise OSError(30, "Read-only file system", str(path))
        return real_open(path, flags, *mode, **kwargs)

    monkeypatch.setattr(os, "open", read_only)
    with pytest.raises(OutputFolderError, match=r"folder .*: Read-only file system$"):
        files.require_writable_folder(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "line 1: the file is empty"),
        (b'{"a": 1,\n "b": }\n', "line 2, column 7: Expecting value"),
        (b'{"a":\n 1', "line 2, column 3: Expecting ',' delimiter"),
        (b'{"a":\n\n "\xff"}', "line 3: not UTF-8 text"),
        (b"[" * 200_000, "nested too deeply"),
    ],
)
def test_a_corrupt_file_is_named_with_line_and_fault(tmp_path, content, message):
    path = tmp_path / "results.json"
    path.write_bytes(content)
    with pytest.raises(CorruptFileError, match=re.escape(str(path)) + ".*" + re.escape(message)):
        files.read_json(path)
    with pytest.raises(FileNotFoundError):
        files.read_json(tmp_path / "none.json")
