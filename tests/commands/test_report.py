"""The report page: self-contained, deterministic, safe against a hostile manifest, never kinder than the recorded numbers."""

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import jinja2
import markupsafe
import pytest

from edgevit_deploy.bundle.manifest import FileRecord, read_manifest
from edgevit_deploy.cli import run
from edgevit_deploy.commands.report.axis import Axis
from edgevit_deploy.commands.report.page import TEMPLATE, Subject, environment, page_about, render
from tests.helpers.bundles import edit_manifest

ErrorCheck = Callable[..., str]
TEMPLATE_CODE = "{status}{0.__class__}{{ 7 * 7 }}{% for %}{#"
HOSTILE = """</style></pre><script>alert(1)</script><img src=x onerror='alert(2)' alt="q">&""" + TEMPLATE_CODE
VOID = {"meta", "link", "br", "img", "input", "hr"}


class Page(HTMLParser):
    """Elements, attributes and text of a page; refuses one whose tags do not close in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.texts: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self._open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())


def report(*bundles: Path, expected: int = 0) -> str:
    path = bundles[0].parent / "page.html"
    assert run(["report", *map(str, bundles), "--output", str(path)]) == expected
    return path.read_text(encoding="utf-8")


def badges(page: str) -> list[str]:
    return re.findall(r'<span class="badge (\w+)">', page)


def test_the_page_shows_what_the_manifest_says(fake_bundle: Path) -> None:
    manifest = json.loads((fake_bundle / "manifest.json").read_text())
    page = Page(report(fake_bundle))
    expected = [
        "1 bundle: 1 passed",
        "edgevit_xxs",
        "random, from seed 0: it classifies nothing",
        "a fake target",
        "edgevit-deploy verify fake-fp32 --seed 0",
        "bicubic, antialiased, cover 73 x 73",
        "fake runtime",
        manifest["parity"]["diffs"][0]["tolerance"]["reason"],
        *manifest["tools"].values(),
        *(record["sha256"] for record in manifest["files"]),
    ]
    for text in expected:
        assert text in page.text, text


def test_the_size_of_a_model_that_is_a_folder_is_that_of_its_files(fake_bundle: Path) -> None:
    sizes = {"model.kit": 1, "model.kit/net": 20, "model.kit/data/weights": 300, "model.kit2": 4000, "labels.txt": 50000}
    files = tuple(FileRecord(path=path, sha256="", bytes=size) for path, size in sizes.items())
    manifest = replace(read_manifest(fake_bundle), path="model.kit", files=files)
    assert manifest.model_bytes == 321
    assert replace(manifest, path="labels.txt").model_bytes == 50000


def test_default_place_is_beside_the_first_bundle(fake_bundle: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["report", str(fake_bundle), "--json"]) == 0
    path = fake_bundle.parent / "report.html"
    assert path.read_text().startswith("<!DOCTYPE html>")
    assert json.loads(capfd.readouterr().out) == {"report": str(path), "verdicts": {str(fake_bundle): "passed"}}


def test_nothing_external_and_nothing_that_runs(fake_bundle: Path) -> None:
    text = report(fake_bundle)
    page = Page(text)
    assert not {"script", "link", "img", "iframe", "object", "embed", "base", "form"} & set(page.tags)
    assert all(value.startswith("#") for _, name, value in page.attributes if name in {"href", "src"})
    assert not [name for _, name, _ in page.attributes if name.startswith("on")]
    assert ("meta", "content", "default-src 'none'; style-src 'unsafe-inline'") in page.attributes
    for outside in ("http:", "https:", "url(", "@import"):
        assert outside not in text


def test_both_colour_schemes_and_narrow_screens(fake_bundle: Path) -> None:
    text = report(fake_bundle)
    assert "prefers-color-scheme: dark" in text
    assert 'name="viewport" content="width=device-width' in text
    assert "@media (max-width" in text


def test_deterministic_and_without_this_machine(fake_bundle: Path, tmp_path: Path) -> None:
    elsewhere = Path(shutil.copytree(fake_bundle, tmp_path / "another" / "place" / fake_bundle.name))
    first = report(fake_bundle)
    assert first == report(fake_bundle) == report(elsewhere)
    assert str(tmp_path) not in first


def test_everything_in_a_hostile_manifest_is_text(fake_bundle: Path) -> None:
    def poison(value: Any) -> Any:
        if isinstance(value, dict):
            return {poison(key): poison(part) for key, part in value.items()}
        return [poison(part) for part in value] if isinstance(value, list) else HOSTILE

    def change(document: dict) -> None:
        document["target"] = document["graph"] = HOSTILE
        document["notes"] = [HOSTILE]
        document["tools"] = {HOSTILE: HOSTILE}
        document["options"] = {HOSTILE: {HOSTILE: HOSTILE}}
        document["facts"] = {"list": [HOSTILE], HOSTILE: HOSTILE, **poison(document["facts"])}
        document["parity"]["runtime"] = document["parity"]["instead"] = HOSTILE
        for diff in document["parity"]["diffs"]:
            diff["worst_probe"] = diff["tolerance"]["reason"] = HOSTILE
        document["model"].update(variant=HOSTILE, dialect=HOSTILE, weights_sha256=HOSTILE, random_seed=None)
        for spec in (*document["inputs"], *document["outputs"]):
            spec.update(name=HOSTILE, dtype=HOSTILE)

    clean = Page(report(fake_bundle))
    edit_manifest(fake_bundle, change)
    text = report(fake_bundle)
    page = Page(text)
    assert set(page.tags) == set(clean.tags)
    assert not [name for _, name, _ in page.attributes if name.startswith("on")]
    assert "<script" not in text
    assert text.count("<style>") == text.count("</style>") == 1
    assert str(markupsafe.escape(HOSTILE)) in text
    assert page.text.count("<script>alert(1)</script>") >= 20
    assert page.text.count(TEMPLATE_CODE) >= 20


def test_a_hostile_folder_name_is_text(fake_bundle: Path) -> None:
    other = fake_bundle.rename(fake_bundle.parent / "<b>x'; rm -rf ~")
    page = Page(report(other))
    assert "b" not in page.tags
    assert """edgevit-deploy verify '<b>x'"'"'; rm -rf ~' --seed 0""" in page.text


def test_a_hostile_label_is_text_because_jinja_escapes(fake_bundle: Path) -> None:
    """The control: with escaping off, the same check finds the same label's markup."""
    subjects = [Subject(label=HOSTILE, manifest=read_manifest(fake_bundle))]
    assert "<script" not in render(subjects)
    unescaped = environment().overlay(autoescape=False).get_template(TEMPLATE).render(page=page_about(subjects))
    assert "<script" in unescaped


