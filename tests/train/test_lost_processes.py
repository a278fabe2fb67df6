"""Why a process ended is told in one line and soon: of another one before and after they have met, and of the first itself."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import distributed

from edgevit_deploy import train_model
from edgevit_deploy.errors import DeployError, RunError
from edgevit_deploy.train import engine, launch
from edgevit_deploy.train.job import TrainingRun
from edgevit_deploy.train.recipe import changed
from edgevit_deploy.train.world import LostProcessError, losses_told
from tests.helpers.training import QUICK, tokens

ErrorCheck = Callable[..., str]
SOON_S = 60.0
"""Far below the half hour for which processes wait for each other."""


def train(data: Path, tmp_path: Path) -> TrainingRun:
    return train_model(data, recipe=changed(QUICK, {"epochs": 0.4}), output=tmp_path / "run", processes=2)


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("raise SystemExit(3)", "process 1 of the training ended with status 3 before it began; give --processes 1"),
        ("import os; os.kill(os.getpid(), 9)", "process 1 of the training was killed by SIGKILL, perhaps because memory ran out"),
        (f"import torch; torch.set_num_threads = None; {launch.FOLLOW}", "process 1 of the training ended with status 1 before"),
        (
            f"from edgevit_deploy.train import launch; launch.find_device = None; {launch.FOLLOW}",
            "process 1: TypeError: 'NoneType' object is not callable",
        ),
    ],
    ids=["left", "killed", "failed at its start", "told why"],
)
def test_a_process_that_ends_before_they_meet_is_not_waited_for(
    code: str, message: str, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launch, "FOLLOW", code)
    started = time.monotonic()
    with pytest.raises(DeployError) as refused:
        train(data, tmp_path)
    assert str(refused.value).startswith(message)
    assert time.monotonic() - started < SOON_S
    assert not (tmp_path / "run").exists()


def test_what_another_process_cannot_compute_is_told_by_it(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is no loss of a process, though both are errors of one kind."""
    spoilt = (
        "from edgevit_deploy.train import engine\n"
        "def refuse(*_, **__): raise RuntimeError('DefaultCPUAllocator: not enough memory')\n"
        "engine.functional.cross_entropy = refuse\n"
    )
    monkeypatch.setattr(launch, "FOLLOW", spoilt + launch.FOLLOW)
    with pytest.raises(DeployError, match=r"^process 1: RuntimeError: DefaultCPUAllocator: not enough memory$"):
        train(data, tmp_path)


def test_what_the_first_process_cannot_compute_is_its_own_error(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, expect_error: ErrorCheck
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise RuntimeError("DefaultCPUAllocator: not enough memory")

    monkeypatch.setattr(engine.functional, "cross_entropy", refuse)
    error = expect_error(1, *tokens(data, tmp_path / "run", processes=2))
    assert "memory ran out (DefaultCPUAllocator: not enough memory)" in error


def test_a_process_that_leaves_before_its_first_gradients_is_lost(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What gloo says of it in DistributedDataParallel's first exchange is recognised; of a later one: `test_processes`."""
    leaves = "from edgevit_deploy.train import engine\nimport os\n"
    leaves += "engine.nn.parallel.DistributedDataParallel = lambda *_, **__: os._exit(3)\n"
    monkeypatch.setattr(launch, "FOLLOW", leaves + launch.FOLLOW)
    with pytest.raises(LostProcessError, match=r"another process of this training ended .*gloo.*; to go on: --resume"):
        train(data, tmp_path)


@pytest.mark.parametrize(
    ("error", "lost"),
    [
        (RuntimeError("[/pytorch/third_party/gloo/gloo/transport/tcp/pair.cc:553] Connection closed by peer [::1]:8609"), True),
        (RuntimeError("NCCL communicator was aborted on rank 1."), True),
        (distributed.DistBackendError("of whatever words"), True),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"), False),
        (RuntimeError("The size of tensor a (4) must match the size of tensor b (3) at non-singleton dimension 0"), False),
    ],
)
def test_what_is_taken_for_a_loss(error: RuntimeError, lost: bool) -> None:
    with pytest.raises(LostProcessError if lost else type(error)) as raised, losses_told(while_computing=True):
        raise error
    assert isinstance(raised.value, RunError) == lost
    with pytest.raises(LostProcessError), losses_told():  # where nothing is computed, whatever fails is one
        raise error


def test_more_processes_than_gpus_are_refused(
    data: Path, tmp_path: Path, expect_error: ErrorCheck, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    monkeypatch.setattr("torch.cuda.set_device", lambda _: None)
    error = expect_error(2, *tokens(data, tmp_path / "run", device="cuda", processes=2))
    assert "--processes 2: each needs a GPU of its own, and PyTorch can use 1; give fewer, or --device cpu" in error
