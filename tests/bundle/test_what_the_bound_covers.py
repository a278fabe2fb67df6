"""A bundle says what its bound covers: in its manifest, in its README, and when it is verified."""

import json
from pathlib import Path

import numpy as np
import pytest

from edgevit_deploy import api
from edgevit_deploy.bundle.manifest import ProbesRecord, read_manifest
from edgevit_deploy.cli import run
from edgevit_deploy.errors import UsageError
from edgevit_deploy.parity.noisiest import KEPT
from edgevit_deploy.spec import DYNAMIC_BATCHES
from tests.helpers.bundles import edit_manifest, rehash
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
    assert f"on other pictures the bound is {widest:.2g}." in flat(captured.err)
    rounding = 2**-24 * float(np.abs(np.fromfile(bundle / "golden" / "output.f32", dtype="<f4")).max())
    assert document["golden"]["atol"] == pytest.approx(given.tolerance.atol + rounding), "golden inputs are given probes"
    assert f"more than {given.tolerance.atol:.2g} is wrong." in flat((bundle / "README.md").read_text())


@pytest.mark.parametrize(("places", "code"), [([1], 1), ([0, 1], 0)], ids=["of other pictures", "of the given probes"])
def test_golden_data_are_held_to_the_bound_of_the_given_probes(fake_bundle: Path, places: list[int], code: int) -> None:
    """Their own error grows to three bounds: to let that pass, the recorded bound of the given probes must be as wide."""
    path, bound = fake_bundle / "golden" / "output.f32", read_manifest(fake_bundle).parity.diffs[0].tolerance.atol
    values = np.fromfile(path, dtype="<f4")
    values[3] += 3 * bound
    values.tofile(path)
    rehash(fake_bundle)

    def widen(document: dict) -> None:
        for place in places:
            document["parity"]["diffs"][place]["tolerance"].update(atol=5 * bound)

    edit_manifest(fake_bundle, widen)
    assert run(["verify", str(fake_bundle)]) == code


def test_a_free_size_has_a_bound_of_its_own(fake_target: None, tmp_path: Path) -> None:
    """What other pictures or golden data are held to does not depend on the second size at which the file was proven."""
    tokens = ["fake", "--model", "edgevit_xxs", "--image-size", "dynamic", "--batch", "dynamic", "--num-classes", "10"]
    assert run([*tokens, "--output", str(tmp_path)]) == 0
    bundle = tmp_path / "fake-fp32"
    before = read_manifest(bundle)
    own = [diff for diff in before.parity.diffs if diff.image_size == before.model.image_size]
    assert {(diff.batch, diff.probes) for diff in own} == {(batch, count) for batch in DYNAMIC_BATCHES for count in (8, KEPT)}
    bound = max(diff.tolerance.atol for diff in own)
    assert f"On other pictures of 224 x 224 the bound is {bound:.3g}." in (bundle / "README.md").read_text()

    def widen(document: dict) -> None:
        for diff in document["parity"]["diffs"]:
            if tuple(diff["image_size"]) != before.model.image_size:
                diff["tolerance"].update(atol=100 * bound)

    edit_manifest(bundle, widen)
    after = read_manifest(bundle)
    assert after.bound_on_pictures == before.bound_on_pictures
    assert after.bound_on_pictures is not None
    assert after.bound_on_pictures.atol == bound
    golden = api.verify(bundle).golden
    assert golden.status == "passed"
    assert golden.atol == pytest.approx(own[0].tolerance.atol, rel=0.1)


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
