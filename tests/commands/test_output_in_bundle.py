"""No command writes into a bundle what the bundle does not record: it would then no longer verify."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from edgevit_deploy.bundle.place import files_in
from edgevit_deploy.cli import run
from edgevit_deploy.commands.pages import check_folder
from edgevit_deploy.errors import UsageError

COMMANDS = {
    "app": ["app", "cpp", "{bundle}"],
    "bench": ["bench", "{bundle}"],
    "convert": ["fake", "--model", "edgevit_xxs", "--image-size", "32"],
    "energy": ["energy", "trace.csv", "--bundle", "{bundle}"],
    "energy of another": ["energy", "trace.csv"],
    "evaluate": ["evaluate", "{bundle}", "--data", "pictures"],
    "friendliness": ["friendliness", "--targets", "fake", "--peer", "none"],
    "pareto": ["pareto", "{bundle}"],
    "report": ["report", "{bundle}"],
    "train": ["train", "--data", "pictures"],
    "train segment": ["train", "--task", "segment", "--data", "pictures"],
    "tune": ["tune", "fake"],
}


@pytest.mark.parametrize("command", COMMANDS)
def test_a_folder_in_a_bundle_is_refused_first(
    command: str, fake_bundle: Path, tmp_path: Path, expect_error: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither pictures nor trace are there: the place is asked for before them."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("edgevit_deploy.apps.write.check_suits", lambda *_: None)  # no sample loads the fake target
    before = files_in(fake_bundle)
    places = [fake_bundle / "report.html"] if command == "report" else [fake_bundle, fake_bundle / "golden" / "new"]
    for place in places:
        tokens = [token.format(bundle=fake_bundle) for token in COMMANDS[command]]
        message = expect_error(2, *tokens, "--output", place)
        assert f"lies in the bundle {fake_bundle}, which would then no longer verify; put it beside" in message
    assert files_in(fake_bundle) == before
    assert run(["verify", str(fake_bundle)]) == 0


def test_a_link_into_a_bundle_is_followed(fake_bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(fake_bundle / "golden")
    with pytest.raises(UsageError, match="lies in the bundle"):
        check_folder(tmp_path / "link" / "new")


def test_a_link_that_leads_nowhere_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "circle").symlink_to("circle")
    (tmp_path / "dangling").symlink_to("nothing")
    for name in ("circle", "dangling"):
        with pytest.raises(UsageError, match=f"{name} is a link that leads nowhere; name a folder"):
            check_folder(tmp_path / name)


def test_the_manifest_of_something_else_is_no_bundle(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text(json.dumps({"manifest_version": 3, "name": "a browser extension"}))
    check_folder(tmp_path / "measured")
