"""What tests of training share."""

from pathlib import Path

import pytest

from edgevit_deploy import train_model
from edgevit_deploy.train.job import TrainingRun
from tests.helpers.shared import made_once
from tests.helpers.training import QUICK, write_data


@pytest.fixture(scope="session")
def data() -> Path:
    """80 pictures to train on and 30 that evaluate; not to be changed."""
    return made_once("training-data", lambda folder: write_data(folder / "data") and None) / "data"


@pytest.fixture(scope="session")
def uninterrupted(data: Path, tmp_path_factory: pytest.TempPathFactory) -> TrainingRun:
    """A whole training of ten updates in one process; not to be changed."""
    return train_model(data, recipe=QUICK, output=tmp_path_factory.mktemp("run") / "run", processes=1, log_every=1)
