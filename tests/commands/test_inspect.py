"""`inspect`: what becomes of a picture, at the checkpoint's own size or at another."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from edgevit_deploy import api
from edgevit_deploy.cli import run
from edgevit_deploy.commands.inspect import in_words
from edgevit_deploy.errors import UsageError
from edgevit_deploy.spec import Preprocess, imagenet_preprocess
from tests.helpers.checkpoints import assumed_at, saved, seeded_state
from tests.helpers.trained import WEIGHTS


def facts_of(capfd: pytest.CaptureFixture[str], *tokens: object) -> dict[str, object]:
    capfd.readouterr()
    assert run(["inspect", *map(str, tokens), "--json"]) == 0
    facts = json.loads(capfd.readouterr().out)
    assert isinstance(facts, dict)
    return facts


def test_a_size_can_be_asked_for(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = saved(seeded_state(), tmp_path / "weights.pth")
    facts = facts_of(capfd, path, "--image-size", "64x96")
    assert facts["image_size"] == [64, 96]
    assert facts["preprocess"]["resize"] == [73, 109]  # type: ignore[index] # 64 * 8 / 7 and 96 * 8 / 7
    assert "64 x 96" in str(facts["pictures"])
    alike, assumed = facts_of(capfd, path, "--image-size", 64)["notes"]  # type: ignore[misc] # a list
    assert alike.startswith("read as edgevit_xxs; edgevit_xxs_center,")
    assert assumed == assumed_at(64)
    assert facts_of(capfd, path)["image_size"] == [224, 224]


def test_a_size_other_than_the_files_own_is_said(capfd: pytest.CaptureFixture[str]) -> None:
    own = facts_of(capfd, WEIGHTS)
    assert own["image_size"] == [64, 64]
    assert "otherwise" not in str(own["notes"])
    other = facts_of(capfd, WEIGHTS, "--image-size", 224)
    assert other["preprocess"]["resize"] == [256, 256]  # type: ignore[index]
    assert "--image-size 224x224, not 64x64 (`edgevit_deploy`)" in str(other["notes"])


def test_a_checkpoints_cost_is_shown_by_formula_and_counted(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = saved(seeded_state(), tmp_path / "weights.pth")
    capfd.readouterr()
    assert run(["inspect", str(path), "--json"]) == 0
    out, err = capfd.readouterr()
    cost = json.loads(out)["cost"]
    assert cost["macs"] == cost["counted_macs"] == pytest.approx(0.551e9, rel=0.002)
    assert [stage["macs"] for stage in cost["stages"]] == [stage["counted_macs"] for stage in cost["stages"]]
    first = cost["stages"][0]["mixing_macs"]
    assert first["LGL"] < first["SRA"] < first["MHSA"]
    assert "million MACs" in err
    assert f"{cost['macs'] / 1e6:.1f}" in err
    wide = facts_of(capfd, path, "--image-size", "64x96")["cost"]
    assert wide["image_size"] == [64, 96]  # type: ignore[index]


@pytest.mark.parametrize(("name", "macs"), [("edgevit_xxs_lsa", 0.560e9), ("edgevit_xxs_without_la", 0.540e9)])
def test_an_ablations_own_cost_is_its_own(name: str, macs: float, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    facts = facts_of(capfd, saved(seeded_state(name), tmp_path / "weights.pth"))
    assert facts["variant"] == name
    cost = facts["cost"]
    assert cost["macs"] == cost["counted_macs"] == pytest.approx(macs, rel=0.002)  # type: ignore[index]
    own = {"edgevit_xxs_lsa": "LSA", "edgevit_xxs_without_la": "SRA"}[name]
    for stage in cost["stages"]:  # type: ignore[index]
        assert stage["own_mixing_macs"] == stage["mixing_macs"][own]
        assert (stage["own_mixing_macs"] != stage["mixing_macs"]["LGL"]) == (stage["stage"] != 4)


def test_a_bundle_has_its_size(fake_bundle: Path, expect_error: Callable[..., str], capfd: pytest.CaptureFixture[str]) -> None:
    message = expect_error(2, "inspect", fake_bundle, "--image-size", 64)
    assert "a bundle has the image size that it was made for; drop --image-size" in message
    assert "resized to 73 x 73 (bicubic), so that they just cover it" in str(facts_of(capfd, fake_bundle)["pictures"])


@pytest.mark.parametrize("size", ["63", "dynamic", "0", "a", "64x64x64"])
def test_a_size_that_cannot_be_is_one_line(size: str, expect_error: Callable[..., str]) -> None:
    message = expect_error(2, "inspect", WEIGHTS, "--image-size", size)
    assert "image" in message
    assert "or dynamic" not in message, "a checkpoint is loaded at one size"


@pytest.mark.parametrize("size", ["dynamic", "big", "224,224"])
def test_a_network_is_loaded_at_one_size(size: str) -> None:
    with pytest.raises(UsageError, match=rf"^--image-size {size}: expected a side \(224\) or HEIGHTxWIDTH \(192x320\)$"):
        api.load_model("edgevit_xxs", image_size=size)


def test_preprocessing_in_words() -> None:
    stretched = in_words(
        Preprocess(resize=(64, 96), crop=(64, 96), fit="stretch", interpolation="bilinear", mean=(0.5, 0.4, 0.3))
    )
    assert "resized to 64 x 96 (bilinear), whatever their shape; nothing cut off" in stretched
    assert "less (0.5, 0.4, 0.3), divided by (0.229, 0.224, 0.225)" in stretched
    assert "the middle, 64 x 64, is used" in in_words(imagenet_preprocess((64, 64)))
    for fit, place in (("letterbox", "in the middle"), ("pad", "at the top left")):
        padded = in_words(Preprocess(resize=(64, 96), crop=(64, 96), fit=fit))
        assert f"so that they just fit into it, {place} of the colour (124, 116, 104); nothing cut off, 64 x 96" in padded
