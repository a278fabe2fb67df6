"""A training that is killed goes on to the very same weights, and refuses to go on as another one."""

import os
import pickle
import random
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from edgevit_deploy import train_model
from edgevit_deploy.cli import run
from edgevit_deploy.errors import UsageError
from edgevit_deploy.train.checkpoint import LAST, MAGIC, PREVIOUS, load_state
from edgevit_deploy.train.job import TrainingRun
from edgevit_deploy.train.recipe import changed
from tests.helpers.training import QUICK, UPDATES_AN_EPOCH, losses, metrics, start, tokens, train_until, write_data

ErrorCheck = Callable[..., str]
WEIGHTS = ("best.safetensors", "last.safetensors")


@pytest.fixture(scope="module")
def stopped(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose process ended in its second epoch's evaluation, with states from updates 6 and 8; copy it before use."""
    folder = tmp_path_factory.mktemp("stopped") / "run"
    train_until(lambda measured: measured.epoch == 2, data, folder, QUICK, checkpoint_every=2)
    return folder


@pytest.fixture
def begun(stopped: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(stopped, tmp_path / "run"))


def go_on(data: Path, folder: Path) -> TrainingRun:
    return train_model(data, recipe=QUICK, output=folder, processes=1, log_every=1, resume=True)


def same_weights(one: Path, other: Path) -> bool:
    return all((one / name).read_bytes() == (other / name).read_bytes() for name in WEIGHTS)


def test_it_goes_on_to_the_same_weights_and_losses(data: Path, begun: Path, uninterrupted: TrainingRun) -> None:
    assert load_state(begun)[0]["update"] == 8
    resumed = go_on(data, begun)
    assert same_weights(begun, uninterrupted.folder)
    assert losses(begun) == losses(uninterrupted.folder)
    assert [line.step for line in resumed.metrics] == list(range(1, 2 * UPDATES_AN_EPOCH + 1))
    assert resumed.notes == ()


@pytest.mark.nightly
@pytest.mark.parametrize("part", ["network", "average", "optimizer", "average_from"])
def test_every_part_of_the_state_counts(part: str, data: Path, begun: Path, uninterrupted: TrainingRun) -> None:
    """The control: without one part of it, the weights become other ones."""
    from edgevit_deploy.train.checkpoint import save_state

    state, _ = load_state(begun)
    if part == "average_from":
        state[part] += 1
    elif part == "optimizer":
        for moments in state[part]["state"].values():
            moments["exp_avg"].zero_()
    else:
        first = next(tensor for tensor in state[part].values() if tensor.is_floating_point())
        first.mul_(1 + 1e-6)
    save_state(begun, state)
    go_on(data, begun)
    assert not same_weights(begun, uninterrupted.folder)


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "cut": lambda content: content[: len(content) // 2],
    "one bit": lambda content: content[:-1000] + bytes([content[-1000] ^ 1]) + content[-999:],
    "empty": lambda _: b"",
    "another program's": lambda _: b"PK\x03\x04" + bytes(1000),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_last_state_is_noticed(damage: str, begun: Path) -> None:
    path = begun / LAST
    path.write_bytes(DAMAGES[damage](path.read_bytes()))
    state, note = load_state(begun)
    assert state["update"] == 6
    assert note == f"{LAST}: cut short or changed; going on from {PREVIOUS}"


@pytest.mark.parametrize("name", [LAST, PREVIOUS])
def test_a_damaged_state_changes_nothing(name: str, data: Path, begun: Path, uninterrupted: TrainingRun) -> None:
    path = begun / name
    path.write_bytes(DAMAGES["cut"](path.read_bytes()))
    resumed = go_on(data, begun)
    assert same_weights(begun, uninterrupted.folder)
    assert len(resumed.notes) == (name == LAST)


def test_without_a_usable_state_nothing_goes_on(data: Path, begun: Path) -> None:
    for name in (LAST, PREVIOUS):
        (begun / name).write_bytes(MAGIC)
    before = {file: file.read_bytes() for file in begun.iterdir()}
    with pytest.raises(UsageError, match=r"--resume: nothing in .* to go on from .*; drop --resume to begin anew"):
        go_on(data, begun)
    assert {file: file.read_bytes() for file in begun.iterdir()} == before


def test_nothing_in_a_state_is_executed(data: Path, begun: Path, tmp_path: Path) -> None:
    import hashlib
    import io

    sprung = tmp_path / "sprung"

    class Trap:
        def __reduce__(self) -> tuple[object, tuple[Path]]:
            return Path.mkdir, (sprung,)

    payload = io.BytesIO()
    torch.save({"update": Trap()}, payload)
    content = payload.getvalue()
    for name in (LAST, PREVIOUS):
        (begun / name).write_bytes(MAGIC + hashlib.sha256(content).hexdigest().encode() + b"\n" + content)
    with pytest.raises(UsageError, match="not a state of a training"):
        go_on(data, begun)
    assert not sprung.exists()
    torch.load(io.BytesIO(content), weights_only=False)
    assert sprung.exists(), "the trap is alive"


def test_another_recipe_is_refused_by_the_field(data: Path, begun: Path) -> None:
    with pytest.raises(UsageError, match=r"--resume: the recipe has changed: --mixup was 0\.0, is 0\.5; give what it was"):
        train_model(data, recipe=changed(QUICK, {"mixup": 0.5}), output=begun, processes=1, resume=True)


def test_changed_pictures_are_refused(data: Path, begun: Path, tmp_path: Path) -> None:
    other = Path(shutil.copytree(data, tmp_path / "data"))
    picture = min((other / "train" / "bag").iterdir())
    picture.write_bytes(picture.read_bytes() + b"\n")
    with pytest.raises(UsageError, match="--resume: the pictures in --data have changed"):
        train_model(other, recipe=QUICK, output=begun, processes=1, resume=True)


def test_another_number_of_classes_is_refused(data: Path, begun: Path, tmp_path: Path) -> None:
    other = Path(shutil.copytree(data, tmp_path / "data"))
    for split in ("train", "val"):
        shutil.rmtree(other / split / "bag")
    with pytest.raises(UsageError, match="--resume: the training was begun with 10 classes, the data have 9"):
        train_model(other, recipe=QUICK, output=begun, processes=1, resume=True)


def test_another_network_is_refused(data: Path, begun: Path) -> None:
    with pytest.raises(UsageError, match="--resume: --model is not what the training was begun with"):
        train_model(data, recipe=QUICK, model="edgevit_xs", output=begun, processes=1, resume=True)


def test_a_folder_with_a_run_is_not_begun_anew(data: Path, begun: Path, expect_error: ErrorCheck) -> None:
    error = expect_error(2, *tokens(data, begun))
    assert "a training has been there; add --resume to go on with it, or give another folder" in error


def test_a_result_can_be_pickled(uninterrupted: TrainingRun) -> None:
    assert pickle.loads(pickle.dumps(uninterrupted)) == uninterrupted


def test_a_finished_training_is_told_again(data: Path, uninterrupted: TrainingRun, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(uninterrupted.folder, tmp_path / "run"))
    again = go_on(data, folder)
    assert (again.top1, again.top5, again.pictures) == (uninterrupted.top1, uninterrupted.top5, uninterrupted.pictures)
    assert again.metrics == uninterrupted.metrics
    assert same_weights(folder, uninterrupted.folder)


def killed(command: list[str], folder: Path, updates: int) -> None:
    """Start a training, and kill it with all that it has started once it has made so many updates."""
    process = start(*command[1:], start_new_session=True)
    deadline = time.monotonic() + 120
    while len(metrics(folder)) < updates and time.monotonic() < deadline:
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def test_kill_9_at_any_update(data: Path, tmp_path: Path, uninterrupted: TrainingRun) -> None:
    folder = tmp_path / "run"
    killed(tokens(data, folder, checkpoint_every=1), folder, random.randint(2, 9))
    go_on(data, folder)
    assert same_weights(folder, uninterrupted.folder)
    assert losses(folder) == losses(uninterrupted.folder)


@pytest.mark.nightly
def test_kill_9_of_two_processes(data: Path, tmp_path: Path) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    flags: dict[str, object] = {"checkpoint_every": 1, "processes": 2, "mixup": 0.8, "auto_augment": "rand-m9-mstd0.5-inc1"}
    assert run(tokens(data, whole, **flags | {"checkpoint_every": None})) == 0
    killed(tokens(data, broken, **flags), broken, random.randint(2, 9))
    assert run(tokens(data, broken, resume=True, **flags)) == 0
    assert same_weights(whole, broken)


@pytest.mark.slow
def test_ctrl_c_keeps_the_state(data: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    process = start(*tokens(data, folder, checkpoint_every=1, epochs=100)[1:], start_new_session=True)
    while len(metrics(folder)) < 3:
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "error: interrupted; to go on from the last saved state, add --resume to the same command" in said
    assert "Traceback" not in said
    assert load_state(folder)[0]["update"] >= 2
    assert not list(folder.glob(".*unfinished*"))


def test_a_full_disk_leaves_the_state_before(data: Path, begun: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import errno

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    before = (begun / LAST).read_bytes()
    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(UsageError, match=r"cannot be written \(No space left on device\); make room"):
            go_on(data, begun)
    assert (begun / LAST).read_bytes() == before
    assert not list(begun.glob(".*unfinished*"))


def test_data_beside_it_is_not_touched(data: Path, tmp_path: Path) -> None:
    """The fixtures are shared: a training writes nothing into its data."""
    own = write_data(tmp_path / "data")
    names = set(own.rglob("*"))
    train_model(own, recipe=changed(QUICK, {"epochs": 0.4}), output=tmp_path / "run", processes=1)
    assert set(own.rglob("*")) == names
