"""Bad input is one line and the right exit code, and nothing half-written stays."""

import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from edgevit_deploy.cli import run
from edgevit_deploy.registry import Availability
from tests.helpers.trained import LABELS
from tests.helpers.training import tokens

ErrorCheck = Callable[..., str]


@pytest.fixture
def own(data: Path, tmp_path: Path) -> Path:
    """A copy of the pictures, to be spoilt."""
    return Path(shutil.copytree(data, tmp_path / "data"))


def empty_class(own: Path) -> None:
    for file in (own / "train" / "bag").iterdir():
        file.unlink()


def one_class(own: Path) -> None:
    for split in ("train", "val"):
        for label in LABELS[1:]:
            shutil.rmtree(own / split / label)


def other_classes(own: Path) -> None:
    (own / "val" / "bag").rename(own / "val" / "handbag")


def no_val(own: Path) -> None:
    shutil.rmtree(own / "val")


def no_train(own: Path) -> None:
    shutil.rmtree(own / "train")


def two_lines(own: Path) -> None:
    for split in ("train", "val"):
        (own / split / "bag").rename(own / split / "bag\nof two lines")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (empty_class, "no picture of class 'bag'; add some, or remove"),
        (one_class, "one class, 't-shirt'; two at least can be told apart"),
        (other_classes, "10 classes, without 'bag' and with 'handbag', not among them"),
        (no_val, "no folder 'val' beside 'train'; add --val-share 0.1 to hold out a tenth of the pictures"),
        (no_train, "no folder 'train' in it; put the pictures into"),
        (two_lines, "is not one line without blanks around it; rename that class"),
    ],
)
def test_pictures_that_cannot_be_trained_on(
    spoil: Callable[[Path], None], message: str, own: Path, tmp_path: Path, expect_error: ErrorCheck
) -> None:
    spoil(own)
    assert message in expect_error(2, *tokens(own, tmp_path / "run"))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"recipe": "smal"}, "--recipe smal: no such recipe; did you mean 'small'?"),
        ({"epochs": 0}, "--epochs 0.0: expected 1e-06 to 1e+06"),
        ({"batch-size": 200}, "--batch-size 200: there are 80 training pictures; give at most that many"),
        ({"small-epochs": 2}, "--small-epochs 2: of the 10 updates of --epochs 2 none is left at --image-size 32"),
        ({"small_image_size": 64}, "--small-image-size 64: means nothing with --small-epochs 0; drop it, or raise"),
        ({"model": "edgevit_xsx"}, "no model 'edgevit_xsx'; did you mean 'edgevit_xs'?"),
        ({"device": "tpu"}, "--device tpu: expected auto, cpu or cuda"),
        ({"workers": -1}, "--workers -1: expected at least 0"),
        ({"log_every": 0}, "--log-every 0: expected at least 1"),
        ({"checkpoint_every": 0}, "--checkpoint-every 0: expected at least 1"),
        ({"evaluate_every": 0}, "--evaluate-every 0: expected at least 1"),
        ({"val_share": 0.1}, "is there, and its pictures evaluate; drop --val-share"),
        ({"val_share": 1.5}, "--val-share 1.5: expected a share between 0 and 1"),
        ({"resume": True}, "--resume: nothing in"),
        ({"finetune": "nowhere.pth"}, "nowhere.pth"),
        ({"labels": "nowhere.txt"}, "--labels nowhere.txt: cannot be read"),
        ({"epochs": 1.5, "log-every": 1.5}, "--log-every 1.5: expected a whole number"),
    ],
)
def test_flags_that_cannot_be(
    changes: dict[str, object], message: str, data: Path, tmp_path: Path, expect_error: ErrorCheck
) -> None:
    assert message in expect_error(2, *tokens(data, tmp_path / "run", **changes))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (LABELS[:-1], "10 classes, with 'ankle-boot', not among them"),
        ((*LABELS, "hat"), "10 classes, without 'hat'"),
        ((*LABELS, "bag"), "'bag' is in it twice; give each class a name of its own"),
        (("", *LABELS), "line 1 is empty; give one name a line"),
    ],
    ids=["one too few", "one too many", "twice", "empty"],
)
def test_labels_that_contradict(
    names: tuple[str, ...], message: str, data: Path, tmp_path: Path, expect_error: ErrorCheck
) -> None:
    (tmp_path / "labels.txt").write_text("\n".join(names))
    assert message in expect_error(2, *tokens(data, tmp_path / "run", labels=tmp_path / "labels.txt"))


