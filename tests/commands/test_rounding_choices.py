"""A form's file that says what is rounded: converted by, verified, and refused where it cannot mean anything."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgevit_deploy.bundle.manifest import read_manifest
from edgevit_deploy.cli import run
from edgevit_deploy.errors import UsageError
from edgevit_deploy.host import THIS_HOST
from edgevit_deploy.model.loading import ModelOrigin, load_model
from edgevit_deploy.request import FileRequest, read_options
from edgevit_deploy.spec import Precision
from tests.helpers import fakes
from tests.helpers.bundles import edit_manifest

SMALL = ("fake", "--model", "edgevit_xxs", "--image-size", "32")
INT8 = (*SMALL, "--precision", "int8", "--calibration", "synthetic")


@pytest.fixture
def form(tmp_path: Path) -> Callable[[str], str]:
    def write(rounding: str) -> str:
        path = tmp_path / "form.toml"
        path.write_text(f'sampler = "slice"\nposition = "kept"\n[rounding]\n{rounding}\n')
        return str(path)

    return write


def test_a_bundle_rounds_what_the_form_says_and_proves_it_without_pictures(
    fake_target: None, form: Callable[[str], str], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    chosen = form('activations = "s8"\noutputs = false\nfloating = ["head", "patch_embed1"]')
    assert run([*INT8, "--form", chosen, "--output", str(tmp_path)]) == 0
    bundle = tmp_path / "fake-int8"
    manifest = read_manifest(bundle)
    assert manifest.quantisation is not None
    scheme = manifest.quantisation.scheme
    assert (scheme.activations, scheme.outputs, scheme.floating) == ("s8", False, ("head", "patch_embed1"))
    assert {"head", "patch_embed1.proj"} & set(manifest.quantisation.sqnr_db) == set()
    assert any("but for head and patch_embed1" in note for note in manifest.notes)
    assert run(["verify", str(bundle)]) == 0
    assert run(["verify", str(bundle), "--seed", "0"]) == 0

    def claim(message: str, change: Callable[[dict[str, Any]], Any]) -> None:
        other = shutil.copytree(bundle, tmp_path / "claims")
        edit_manifest(other, change)
        capfd.readouterr()
        assert run(["verify", str(other)]) != 0
        assert message in capfd.readouterr().err
        shutil.rmtree(other)

    claim("not on record as such", lambda m: m["quantisation"]["scheme"].update(floating=[]))
    claim("not on record as such", lambda m: m["quantisation"]["scheme"].update(floating=["head"]))
    claim("not on record as such", lambda m: m["quantisation"]["sqnr_db"].popitem())
    claim("rounds activations by", lambda m: m["quantisation"]["scheme"].update(outputs=True))
    claim("in another way than the bundle says", lambda m: m["quantisation"]["scheme"].update(symmetric=True))
    cannot_be = {"symmetric": True, "activations": "u8"}
    claim("claims/manifest.json: not a valid manifest (symmetric", lambda m: m["quantisation"]["scheme"].update(cannot_be))


@pytest.mark.slow
def test_depthwise_convolutions_left_in_floating_point(fake_target: None, form: Callable[[str], str], tmp_path: Path) -> None:
    assert run([*INT8, "--form", form("depthwise = false"), "--output", str(tmp_path)]) == 0
    assert run(["verify", str(tmp_path / "fake-int8")]) == 0


@pytest.mark.parametrize(
    ("tokens", "rounding", "message"),
    [
        (SMALL, "outputs = false", "says what is rounded to integers, and fp32 rounds nothing; add --precision int8"),
        (INT8, "symmetric = true", "fake int8: symmetric true cannot be written; symmetric cannot be chosen"),
        ((*SMALL, "--precision", "w8"), "outputs = true", "fake w8: outputs true cannot be written"),
        (("ncnn", *INT8[1:]), "outputs = true", "ncnn has no precision 'int8' (files of our own ranges"),
        (INT8, 'floating = ["hed"]', "[rounding] floating: no operator 'hed' to leave in floating point; did you mean 'head'"),
    ],
)
def test_a_rounding_that_cannot_be_is_refused(
    fake_target: None,
    form: Callable[[str], str],
    expect_error: Callable[..., str],
    tmp_path: Path,
    tokens: tuple[str, ...],
    rounding: str,
    message: str,
) -> None:
    assert message in expect_error(2, *tokens, "--form", form(rounding), "--output", tmp_path / "out")
    assert not list(tmp_path.glob("out/fake*"))


@pytest.mark.parametrize(("precision", "position"), [("int8", "folded"), ("fp32", "kept")])
def test_a_form_without_a_rounding_serves_either_kind_of_precision(
    fake_target: None, tmp_path: Path, precision: Precision, position: str
) -> None:
    """Every form computes the same function: with `position` folded int8 loses more, and that is the user's to choose."""
    path = tmp_path / "form.toml"
    path.write_text(f'position = "{position}"\n')
    model = load_model(ModelOrigin(model="edgevit_xxs", image_size=(32, 32)))
    plan = FileRequest(form=path, precision=precision).plan(fakes.FakeExporter(), model)
    assert plan.form.position == position
    assert plan.scheme == (fakes.FakeExporter.quantised["int8"].scheme if precision == "int8" else None)


@pytest.mark.parametrize(
    ("activations", "rounding", "planned"),
    [
        ("s8", 'activations = "u8"', None),
        ("s8", 'activations = "u8"\noutputs = false', None),
        ("s8", 'activations = "s8"', "s8"),
        ("s8", "outputs = false", "s8"),
        ("u8", 'activations = "s8"', "s8"),  # the option's default, which nobody need have typed
        (None, 'activations = "s8"', "s8"),
    ],
)
def test_a_form_does_not_silently_override_an_option(
    form: Callable[[str], str], activations: str | None, rounding: str, planned: str | None
) -> None:
    exporter, model = THIS_HOST.find_exporter("onnx"), load_model(ModelOrigin(model="edgevit_xxs", image_size=(32, 32)))
    request = FileRequest(form=form(rounding), precision="int8")
    options = read_options(exporter, activations and {"activations": activations})
    if planned is None:
        with pytest.raises(UsageError, match=r"--activations s8: \[rounding\] of --form .*form\.toml says u8; drop"):
            request.plan(exporter, model, options)
        return
    plan = request.plan(exporter, model, options)
    assert plan.scheme is not None
    assert plan.scheme.activations == plan.options.activations == planned