def test_quotes_do_not_end_an_attribute() -> None:
    template = environment().from_string('<i title="{{ text }}">{{ text }}</i>')
    page = Page(template.render(text="""<"&' onclick="x">"""))
    assert page.tags == ["i"]
    assert page.attributes == [("i", "title", """<"&' onclick="x">""")]


def test_a_name_that_the_template_is_not_given_is_an_error() -> None:
    with pytest.raises(jinja2.UndefinedError):
        environment().get_template(TEMPLATE).render()
    with pytest.raises(jinja2.UndefinedError):
        environment().from_string("{{ page.absent }}").render(page=page_about([]))


def test_no_template_switches_escaping_off() -> None:
    sources = [jinja2_source(name) for name in environment().list_templates(extensions=["j2", "css"])]
    assert len(sources) == 5
    for source in sources:
        assert not re.search(r"\|\s*safe\b|autoescape|Markup", source)


def jinja2_source(name: str) -> str:
    loader = environment().loader
    assert loader is not None
    return loader.get_source(environment(), name)[0]


def test_a_failed_bundle_is_exit_1_and_says_so(fake_bundle: Path) -> None:
    def change(document: dict) -> None:
        document["parity"]["status"] = "failed"
        document["parity"]["diffs"][0]["max_abs"] = 1.0

    edit_manifest(fake_bundle, change)
    page = report(fake_bundle, expected=1)
    assert badges(page) == ["bad", "bad"]
    assert "exceeded its bound" in page
    assert 'class="error bad"' in page


@pytest.mark.parametrize("lie", ["error over the bound", "no comparison"])
def test_a_pass_that_the_numbers_do_not_bear_out_is_a_failure(fake_bundle: Path, lie: str) -> None:
    def change(document: dict) -> None:
        if lie == "no comparison":
            document["parity"]["diffs"] = []
        else:
            document["parity"]["diffs"][0]["max_abs"] = 1.0

    edit_manifest(fake_bundle, change)
    page = report(fake_bundle, expected=1)
    assert badges(page) == ["bad", "bad"]
    assert "do not trust this bundle" in page


def test_not_run_is_not_passed_and_borrows_no_figures(fake_bundle: Path) -> None:
    def change(document: dict) -> None:
        document["parity"].update(status="built, not run", runtime="none on this host", instead="source.onnx, which passed")

    edit_manifest(fake_bundle, change)
    page = report(fake_bundle)
    assert badges(page) == ["open", "open"]
    assert page.count('class="number">-</td>') == 4
    text = Page(page).text
    assert "Checked instead: source.onnx, which passed." in text
    assert "These comparisons are of what was checked instead, not of model.fake." in text