@pytest.mark.parametrize("split", ["train", "val"])
def test_a_picture_that_cannot_be_read(
    split: str, own: Path, tmp_path: Path, expect_error: ErrorCheck, capfd: pytest.CaptureFixture[str]
) -> None:
    picture = min((own / split / "coat").iterdir())
    picture.write_bytes(picture.read_bytes()[:-60])
    assert run(tokens(own, tmp_path / "lax", epochs=1)) == 0
    said = capfd.readouterr().err
    assert f"1 pictures could not be read and were left out: {picture} (damaged" in said.replace("\n", "")
    error = expect_error(2, *tokens(own, tmp_path / "strict", epochs=1, strict=True))
    assert f"--strict: {picture} cannot be read (damaged" in error
    assert not list((tmp_path / "strict").glob(".*"))


def test_no_readable_picture_in_a_batch(own: Path, tmp_path: Path, expect_error: ErrorCheck) -> None:
    for folder in (own / "train").iterdir():
        for picture in sorted(folder.iterdir())[1:]:
            picture.write_bytes(picture.read_bytes()[:-60])
    error = expect_error(2, *tokens(own, tmp_path / "run", batch_size=2))
    assert "of a part of a batch not even 2 could be read: " in error


def test_a_loss_that_is_no_number(data: Path, tmp_path: Path, expect_error: ErrorCheck) -> None:
    error = expect_error(1, *tokens(data, tmp_path / "run", learning_rate=10, clip_norm=0, beta1=0, weight_decay=10, epochs=20))
    assert "lower --learning-rate or set --clip-norm 1" in error


def test_without_timm_the_command_names_what_to_install(
    data: Path, tmp_path: Path, expect_error: ErrorCheck, monkeypatch: pytest.MonkeyPatch
) -> None:
    missing = Availability(ok=False, detail="timm not installed", fix="pip install -e '.[train]'")
    monkeypatch.setattr("edgevit_deploy.train.timm_parts.requires", lambda *_, **__: missing)
    error = expect_error(3, *tokens(data, tmp_path / "run"))
    assert "timm not installed; pip install -e '.[train]'" in error


def test_without_tensorboard_the_command_names_what_to_install(
    data: Path, tmp_path: Path, expect_error: ErrorCheck, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    monkeypatch.setattr("edgevit_deploy.train.records.requires", lambda *_: Availability(ok=False, detail="", fix=""))
    assert "pip install tensorboard" in expect_error(3, *tokens(data, tmp_path / "run", tensorboard=True))
    assert not (tmp_path / "run").exists()


def test_an_output_that_cannot_be_made(data: Path, tmp_path: Path, expect_error: ErrorCheck) -> None:
    (tmp_path / "file").write_text("")
    assert "--output" in expect_error(2, *tokens(data, tmp_path / "file" / "run"))


def test_a_gpu_that_is_not_there(data: Path, tmp_path: Path, expect_error: ErrorCheck, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert "--device cuda: 0 GPUs that PyTorch can use" in expect_error(3, *tokens(data, tmp_path / "run", device="cuda"))


def test_torchrun_decides_how_many_processes(
    data: Path, tmp_path: Path, expect_error: ErrorCheck, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "localhost", "MASTER_PORT": "29500"}.items():
        monkeypatch.setenv(name, value)
    assert "--processes: torchrun has started this process" in expect_error(2, *tokens(data, tmp_path / "run"))


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"MASTER_ADDR": None}, "RANK and WORLD_SIZE are set, and MASTER_ADDR not; start it with torchrun"),
        ({"MASTER_ADDR": None, "MASTER_PORT": None}, "and MASTER_ADDR and MASTER_PORT not; start it with torchrun"),
        ({"RANK": "5"}, "RANK 5 of WORLD_SIZE 2: ranks count from 0 to 1; start it with torchrun"),
        ({"RANK": "-1"}, "RANK -1 of WORLD_SIZE 2: ranks count from 0 to 1"),
        (
            {"WORLD_SIZE": "two"},
            "RANK, WORLD_SIZE or LOCAL_RANK is no whole number (invalid literal for int() with base 10: 'two')",
        ),
        ({"LOCAL_RANK": "0.5"}, "RANK, WORLD_SIZE or LOCAL_RANK is no whole number"),
    ],
)
def test_what_a_launcher_says_is_whole(
    said: dict[str, str | None],
    message: str,
    data: Path,
    tmp_path: Path,
    expect_error: ErrorCheck,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Else the processes would wait for each other in vain, or end with a traceback."""
    whole: dict[str, str | None] = {"RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "localhost", "MASTER_PORT": "29500"}
    for name, value in (whole | said).items():
        if value is None:
            monkeypatch.delenv(name, raising=False)
        else:
            monkeypatch.setenv(name, value)
    assert message in expect_error(2, *tokens(data, tmp_path / "run", processes=None))
    assert not (tmp_path / "run").exists()
