"""Forms: what they are called, how they are read from a file, and what is refused."""

import tomllib
from pathlib import Path

import pytest

from edgevit_deploy.deploy.form import (
    CHOICES,
    FORM_NAME,
    MAX_FORM_BYTES,
    ChosenForm,
    Form,
    as_toml,
    form_beside,
    read_form,
)
from edgevit_deploy.errors import UsageError
from export import TARGETS

ROOT = Path(__file__).parent.parent.parent


@pytest.mark.parametrize("target", TARGETS)
def test_a_target_has_the_form_beside_it_and_says_what_decided(target: str) -> None:
    path = ROOT / "export" / target / FORM_NAME
    form = TARGETS[target].load().form
    assert form == (read_form(path).form if path.is_file() else Form())
    if path.is_file():
        assert form != Form(), "what is no different needs no file"
        assert read_form(path).measured
        assert path.read_text() == as_toml(target, read_form(path)), "a file that `tune` writes can be copied over it"


def test_most_targets_have_a_form_of_their_own() -> None:
    """So that the test above does compare."""
    assert len(list((ROOT / "export").glob(f"*/{FORM_NAME}"))) >= 6


def test_a_target_without_a_file_has_the_default_form(tmp_path: Path) -> None:
    assert form_beside(str(tmp_path / "__init__.py")) == Form()
    (tmp_path / FORM_NAME).write_text('norm = "mean"\n')
    assert form_beside(str(tmp_path / "__init__.py")) == Form(norm="mean")


def test_a_form_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    chosen = ChosenForm(form=Form(sampler="slice", norm="mean"), measured='faster than \\ "anything"\n# and more')
    path = tmp_path / "any.toml"
    path.write_text(as_toml("onnx", chosen))
    assert read_form(path) == chosen
    assert list(tomllib.loads(path.read_text())) == ["sampler", "norm", "measured"]
    assert "export/onnx/form.toml" in path.read_text()


def test_a_rounding_is_read_back_as_it_was_written_and_a_target_keeps_it_elsewhere(tmp_path: Path) -> None:
    rounding = {"activations": "s8", "outputs": False, "floating": ("head", "patch_embed1")}
    chosen = ChosenForm(form=Form(position="kept"), measured="faster", rounding=rounding)
    path = tmp_path / FORM_NAME
    path.write_text(as_toml("onnx", chosen, "int8"))
    assert read_form(path) == chosen
    assert "convert.py onnx --precision int8 --form FILE" in path.read_text()
    with pytest.raises(UsageError, match="what a target rounds is in its Scheme"):
        form_beside(str(tmp_path / "__init__.py"))


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({"smapler": "slice"}, "no part 'smapler' of a form; did you mean 'sampler'"),
        ({"sampler": "slices"}, "sampler has no form 'slices'; did you mean 'slice'"),
        ({"sampler": 3}, "sampler has no form 3"),
    ],
)
def test_what_there_is_not_is_refused(choices: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Form.read(choices)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"norm = mean\n", "is no form .*tune TARGET` writes one"),
        (b"norm = '\xff'\n", "is no form .*tune TARGET` writes one"),
        (b"norm = " + b"[" * 20_000, "is no form .*tune TARGET` writes one"),
        (b"norm = " + b"1" * 20_000, "is no form .*tune TARGET` writes one"),
        (b"#" * (MAX_FORM_BYTES + 1), "cannot be read .larger than 65536 bytes"),
        (b"measured = 3\n", "measured must be a sentence in quotes"),
        (b'[onnx]\nnorm = "mean"\n', "no part 'onnx' of a form; known: attention,"),
        (b"rounding = 3\n", "any.toml: rounding must be a table"),
        (b"[rounding]\noutput = true\n", "any.toml: no 'output' in .rounding.; did you mean 'outputs'"),
        (b"[rounding]\nweights = 's8'\n", "any.toml: no 'weights' in .rounding.; known: activations,"),
        (b"[rounding]\noutputs = 'true'\n", "any.toml: .rounding. outputs must be true or false"),
        (b"[rounding]\nactivations = 's4'\n", "any.toml: .rounding. activations must be .u8. or .s8."),
        (b"[rounding]\nactivations = ['u8']\n", "any.toml: .rounding. activations must be .u8. or .s8."),
        (b"[rounding]\nfloating = 'head'\n", "any.toml: .rounding. floating must be a list of operators"),
        (b"[rounding]\nfloating = [3]\n", "any.toml: .rounding. floating must be a list of operators"),
        (b'norms = "mean"\n', "any.toml: no part 'norms' of a form; did you mean 'norm'"),
        (b'norm = "means"\n', "any.toml: norm has no form 'means'; did you mean 'mean'"),
    ],
)
def test_a_file_that_holds_no_form_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "any.toml"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=message) as refused:
        read_form(path)
    assert "\n" not in str(refused.value)


def test_a_file_of_the_largest_size_is_read(tmp_path: Path) -> None:
    path = tmp_path / "any.toml"
    path.write_bytes(b"#" * MAX_FORM_BYTES)
    assert read_form(path).form == Form()


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "none.toml", tmp_path):
        with pytest.raises(UsageError, match=r"cannot be read .*tune TARGET` writes one"):
            read_form(path)


def test_alternatives_change_one_part() -> None:
    for part, forms in Form().alternatives().items():
        assert len(forms) == len(CHOICES[part]) - 1
        assert all(set(form.differences(Form())) == {part} for form in forms)
