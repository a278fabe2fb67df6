"""Several processes train what one does: the same batches, statistics, losses and counts; one that fails ends all in one line."""

import copy
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from edgevit_deploy import train_model
from edgevit_deploy.errors import UsageError
from edgevit_deploy.train.batch_norm import GlobalBatchNorm2d, share_batch_norm
from edgevit_deploy.train.job import TrainingRun
from edgevit_deploy.train.recipe import Recipe, changed
from edgevit_deploy.train.world import World, joined
from tests.helpers.training import QUICK, environment, metadata, metrics, start, tokens, torchrun

ErrorCheck = Callable[..., str]
BOUND = 1e-5
"""Between the losses of one process and of two, relative; rounding alone makes some 1e-7."""

FIFTEEN_UPDATES = {"epochs": 3.0, "mixup": 0.8, "cutmix": 1.0, "auto_augment": "rand-m9-mstd0.5-inc1"}


def largest_difference(one: Path, other: Path) -> float:
    pairs = list(zip(metrics(one), metrics(other), strict=True))
    assert len(pairs) == 15
    return max(abs(a.loss - b.loss) / a.loss for a, b in pairs)


@pytest.fixture(scope="module")
def alone(data: Path, tmp_path_factory: pytest.TempPathFactory) -> TrainingRun:
    """Fifteen updates in one process, with everything that is random switched on."""
    output = tmp_path_factory.mktemp("alone") / "run"
    return train_model(data, recipe=changed(QUICK, FIFTEEN_UPDATES), output=output, processes=1, log_every=1)


@pytest.mark.slow
def test_two_processes_train_what_one_does(data: Path, alone: TrainingRun, tmp_path: Path) -> None:
    run = train_model(data, recipe=changed(QUICK, FIFTEEN_UPDATES), output=tmp_path / "run", processes=2, log_every=1)
    assert run.processes == 2
    assert largest_difference(alone.folder, run.folder) < BOUND
    for one, two in zip(alone.metrics, run.metrics, strict=True):
        assert (one.top1, one.ema_top1, one.pictures) == (two.top1, two.ema_top1, two.pictures)
    weights, others = (load_file(folder / "last.safetensors") for folder in (alone.folder, run.folder))
    assert list(weights) == list(others)


@pytest.mark.nightly
def test_torchrun_trains_what_one_process_does(data: Path, alone: TrainingRun, tmp_path: Path) -> None:
    said, status = finish(start(*tokens(data, tmp_path / "run", processes=None, **FIFTEEN_UPDATES)[1:], launcher=torchrun(2)))
    assert status == 0, said
    assert largest_difference(alone.folder, tmp_path / "run") < BOUND
    assert said.count("saved: ") == 1, "the first process alone speaks"
    assert metadata(tmp_path / "run" / "best.safetensors")["accuracy"]["pictures"] == 30


@pytest.mark.nightly
def test_statistics_of_a_part_are_not_those_of_the_batch(data: Path, alone: TrainingRun, tmp_path: Path) -> None:
    """The control: with each process's own BatchNorm the losses differ by more than the bound."""
    script = tmp_path / "control.py"
    script.write_text(
        "import sys\nfrom edgevit_deploy.cli import main\nfrom edgevit_deploy.train import engine\n"
        "engine.share_batch_norm = lambda _: None\nmain(sys.argv[1:])\n"
    )
    command = [*torchrun(2), str(script), *tokens(data, tmp_path / "run", processes=None, **FIFTEEN_UPDATES)]
    subprocess.run(command, check=True, env=environment(), cwd=tmp_path, capture_output=True)
    assert largest_difference(alone.folder, tmp_path / "run") > 100 * BOUND


def finish(process: "subprocess.Popen[str]") -> tuple[str, int]:
    said, _ = process.communicate(timeout=120)
    return said, process.returncode


@pytest.fixture
def world_of_one(tmp_path: Path) -> Iterator[World]:
    with joined(0, 1, (tmp_path / "meeting").as_uri(), torch.device("cpu")) as world:
        yield world


