"""The report page is self-contained and deterministic, and safe against a hostile manifest."""

import re
import shutil
from pathlib import Path
from typing import Any

import jinja2
import markupsafe
import pytest

from edgevit_deploy.bundle.manifest import read_manifest
from edgevit_deploy.commands.report.page import TEMPLATE, Subject, environment, page_about, render
from tests.helpers.bundles import edit_manifest
from tests.helpers.report_page import HOSTILE, TEMPLATE_CODE, Page, report


def test_nothing_external_and_nothing_that_runs(fake_bundle: Path) -> None:
    text = report(fake_bundle)
    page = Page(text)
    assert not {"script", "link", "img", "iframe", "object", "embed", "base", "form"} & set(page.tags)
    assert all(value.startswith("#") for _, name, value in page.attributes if name in {"href", "src"})
    assert not [name for _, name, _ in page.attributes if name.startswith("on")]
    assert ("meta", "content", "default-src 'none'; style-src 'unsafe-inline'") in page.attributes
    for outside in ("http:", "https:", "url(", "@import"):
        assert outside not in text


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
            spec.update(name=HOSTILE)  # a type is one of two words, or the manifest is refused

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
    assert len(sources) == 6
    for source in sources:
        assert not re.search(r"\|\s*safe\b|autoescape|Markup", source)


def jinja2_source(name: str) -> str:
    loader = environment().loader
    assert loader is not None
    return loader.get_source(environment(), name)[0]


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
