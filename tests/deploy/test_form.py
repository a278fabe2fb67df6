"""Forms: what they are called, how they are read from the table, and what is refused."""

import tomllib
from pathlib import Path

import pytest

from edgevit_deploy.deploy.form import CHOICES, TABLE, ChosenForm, Form, as_toml, form_for, read_table
from edgevit_deploy.errors import UsageError
from export import TARGETS


def test_the_table_names_only_targets_and_says_what_decided() -> None:
    table = read_table(TABLE)
    assert set(table) <= set(TARGETS)
    for target, chosen in table.items():
        assert form_for(target) == chosen.form
        assert chosen.measured, target


def test_a_target_that_is_not_in_the_table_has_the_default_form() -> None:
    assert form_for("no such target") == Form()


def test_a_table_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    chosen = ChosenForm(form=Form(sampler="slice", norm="mean"), measured='faster than \\ "anything"')
    path = tmp_path / "forms.toml"
    path.write_text(as_toml("onnx", chosen))
    assert read_table(path) == {"onnx": chosen}
    assert set(tomllib.loads(path.read_text())["onnx"]) == {"sampler", "norm", "measured"}


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


def test_no_table(tmp_path: Path) -> None:
    path = tmp_path / "forms.toml"
    path.write_text("[onnx\n")
    with pytest.raises(UsageError, match="is no table of forms"):
        read_table(path)


def test_alternatives_change_one_part() -> None:
    for part, forms in Form().alternatives().items():
        assert len(forms) == len(CHOICES[part]) - 1
        assert all(set(form.differences(Form())) == {part} for form in forms)