@pytest.mark.parametrize("offset", [0.0, 1000.0], ids=["centred", "far from zero"])
def test_shared_batch_norm_is_batch_norm(offset: float, world_of_one: World) -> None:
    """Values, gradients and running statistics, then evaluation: as near to float64 as PyTorch's own is."""
    torch.manual_seed(0)
    plain = nn.BatchNorm2d(6)
    nn.init.normal_(plain.weight)
    nn.init.normal_(plain.bias)
    exact, shared = copy.deepcopy(plain).double(), copy.deepcopy(plain)
    share_batch_norm(shared)
    assert isinstance(shared, GlobalBatchNorm2d)
    (expected, own, found) = (passed_through(module, offset) for module in (exact, plain, shared))
    for name, values in expected.items():
        error, allowed = ((result[name].double() - values).abs().max().item() for result in (found, own))
        assert error <= 3 * allowed + 1e-5, name
    assert list(plain.state_dict()) == list(shared.state_dict())
    assert shared.num_batches_tracked == 1


def passed_through(module: nn.BatchNorm2d, offset: float) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    dtype = module.weight.dtype
    x = (torch.randn(8, 6, 5, 5, generator=generator) + offset).to(dtype).requires_grad_()
    y = module(x)
    (y * torch.randn(y.shape, generator=generator).to(dtype)).sum().backward()  # type: ignore[no-untyped-call]
    trained = {"y": y, "x": x.grad, "weight": module.weight.grad, "bias": module.bias.grad}
    state = {"mean": module.running_mean, "variance": module.running_var, "evaluated": module.eval()(x)}
    return {name: value.detach() for name, value in (trained | state).items()}


@pytest.fixture
def with_a_broken_picture(data: Path, tmp_path: Path) -> Path:
    copied = Path(shutil.copytree(data, tmp_path / "data"))
    picture = min((copied / "train" / "bag").iterdir())
    picture.write_bytes(picture.read_bytes()[:-60])
    return copied


@pytest.mark.nightly
def test_a_broken_picture_of_another_process_is_named(with_a_broken_picture: Path, tmp_path: Path) -> None:
    """Which of the two meets it depends on the epoch; strictly, it ends both in the first process's one line."""
    recipe: Recipe = changed(QUICK, {"epochs": 1.0})
    run = train_model(with_a_broken_picture, recipe=recipe, output=tmp_path / "lax", processes=2)
    (item,) = run.broken
    assert item.file == str(min((with_a_broken_picture / "train" / "bag").iterdir()))
    with pytest.raises(UsageError, match=r"--strict: .*bag.* cannot be read .*; copy it again, or remove it"):
        train_model(with_a_broken_picture, recipe=recipe, output=tmp_path / "strict", processes=2, strict=True)


def children(process: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{process}/task/{process}/children").read_text().split()]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="children are looked up in /proc")
@pytest.mark.parametrize("victim", [pytest.param("first", marks=pytest.mark.nightly), "other"])
def test_a_process_that_is_killed_ends_all(victim: str, data: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    process = start(*tokens(data, folder, processes=2, epochs=1000)[1:], start_new_session=True)
    while len(metrics(folder)) < 2:
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.05)
    (other,) = [child for child in children(process.pid) if b"follow" in Path(f"/proc/{child}/cmdline").read_bytes()]
    os.kill(process.pid if victim == "first" else other, signal.SIGKILL)
    said, status = finish(process)
    if victim == "other":
        assert status == 1
        assert (
            "error: process 1 of the training was killed by SIGKILL, perhaps because memory ran out; to go on: --resume" in said
        )
        assert "Traceback" not in said
    deadline = time.monotonic() + 30
    while Path(f"/proc/{other}").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not Path(f"/proc/{other}").exists()


def test_what_every_process_refuses_is_one_line(data: Path, tmp_path: Path, expect_error: ErrorCheck) -> None:
    error = expect_error(2, *tokens(tmp_path / "nowhere", tmp_path / "run", processes=2))
    assert "nowhere: no folder 'train' in it" in error
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"processes": 0}, "--processes 0: expected at least 1"),
        ({"processes": 3}, "--batch-size 16: 3 equal parts (processes x --accumulate) of an even number"),
        ({"accumulate": 3}, "--batch-size 16: 3 equal parts"),
    ],
)
def test_processes_that_cannot_share_a_batch_are_refused(
    changes: dict[str, object], message: str, data: Path, tmp_path: Path, expect_error: ErrorCheck
) -> None:
    assert message in expect_error(2, *tokens(data, tmp_path / "run", **changes))
