"""A bound holds on pictures that a network was trained for, none of which was among the probes."""

import os
from pathlib import Path

import pytest

from edgevit_deploy import api
from edgevit_deploy.bundle.manifest import Manifest, read_manifest
from edgevit_deploy.parity.gate import OutputDiff
from edgevit_deploy.parity.noisiest import KEPT
from export import TARGETS
from tests.helpers.on_pictures import SIZE, Judged, judged, trained_model, unpack_validation_set
from tests.helpers.shared import made_once
from tests.helpers.trained import WEIGHTS, write_pictures

PACKAGE = "FASHION_MNIST_DEB"
"""Environment variable that names the Debian package with all 10,000 pictures."""

SIX = ("onnx", "torchscript", "openvino", "ncnn", "litert", "executorch")


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Judged:
    """150 pictures of the validation set."""
    return judged(write_pictures(tmp_path_factory.mktemp("val") / "val", "val", 15), trained_model())


@pytest.fixture(scope="module")
def some(tmp_path_factory: pytest.TempPathFactory) -> Judged:
    """600 pictures of the validation set."""
    return judged(write_pictures(tmp_path_factory.mktemp("val") / "val", "val", 60), trained_model())


@pytest.fixture(scope="module")
def all_of_them(tmp_path_factory: pytest.TempPathFactory) -> Judged:
    package = os.environ.get(PACKAGE)
    if not package:
        pytest.skip(f"{PACKAGE} is not set; `apt-get download dataset-fashion-mnist` gets the file that it is to name")
    assert Path(package).is_file(), f"{PACKAGE} names {package}, which is no file"
    return judged(unpack_validation_set(Path(package), tmp_path_factory.mktemp("val") / "val"), trained_model())


def bundle_of(target: str) -> Path:
    """The trained network in float32 without any pictures."""
    available = TARGETS[target].load().probe()
    if not available.ok:
        pytest.skip(f"{target}: {available.detail}")

    def make(folder: Path) -> None:
        assert api.convert(target, weights=WEIGHTS, image_size=SIZE, precision="fp32", output=folder).report.ok

    return made_once(f"trained-{target}", make) / f"{target}-fp32"


def groups(manifest: Manifest) -> tuple[OutputDiff, OutputDiff]:
    """The comparison on the eight synthetic probes, and the one on the noisiest pictures near them."""
    eight, noisiest = manifest.parity.diffs
    assert (eight.probes, noisiest.probes) == (8, KEPT)
    return eight, noisiest


def test_no_picture_is_over_the_bound(few: Judged) -> None:
    bundle = bundle_of("onnx")
    widest = read_manifest(bundle).bound_on_pictures
    assert widest is not None
    assert few.errors_of(bundle).max() <= widest.atol
    assert few.noise.max() <= widest.noise, "PyTorch's own error, by which the bound is measured, is no larger on them either"


def test_the_eight_probes_alone_cover_only_some(few: Judged) -> None:
    """Negative control, of the yardstick: about every tenth picture exceeds PyTorch's own error on the eight."""
    eight, noisiest = groups(read_manifest(bundle_of("onnx")))
    assert (few.noise > eight.tolerance.noise).mean() > 0.02
    assert noisiest.tolerance.noise > 1.5 * eight.tolerance.noise


@pytest.mark.slow
@pytest.mark.parametrize("target", ["openvino", "ncnn"])
def test_no_picture_of_more_is_over_the_bound(some: Judged, target: str) -> None:
    bundle = bundle_of(target)
    widest = read_manifest(bundle).bound_on_pictures
    assert widest is not None
    assert some.errors_of(bundle).max() <= widest.atol


@pytest.mark.slow
def test_by_the_eight_probes_alone_pictures_are_over_the_bound(some: Judged) -> None:
    """Negative control, of the bound: a good file exceeds what it was."""
    bundle = bundle_of("openvino")
    eight, _ = groups(read_manifest(bundle))
    assert (some.errors_of(bundle) > eight.tolerance.atol).any()


@pytest.mark.nightly
@pytest.mark.parametrize("target", SIX)
def test_none_of_ten_thousand_is_over_the_bound(all_of_them: Judged, target: str) -> None:
    bundle = bundle_of(target)
    errors, (eight, noisiest) = all_of_them.errors_of(bundle), groups(read_manifest(bundle))
    assert len(errors) == 10_000
    assert errors.max() <= noisiest.tolerance.atol
    if target != "torchscript":  # it runs PyTorch's own kernels, whose error is the noise itself
        assert (errors > eight.tolerance.atol).any(), "the negative control"
