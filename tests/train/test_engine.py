"""How an update is made: parts add up, other arithmetic and workers change what they should, and waiting counts as training."""

import copy
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional

from edgevit_deploy import train_model
from edgevit_deploy.spec import PreprocessChoice
from edgevit_deploy.train.augment import TrainingStream
from edgevit_deploy.train.engine import Engine
from edgevit_deploy.train.job import TrainingRun
from edgevit_deploy.train.network import fresh_network
from edgevit_deploy.train.pictures import open_pictures
from edgevit_deploy.train.recipe import changed
from edgevit_deploy.train.world import ALONE
from tests.helpers.training import BATCH, QUICK, losses

HALVES = changed(QUICK, {"accumulate": 2, "drop_path": 0.0, "clip_norm": 0.0})


@pytest.fixture
def engine(data: Path) -> Engine:
    pictures = open_pictures(data, labels=None, val_share=None, seed=0)
    network = fresh_network("edgevit_xxs", pictures.classes, HALVES, PreprocessChoice()).network
    return Engine(network, pictures, HALVES, ALONE, torch.device("cpu"), workers=0, strict=False, compiled=False)


def gradients(network: torch.nn.Module) -> Tensor:
    return torch.cat([parameter.grad.flatten() for parameter in network.parameters() if parameter.grad is not None])


def test_parts_of_a_batch_add_up(engine: Engine) -> None:
    """The gradient is that of the mean loss over the batch, computed here part by part; the control is one part's alone."""
    network = copy.deepcopy(engine.network).train()
    (segment, *_) = engine.order.segments()
    stream = TrainingStream(
        share=engine.pictures.train,
        turns=engine.order.turns(segment, 0, [0, 1]),
        recipe=HALVES,
        side=32,
        preprocess=engine.network.spec.preprocess,
    )
    batches = iter(stream)
    sums = []
    for _ in range(2):
        part = next(batches)
        assert len(part.targets) == BATCH // 2
        loss = functional.cross_entropy(network(part.pixels), part.targets, reduction="sum", label_smoothing=0.1) / BATCH
        loss.backward()  # type: ignore[no-untyped-call]
        sums.append(gradients(network).clone())
    next(engine.run(segment))
    found = gradients(engine.network)
    first, whole = (((found - expected).norm() / expected.norm()).item() for expected in sums)
    assert whole < 1e-4
    assert first > 0.1
    assert ((found - (sums[1] - sums[0])).norm() / found.norm()).item() > 0.1, "nor is it the last part's"


def test_waiting_for_a_gpu_counts_as_training(engine: Engine) -> None:
    class Late:
        def item(self) -> float:
            time.sleep(0.2)
            return 1.0

    engine.meter.loss = Late()  # type: ignore[assignment]
    engine.meter.pictures = 2
    assert engine.mean_loss() == 0.5
    assert engine.meter.seconds >= 0.2


def test_half_precision_is_near_and_other(data: Path, uninterrupted: TrainingRun, tmp_path: Path) -> None:
    recipe = changed(QUICK, {"amp": "bf16", "epochs": 0.4})
    run = train_model(data, recipe=recipe, output=tmp_path / "run", processes=1, log_every=1)
    first, exact = losses(run.folder)[0], losses(uninterrupted.folder)[0]
    assert first == pytest.approx(exact, rel=0.02)
    assert first != exact
    assert {tensor.dtype for tensor in load_file(run.weights).values()} == {torch.float32, torch.int64}


@pytest.mark.slow
def test_workers_change_nothing_of_a_training(data: Path, uninterrupted: TrainingRun, tmp_path: Path) -> None:
    run = train_model(data, recipe=QUICK, output=tmp_path / "run", processes=1, workers=1, log_every=1)
    assert losses(run.folder) == losses(uninterrupted.folder)
    assert run.weights.read_bytes() == uninterrupted.weights.read_bytes()
