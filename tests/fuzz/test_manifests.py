"""Manifests of strangers, and what lies around them: each ends in a verdict or in one line, and no untrue one is passed."""

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import strategies as st

from edgevit_deploy.bundle import claims, manifest
from edgevit_deploy.bundle import folder as bundle_folder
from edgevit_deploy.commands import console
from edgevit_deploy.outside.text import json_bytes
from edgevit_deploy.verification import bundle as verification
from tests.helpers.fuzzed_bundles import INPUT, UNKNOWN, Edit, apply_form, edited, edits_of, form_of, golden_change, record_again
from tests.helpers.fuzzing import Asker, expect, link_tree, must_find, replace_file, seek, varied

pytestmark = pytest.mark.slow

FIELDS_EXAMPLES, FORMS_EXAMPLES, GOLDEN_EXAMPLES = 400, 150, 40

PROVEN = ("schema_version", "target", "precision", "path", "files", "inputs", "outputs")
"""Fields that are held against the files: with another value in one of them, nothing passes. So are the paths and shapes of the
golden data, and of the labels the path and the count."""


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """Copies of a good bundle, one after the other in the same place."""

    asker: Asker
    pristine: Path

    @property
    def document(self) -> Any:
        return json.loads((self.pristine / "manifest.json").read_text())

    @property
    def edits(self) -> st.SearchStrategy[list[Edit]]:
        document = self.document
        return varied(lambda random: edits_of(random, document))

    def bundle(self) -> Path:
        place = self.asker.root / "here" / "now" / "bundle"
        shutil.rmtree(place, ignore_errors=True)
        return link_tree(self.pristine, place)

    def verify(self, bundle: Path) -> bool:
        """Say whether a bundle is passed."""
        answer = self.asker.ask(["verify", bundle.name, "--json"])
        if answer.document is not None:
            self.asker.ask(["inspect", bundle.name, "--json"])
        passed = answer.document is not None and answer.document[0]["status"] == "passed"
        expect(passed == (answer.code == 0), f"exit code {answer.code} for {answer.document}")
        return passed

    def check_edits(self, edits: list[Edit]) -> None:
        bundle, text = self.bundle(), edited(self.document, edits)
        replace_file(bundle / "manifest.json", text.encode())
        if self.verify(bundle):
            now = json.loads(text)
            expect(proven(now) == proven(self.document), "passed, though a field that is proven says something else")

    def check_form(self, form: tuple[str, str, bool]) -> None:
        bundle = self.bundle()
        may_pass = apply_form(form, bundle)
        expect(not self.verify(bundle) or may_pass, "passed with other files")

    def check_golden(self, change: Callable[[Path, Any], None]) -> None:
        """A stranger changes golden data, the manifest's hashes with them, and grants himself any bound."""
        bundle, document = self.bundle(), self.document
        change(bundle, document)
        record_again(bundle, document)
        replace_file(bundle / "manifest.json", json.dumps(document).encode())
        expect(not self.verify(bundle), "passed with golden data that the model does not reproduce")


@pytest.fixture
def world(asker: Asker, small_bundle: Path) -> World:
    link_tree(small_bundle, asker.root / "here" / "now" / "twin")
    return World(asker=asker, pristine=small_bundle)


@pytest.fixture
def world_of_bytes(asker: Asker, small_bundle_of_bytes: Path) -> World:
    link_tree(small_bundle_of_bytes, asker.root / "here" / "now" / "twin")
    return World(asker=asker, pristine=small_bundle_of_bytes)


def proven(document: Any) -> Any:
    document = json.loads(json.dumps(document), object_hook=lambda fields: {k: v for k, v in fields.items() if k != UNKNOWN})
    golden, labels = document["golden"], document["labels"]
    arrays = [(array["path"], array["shape"]) for array in (golden["input"], *golden["outputs"])]
    return [*(document[field] for field in PROVEN), arrays, labels["path"], labels["count"]]


def test_any_field_may_hold_anything(world: World) -> None:
    seek(world.edits, world.check_edits, FIELDS_EXAMPLES)


def test_any_file_may_be_anything(world: World) -> None:
    seek(varied(form_of), world.check_form, FORMS_EXAMPLES)


def test_golden_data_that_the_model_does_not_reproduce_never_pass(world: World) -> None:
    seek(varied(golden_change), world.check_golden, GOLDEN_EXAMPLES)


