"""The command line: what it writes, what it says last, and its exit codes."""

from __future__ import annotations

import re
import runpy
import sys
from html.parser import HTMLParser
from pathlib import Path

import cv2
import pytest

from rgbavatar.check.page_style import MARK
from rgbavatar.check.report import draw_curves
from tests.check.conftest import Good
from tests.check.wrongs import TWELVE, copy_subject
from tests.helpers.browser import open_browser, open_page

VOID = {"meta", "img", "br", "line", "circle", "polyline"}


class Balanced(HTMLParser):
    """Fails on a tag that is closed without having been opened, or stays open."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag


def run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str
) -> tuple[int, list[str], str]:
    """Exit code, lines on standard output, standard error."""
    monkeypatch.setattr(sys, "argv", ["rgbavatar.check", *arguments, "--frames", "12", "--device", "cpu"])
    try:
        runpy.run_module("rgbavatar.check", run_name="__main__")
        code = 0
    except SystemExit as leaving:
        code = int(leaving.code or 0)
    captured = capsys.readouterr()
    return code, captured.out.splitlines(), captured.err


def settings(good: Good, data_dir: Path) -> list[str]:
    return [
        "--config",
        "config/offline.yaml",
        "--set",
        f"template.path={good.model}",
        "--set",
        f"dataset.data_dir={data_dir}",
    ]


def test_a_good_subject_leaves_0_a_sheet_and_a_page(
    good: Good, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "report"
    code, lines, error = run(monkeypatch, capsys, "good", *settings(good, good.folder.parent), "--out", str(out))
    assert (code, error) == (0, "")
    assert lines[-1].startswith("verdict: good: overlap (IoU) 0.9")
    assert sorted(path.name for path in out.iterdir()) == ["contact_sheet.png", "report.html"]
    sheet = cv2.imread(str(out / "contact_sheet.png"))
    assert sheet.shape[1] == 4 * 120
    page = (out / "report.html").read_text()
    parser = Balanced()
    parser.feed(page)
    assert parser.open == []
    assert not re.search(r'(src|href)="(?!data:)', page)
    assert "<polyline" in page
    assert page.count("<circle") == 2 * 12


def test_a_wrong_subject_leaves_1_names_what_is_wrong_and_shows_it_put_right(
    good: Good, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = copy_subject(good.folder, tmp_path / "wrong", TWELVE["opengl-axes"][0])
    out = tmp_path / "report"
    out.mkdir()
    (out / "report.html").write_text(f"<head>{MARK}</head>")  # an earlier report of ours is replaced
    code, lines, error = run(monkeypatch, capsys, str(folder), *settings(good, tmp_path), "--out", str(out))
    assert (code, error) == (1, "")
    assert lines[-1].startswith("verdict: not ready: opengl-axes: ")
    assert (out / "contact_sheet_fixed.png").is_file()
    with open_browser() as browser, open_page(browser) as (page, errors):
        page.goto(f"file://{out / 'report.html'}")
        assert "not ready" in page.inner_text(".verdict")
        assert page.evaluate("[...document.images].every(image => image.naturalWidth > 0)")
        assert page.locator("img").count() == 2
        assert page.locator("li.problem").count() == 1
        assert not errors


def test_missing_partners_are_problems_and_the_rest_is_still_checked(
    good: Good, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def change(folder: Path) -> None:
        (folder / "checkpoint" / "00003.frame").unlink()
        (folder / "images" / "00007.png").unlink()

    copy_subject(good.folder, tmp_path / "wrong", change)
    code, lines, _ = run(monkeypatch, capsys, "wrong", *settings(good, tmp_path), "--out", str(tmp_path / "report"))
    assert code == 1
    assert any(line.startswith("problem: tracking-missing: 1 images have no .frame file: 3;") for line in lines)
    assert any(line.startswith("problem: image-missing: 1 .frame files have no image: 7;") for line in lines)
    assert any(line.startswith("note: overlap") for line in lines)


def test_what_cannot_be_read_leaves_2_with_one_line(
    good: Good, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def change(folder: Path) -> None:
        path = folder / "checkpoint" / "00003.frame"
        path.write_bytes(path.read_bytes()[:200])

    copy_subject(good.folder, tmp_path / "wrong", change)
    out = ("--out", str(tmp_path / "report"))
    for subject, named in (("wrong", "00003.frame"), ("nobody", "nobody: found no such subject")):
        code, lines, error = run(monkeypatch, capsys, subject, *settings(good, tmp_path), *out)
        assert (code, lines) == (2, [])
        assert error.startswith("error: ")
        assert named in error
        assert error.count("\n") == 1
    assert not (tmp_path / "report").exists()


def test_a_page_that_is_not_ours_is_not_replaced(
    good: Good, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "report.html").write_text("<html>mine</html>")
    code, _, error = run(monkeypatch, capsys, "good", *settings(good, good.folder.parent), "--out", str(tmp_path))
    assert code == 2
    assert "report.html: exists already" in error
    assert (tmp_path / "report.html").read_text() == "<html>mine</html>"


def test_a_curve_of_one_frame_can_be_drawn() -> None:
    assert draw_curves([5], {"overlap": [0.5]}).count("<circle") == 1
