"""The trained network with ranges of drawn pictures, for every test that rounds it for an engine."""

import pytest

from edgevit_deploy.calibration.choice import SYNTHETIC, CalibrationChoice
from edgevit_deploy.formats.tensorrt import probe
from edgevit_deploy.formats.tensorrt.library import LIBRARIES
from edgevit_deploy.host import THIS_HOST
from edgevit_deploy.workbench import open_workbench
from tests.helpers.on_pictures import trained_model


@pytest.fixture(scope="package")
def bench():
    found = probe.capability("tensorrt-rtx")
    if not found.can_build:
        pytest.skip(f"TensorRT-RTX: {found.reason}; {LIBRARIES['tensorrt-rtx'].install}")
    with open_workbench(trained_model(), THIS_HOST, calibration=CalibrationChoice(pictures=SYNTHETIC)) as opened:
        yield opened