def test_a_bundle_of_bytes_is_held_to_the_same(world_of_bytes: World) -> None:
    """An example in ten of the others': what is of its own is the file of golden inputs, and its type."""
    world = world_of_bytes
    own = {("inputs", 0, "dtype"), ("conversion", "takes"), ("golden", "input", "path"), ("golden", "input", "shape")}
    seek(world.edits.filter(lambda edits: any(edit.place[:4] in own for edit in edits)), world.check_edits, FIELDS_EXAMPLES // 10)
    seek(varied(form_of).filter(lambda form: form[0] == INPUT), world.check_form, FORMS_EXAMPLES // 10)
    seek(varied(golden_change), world.check_golden, GOLDEN_EXAMPLES // 2)


def test_bytes_that_a_stranger_changed_are_found(world_of_bytes: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgevit_deploy.verification.golden.golden_bounds", granted)
    must_find(varied(golden_change), world_of_bytes.check_golden, GOLDEN_EXAMPLES, "passed with golden data")


FIELD_CURES = {
    "sizes are bounded": (manifest, "objections", lambda _: iter(()), "raised|passed"),
    "golden data are there once": (claims, "_golden", lambda _: iter(()), "passed, though a field that is proven|raised"),
    "and escaped in JSON": (console, "json_for_a_terminal", json_bytes, "a terminal would obey"),
}
"""Cures by what they do: where each is, what stands there without it, and what is found then."""

FORM_CURES = {
    "hashes are checked": (bundle_folder, "_check_unchanged", lambda bundle, record: None, "passed with other files"),
    "links and more files are refused": (bundle_folder, "open_bundle", manifest.read_manifest, "passed with other files"),
    "what is no JSON is refused": (manifest, "_document", lambda path, data: json.loads(data), "raised|passed"),
    "a manifest is bounded": (
        manifest,
        "read_bounded",
        lambda path, _: b"" if path.is_fifo() else path.read_bytes(),
        "memory|pass",
    ),
}


@pytest.mark.parametrize("cure", FIELD_CURES)
def test_without_the_cure_a_field_is_found(cure: str, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    module, name, instead, found = FIELD_CURES[cure]
    monkeypatch.setattr(module, name, instead)
    must_find(world.edits, world.check_edits, FIELDS_EXAMPLES, found)


def test_words_that_a_terminal_would_obey_are_found(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Most text is shown as Python spells it, and harmless by that; what is said of the parity stands in a line as it is."""
    monkeypatch.setattr(console, "printable", str)
    said = world.edits.filter(lambda edits: any(edit.place[0] == "parity" for edit in edits))
    must_find(said, world.check_edits, FIELDS_EXAMPLES, "a terminal would obey")


def test_a_path_that_leads_out_of_the_bundle_is_found(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of three checks alone would hold it; without all of them, a copy of the file elsewhere is taken for it."""
    monkeypatch.setattr(manifest, "check_inside", lambda inside, where: None)
    monkeypatch.setattr(manifest, "objections", lambda _: iter(()))
    paths = world.edits.filter(lambda edits: all(edit.place[-1] == "path" for edit in edits))
    for module in (bundle_folder, verification):
        monkeypatch.setattr(module, "recorded_path", lambda bundle, _, inside: bundle / inside)
    must_find(
        paths,
        world.check_edits,
        FIELDS_EXAMPLES,
        "passed, though a field that is proven",
    )


@pytest.mark.parametrize("cure", FORM_CURES)
def test_without_the_cure_a_file_is_found(cure: str, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    module, name, instead, found = FORM_CURES[cure]
    for place in (module, verification):
        monkeypatch.setattr(place, name, instead, raising=place is module)
    must_find(varied(form_of), world.check_form, FORMS_EXAMPLES, found)


def granted(recorded: Any, expected: Any, host: Any) -> dict[str, float]:
    """What golden data may differ by, as a manifest says itself."""
    return {name: max(diff.tolerance.atol for diff in recorded.parity.diffs) for name in expected}


def test_a_bound_that_a_stranger_grants_himself_is_found(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgevit_deploy.verification.golden.golden_bounds", granted)
    must_find(varied(golden_change), world.check_golden, GOLDEN_EXAMPLES, "passed with golden data")
