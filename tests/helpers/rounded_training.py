"""A short training that rounds, and what its evaluations were of."""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from torch import nn

from edgevit_deploy import train_model
from edgevit_deploy.rounded_training import training_for
from edgevit_deploy.train import session
from edgevit_deploy.train.evaluation import Count, Evaluation
from edgevit_deploy.train.job import TrainingRun
from edgevit_deploy.train.recipe import changed
from edgevit_deploy.train.rounding import TrainedRounding
from tests.helpers.trained import WEIGHTS
from tests.helpers.training import QUICK

RECIPE = changed(QUICK, {"drop_path": 0.0, "learning_rate": 1e-3, "warmup_epochs": 0.2})
ONE_UPDATE = changed(RECIPE, {"epochs": 0.2, "warmup_epochs": 0.0})
TWO_UPDATES = changed(RECIPE, {"batch_size": 80, "warmup_epochs": 0.0})
"""One an epoch."""
ROUNDING = training_for("litert", "int8")
"""Whose form folds the most and whose outputs are rounded; nothing of the target's is used."""


def trained(
    data: Path, folder: Path, rounding: TrainedRounding | None = ROUNDING, processes: int = 1, **options: Any
) -> TrainingRun:
    settings = {"recipe": RECIPE, "finetune": WEIGHTS, "log_every": 1} | options
    return train_model(data, rounding=rounding, output=folder, processes=processes, **settings)


@contextmanager
def evaluated() -> Iterator[list[tuple[nn.Module, Count]]]:
    """Collect the averaged network of each evaluation, as it was evaluated, and its count."""
    found: list[tuple[nn.Module, Count]] = []
    evaluate = session.evaluate

    def watched(networks: tuple[nn.Module, nn.Module], *positional: Any, **named: Any) -> Evaluation:
        counted = evaluate(networks, *positional, **named)
        found.append((copy.deepcopy(networks[1]), counted.counts[1]))
        return counted

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(session, "evaluate", watched)
        yield found
