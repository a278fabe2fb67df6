"""By which pictures a rounded training takes its ranges, and that they lie beside the weights that they are of, and no others."""

import hashlib
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from edgevit_deploy import load_model
from edgevit_deploy.calibration.choice import CalibrationChoice
from edgevit_deploy.calibration.record import CALIBRATION_NAME, check_fits, equal_ranges, read_calibration
from edgevit_deploy.calibration.source import CalibrationSource
from edgevit_deploy.deploy.rewrite import to_deploy_form
from edgevit_deploy.errors import UsageError
from edgevit_deploy.rounded_training import training_for
from edgevit_deploy.train.pictures import open_pictures
from edgevit_deploy.train.weights import BEST, replace_best
from edgevit_deploy.verification.rounded import SAME
from tests.helpers.rounded_training import ONE_UPDATE, RECIPE, ROUNDING, TWO_UPDATES, trained
from tests.helpers.trained import WEIGHTS
from tests.helpers.training import train_until, while_flushing

DAMAGES: dict[str, Callable[[Path], object]] = {
    "cut": lambda file: file.write_bytes(file.read_bytes()[:-40]),
    "empty": lambda file: file.write_bytes(b""),
    "no picture": lambda file: file.write_text("no picture"),
}


@pytest.fixture
def share(data: Path, tmp_path: Path) -> Path:
    """The 80 pictures, without any that evaluate."""
    return Path(shutil.copytree(data / "train", tmp_path / "pictures"))


def damage_some(folder: Path) -> list[str]:
    """Damage training pictures of one folder, in every way, and return their paths."""
    train = open_pictures(folder, labels=None, val_share=0.2, seed=RECIPE.seed).train
    files = [train.folder.path(int(position)) for position in train.positions[5::20]]
    for file, damage in zip(files, DAMAGES.values(), strict=False):
        damage(file)
    return [str(file) for file in files[: len(DAMAGES)]]


def hashes(paths: list[Path]) -> set[str]:
    return {hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


def test_ranges_are_of_the_training_pictures_that_can_be_read(share: Path, tmp_path: Path) -> None:
    broken = damage_some(share)
    pictures = open_pictures(share, labels=None, val_share=0.2, seed=RECIPE.seed)
    whole, held_out = (
        hashes([path for path in map(part.folder.path, part.positions.tolist()) if str(path) not in broken])
        for part in (pictures.train, pictures.val)
    )
    run = trained(share, tmp_path / "run", recipe=ONE_UPDATE, val_share=0.2)
    calibration = read_calibration(run.folder / CALIBRATION_NAME)
    assert set(calibration.pictures) == whole
    assert not whole & held_out
    assert calibration.count == len(pictures.train) - len(broken) == len(calibration.pictures)
    assert [item.file for item in run.broken] == sorted(broken), "counted and named, though one update saw few of them"


def test_what_is_broken_is_refused_where_it_was_asked_for(share: Path, tmp_path: Path) -> None:
    damage_some(share)
    with pytest.raises(UsageError, match=r"^--data .*pictures --strict: .*\.png cannot be read .*; copy it again, or remove it"):
        trained(share, tmp_path / "run", recipe=ONE_UPDATE, val_share=0.2, strict=True)
    named = training_for("litert", "int8", CalibrationChoice(pictures=share))
    with pytest.raises(UsageError, match=r"^--calibration .*pictures: .*\.png cannot be read .*; copy it again, or remove it"):
        trained(share, tmp_path / "other", named, recipe=ONE_UPDATE, val_share=0.2)


def test_of_too_few_that_can_be_read_no_range_is_taken(share: Path, tmp_path: Path) -> None:
    train = open_pictures(share, labels=None, val_share=0.2, seed=RECIPE.seed).train
    for position in train.positions[7:]:
        DAMAGES["cut"](train.folder.path(int(position)))
    with pytest.raises(UsageError, match=r"--data .*: 7 pictures that can be read, expected 8 or more"):
        trained(share, tmp_path / "run", recipe=ONE_UPDATE, val_share=0.2)


def test_ranges_are_there_as_soon_as_their_weights(data: Path, tmp_path: Path) -> None:
    """Ended in its second evaluation, as by Ctrl-C, beside the ranges of an older run."""
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / CALIBRATION_NAME).write_text("older")
    train_until(lambda measured: measured.epoch == 2, data, folder, TWO_UPDATES, finetune=WEIGHTS, rounding=ROUNDING)
    model = load_model(weights=folder / BEST)
    calibration = read_calibration(folder / CALIBRATION_NAME)
    check_fits(calibration, model.record, model.spec.preprocess, ROUNDING.form.choices(), "--ranges")
    source = CalibrationSource(CalibrationChoice(pictures=data / "train"), model.record, model.spec.preprocess, 0)
    graph = to_deploy_form(model.network, ROUNDING.form).network
    shown = source.calibration(ROUNDING.form, graph, lambda _: None)
    assert calibration.pictures == shown.pictures
    assert calibration.ranges.keys() == shown.ranges.keys()
    assert all(equal_ranges(ranges, shown.ranges[path], SAME) for path, ranges in calibration.ranges.items())


@pytest.mark.parametrize("rounding", [None, training_for("coreml", "w8")], ids=["float", "w8"])
def test_weights_without_ranges_lie_beside_none(rounding: None, data: Path, tmp_path: Path) -> None:
    (tmp_path / CALIBRATION_NAME).write_text("older")
    trained(data, tmp_path, rounding, recipe=ONE_UPDATE)
    assert (tmp_path / BEST).exists()
    assert not (tmp_path / CALIBRATION_NAME).exists()


@pytest.mark.usefixtures("listening")
def test_an_interrupt_waits_until_weights_and_ranges_are_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    replace_best(tmp_path, b"old", b"old")
    while_flushing(monkeypatch, lambda: signal.raise_signal(signal.SIGINT))
    with pytest.raises(KeyboardInterrupt):
        replace_best(tmp_path, b"new", b"new")
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == {BEST: b"new", CALIBRATION_NAME: b"new"}


def test_whatever_ends_it_leaves_no_ranges_of_other_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def end() -> None:
        raise SystemExit(3)

    replace_best(tmp_path, b"old", b"old")
    while_flushing(monkeypatch, end)
    with pytest.raises(SystemExit):
        replace_best(tmp_path, b"new", b"new")
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == {BEST: b"old"}


def test_ranges_that_cannot_be_removed_are_one_line(tmp_path: Path) -> None:
    (tmp_path / CALIBRATION_NAME).mkdir()
    with pytest.raises(UsageError, match=r"calibration.json cannot be removed \(.*\); remove it, or give another --output"):
        replace_best(tmp_path, b"new", None)
    assert not (tmp_path / BEST).exists()
