"""best.safetensors and what is said of it agree after a resumption, also where it was written and the state was not."""

import json
import shutil
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from edgevit_deploy import train_model
from edgevit_deploy.errors import UsageError
from edgevit_deploy.train.job import TrainingRun
from tests.helpers.training import QUICK, metadata, train_until

BEST = "best.safetensors"


@pytest.fixture(scope="module")
def stopped(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that ended in its last evaluation; its best weights are those of the one before. Copy it before use."""
    folder = tmp_path_factory.mktemp("stopped") / "run"
    train_until(lambda measured: measured.epoch == 2, data, folder, QUICK, checkpoint_every=1)
    return folder


@pytest.fixture
def begun(stopped: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(stopped, tmp_path / "run"))


def go_on(data: Path, folder: Path) -> TrainingRun:
    return train_model(data, recipe=QUICK, output=folder, processes=1, resume=True)


def of_a_better_evaluation(file: Path) -> None:
    """As after a stop between weights and state: in seconds a training gets fewer right."""
    about = metadata(file)
    about["accuracy"] |= {"top1": 29, "top5": 30}
    weights = load_file(file)
    file.unlink()
    save_file(weights, file, metadata={"edgevit_deploy": json.dumps(about)})


def assert_told_as_it_is(run: TrainingRun) -> None:
    accuracy = metadata(run.weights)["accuracy"]
    assert (run.top1, run.top5, run.pictures) == (accuracy["top1"], accuracy["top5"], accuracy["pictures"])


def test_the_best_of_a_branch_that_was_left_stays_the_best(data: Path, begun: Path) -> None:
    of_a_better_evaluation(begun / BEST)
    before = (begun / BEST).read_bytes()
    run = go_on(data, begun)
    assert (begun / BEST).read_bytes() == before
    assert (run.top1, run.pictures) == (29, 30)
    assert_told_as_it_is(run)
    assert f"{BEST} is of an evaluation after that state, 29 of 30 right; it stays unless one does as well" in run.notes


def test_a_best_that_agrees_is_not_spoken_of(data: Path, begun: Path) -> None:
    run = go_on(data, begun)
    assert run.notes == ()
    assert_told_as_it_is(run)


@pytest.mark.parametrize("content", [None, b"", b"another program's"], ids=["gone", "empty", "foreign"])
def test_a_best_that_is_lost_is_written_anew(content: bytes | None, data: Path, begun: Path) -> None:
    (begun / BEST).unlink()
    if content is not None:
        (begun / BEST).write_bytes(content)
    run = go_on(data, begun)
    assert_told_as_it_is(run)
    assert run.top1 >= 0
    assert run.notes == (f"{BEST} is gone or damaged; the next evaluation at the final size writes it",)


def test_a_finished_training_without_its_best_is_refused(data: Path, uninterrupted: TrainingRun, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(uninterrupted.folder, tmp_path / "run"))
    (folder / BEST).unlink()
    with pytest.raises(
        UsageError, match=r"--resume: .*best.safetensors is gone or damaged, and no evaluation is left .*put it back"
    ):
        go_on(data, folder)
