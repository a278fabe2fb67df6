"""A bundle says what its bound covers: in its manifest, in its README, and when it is verified."""

import json
from pathlib import Path

import pytest

from edgevit_deploy.bundle.manifest import ProbesRecord, read_manifest
from edgevit_deploy.cli import run
from edgevit_deploy.errors import UsageError
from edgevit_deploy.parity.noisiest import KEPT
from tests.helpers.bundles import edit_manifest
from tests.helpers.fakes import FAKE_COMMAND
from tests.helpers.pictures import gradient, save


def flat(text: str) -> str:
    return " ".join(text.split())


@pytest.mark.parametrize("photographs", [0, 3])
def test_everywhere(fake_target: None, tmp_path: Path, capfd: pytest.CaptureFixture[str], photographs: int) -> None:
    tokens = [*FAKE_COMMAND, "--output", str(tmp_path)]
    if photographs:
        (tmp_path / "photos").mkdir()
        for number in range(photographs):
            save(tmp_path / "photos" / f"{number}.png", gradient(40 + number, 48))
        tokens += ["--images", str(tmp_path / "photos")]
    assert run(tokens) == 0
    bundle = tmp_path / "fake-fp32"
    manifest = read_manifest(bundle)
    assert manifest.probes == ProbesRecord(synthetic=8, photographs=photographs, noisiest=KEPT)
    given, noisiest = manifest.parity.diffs
    assert (given.probes, noisiest.probes) == (8 + photographs, KEPT)
    widest = max(given.tolerance.atol, noisiest.tolerance.atol)
    sentence = manifest.probes.sentence()
    assert f"{photographs or 'no'} pictures of --images" in sentence
    assert f"On other pictures the bound is {widest:.3g}. {sentence}" in (bundle / "README.md").read_text()
    capfd.readouterr()
    assert run(["verify", str(bundle), "--json"]) == 0
    captured = capfd.readouterr()
    assert sentence in flat(captured.err)
    (document,) = json.loads(captured.out)
    assert document["probes"] == {"synthetic": 8, "photographs": photographs, "noisiest": KEPT}
    assert document["golden"]["atol"] >= widest, "golden outputs are judged by the bound that holds on other pictures"


def test_a_bundle_of_an_earlier_version_says_nothing(fake_bundle: Path, capfd: pytest.CaptureFixture[str]) -> None:
    edit_manifest(fake_bundle, lambda document: document.pop("probes"))
    assert run(["verify", str(fake_bundle), "--json"]) == 0
    captured = capfd.readouterr()
    assert "It covers" not in captured.err
    assert json.loads(captured.out)[0]["probes"] is None


def test_a_count_below_zero_is_refused(fake_bundle: Path) -> None:
    edit_manifest(fake_bundle, lambda document: document["probes"].update(photographs=-1))
    with pytest.raises(UsageError, match="a count of probes is below 0"):
        read_manifest(fake_bundle)