def test_outputs_that_are_not_finite(fake_bundle: Path) -> None:
    def change(document: dict) -> None:
        document["parity"]["status"] = "failed"
        document["parity"]["diffs"][0].update(max_abs=1.7976931348623157e308, sqnr_db=None, cosine=-1.0)

    edit_manifest(fake_bundle, change)
    page = report(fake_bundle, expected=1)
    assert "not finite" in page
    assert '<rect class="error bad" x="0" y="3" width="100.0" height="4"/>' in page
    assert "1e308" not in page


@pytest.mark.parametrize("value", [0.0, -1.0, 5e-324, 1e-300, 1e300])
def test_absurd_numbers_still_make_a_page(fake_bundle: Path, value: float) -> None:
    def change(document: dict) -> None:
        diff = document["parity"]["diffs"][0]
        diff.update(max_abs=value, sqnr_db=value, cosine=value, smallest_margin=value, top1_agreement=value)
        diff["tolerance"].update(atol=value, noise=value, k=value)

    edit_manifest(fake_bundle, change)
    page = Page(report(fake_bundle))
    shares = [float(text) for tag, name, text in page.attributes if tag in {"rect", "line"} and name in {"x", "x1", "width"}]
    assert all(0 <= share <= 100 for share in shares)


def test_the_axis_is_logarithmic_and_bounded() -> None:
    axis = Axis(low=-6, high=-2)
    assert [axis.position(value) for value in (1e-6, 1e-5, 1e-4, 1e-2)] == [0, 25, 50, 100]
    assert [axis.position(value) for value in (0.0, -1.0, 1e-30, 1.0, float("inf"))] == [0, 0, 0, 100, 100]


def test_several_bundles_share_one_axis_and_short_names(fake_bundle: Path, tmp_path: Path) -> None:
    other = Path(shutil.copytree(fake_bundle, tmp_path / "more" / "fake-fp32"))

    def change(document: dict) -> None:
        document["parity"]["diffs"][0]["max_abs"] = 0.5
        document["parity"]["status"] = "failed"

    edit_manifest(other, change)
    page = report(fake_bundle, other, expected=1)
    assert "2 bundles: 1 passed; 1 failed" in page
    assert 'href="#bundle-1">out/fake-fp32<' in page
    assert 'href="#bundle-2">more/fake-fp32<' in page
    axes = re.findall(r'<div class="axis">(.*?)</div>', page, flags=re.DOTALL)
    assert len(axes) == 4, "each bundle has one for its probes and one for the noisiest pictures near them"
    assert len(set(axes)) == 1
    assert "1e0" in axes[0]


def test_a_changed_file_is_refused_and_no_page_is_written(fake_bundle: Path, expect_error: ErrorCheck) -> None:
    (fake_bundle / "labels.txt").write_text("something else\n")
    assert "changed since it was written" in expect_error(1, "report", fake_bundle)
    assert not (fake_bundle.parent / "report.html").exists()


def test_a_page_inside_a_bundle_is_refused(fake_bundle: Path, expect_error: ErrorCheck) -> None:
    inside = fake_bundle / "golden" / "report.html"
    assert "would then no longer verify" in expect_error(2, "report", fake_bundle, "--output", inside)
    assert run(["verify", str(fake_bundle)]) == 0


def test_only_files_named_html_are_overwritten(fake_bundle: Path, tmp_path: Path, expect_error: ErrorCheck) -> None:
    folder, link, weights = tmp_path / "dir.html", tmp_path / "link.html", tmp_path / "weights.pth"
    folder.mkdir()
    weights.write_text("precious")
    link.symlink_to(weights)
    for path in (folder, link):
        assert "exists and is not a file" in expect_error(2, "report", fake_bundle, "--output", path)
    assert "a name that ends in .html" in expect_error(2, "report", fake_bundle, "--output", weights)
    assert weights.read_text() == "precious"
    page = tmp_path / "page.html"
    page.write_text("old")
    assert run(["report", str(fake_bundle), "--output", str(page)]) == 0
    assert page.read_text().startswith("<!DOCTYPE html>")


def test_an_interrupted_write_leaves_the_old_page(
    fake_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, expect_error: ErrorCheck
) -> None:
    page = tmp_path / "page.html"
    page.write_text("old")

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    assert "cannot be written (No space left on device)" in expect_error(2, "report", fake_bundle, "--output", page)
    assert page.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_a_place_that_cannot_be_written(fake_bundle: Path, tmp_path: Path, expect_error: ErrorCheck) -> None:
    (tmp_path / "file").write_text("")
    assert "cannot be written" in expect_error(2, "report", fake_bundle, "--output", tmp_path / "file" / "page.html")
