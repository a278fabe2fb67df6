"""`train_model` without an argument chooses what the command without the flag does."""

from collections.abc import Callable
from pathlib import Path

import pytest

from edgevit_deploy import train_model
from edgevit_deploy.errors import UsageError
from edgevit_deploy.train.presets import preset
from edgevit_deploy.train.recipe import changed
from tests.helpers.trained import WEIGHTS
from tests.helpers.training import QUICK, tokens

ErrorCheck = Callable[..., str]

CHOICES: list[tuple[dict[str, object], str]] = [
    ({}, "deit"),
    ({"finetune": WEIGHTS}, "finetune"),
    ({"recipe": "finetune", "finetune": WEIGHTS}, "finetune"),
    ({"recipe": "deit", "finetune": WEIGHTS}, "deit"),
    ({"recipe": "small"}, "small"),
    ({"recipe": "qat", "finetune": WEIGHTS}, "qat"),
]


@pytest.mark.parametrize(("given", "expected"), CHOICES)
def test_the_recipe_that_is_taken(
    given: dict[str, object], expected: str, data: Path, tmp_path: Path, expect_error: ErrorCheck
) -> None:
    """Each preset's batch is larger than the 80 pictures, and the refusal says which one it was."""
    message = f"--batch-size {preset(expected).batch_size}: there are 80 training pictures"
    with pytest.raises(UsageError, match=message):
        train_model(data, output=tmp_path / "run", processes=1, **given)  # type: ignore[arg-type]
    assert message in expect_error(2, "train", "--data", data, *(f"--{name}={value}" for name, value in given.items()))


def test_a_recipe_of_ones_own_is_taken_as_it_is(data: Path, tmp_path: Path) -> None:
    recipe = changed(preset("finetune"), {"batch_size": 200})
    with pytest.raises(UsageError, match="--batch-size 200: there are 80 training pictures"):
        train_model(data, recipe=recipe, output=tmp_path / "run", processes=1)


def test_finetuning_needs_something_to_begin_with(data: Path, tmp_path: Path, expect_error: ErrorCheck) -> None:
    message = "--recipe finetune: it goes on from trained weights; give --finetune FILE, or --recipe deit or small"
    with pytest.raises(UsageError, match=message):
        train_model(data, recipe="finetune", output=tmp_path / "run")
    assert message in expect_error(2, *tokens(data, tmp_path / "run", recipe="finetune"))
    assert not (tmp_path / "run").exists()


def test_the_folder_of_a_run_has_the_name_of_its_variant(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also of a variant that only the checkpoint names."""
    monkeypatch.chdir(tmp_path)
    recipe = changed(QUICK, {"epochs": 0.2})
    run = train_model(data, recipe=recipe, model="edgevit_xs", processes=1)
    assert run.weights == Path("build/train/edgevit_xs/best.safetensors")
    assert run.weights.is_file()
    taken = "--output build/train/edgevit_xs: a training has been there"
    with pytest.raises(UsageError, match=taken):
        train_model(data, recipe=recipe, finetune=run.weights, processes=1)
