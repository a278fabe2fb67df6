"""The files that the tests of this folder read; each is converted once."""

import pytest

from edgevit_deploy.calibration.choice import SYNTHETIC, CalibrationChoice
from edgevit_deploy.host import THIS_HOST
from edgevit_deploy.parity.reference import Reference
from edgevit_deploy.workbench import open_workbench
from tests.helpers.on_pictures import trained_model
from tests.helpers.onnx import shared
from tests.helpers.onnx_int8 import rounded
from tests.helpers.targets import NETWORK


@pytest.fixture(scope="session")
def reference():
    return Reference(NETWORK, NETWORK.spec.preprocess)


@pytest.fixture(scope="session")
def plain():
    return shared()


@pytest.fixture(scope="session")
def free():
    return shared(dynamic_batch=True, dynamic_size=True)


@pytest.fixture(scope="session")
def half():
    return shared(precision="fp16")


@pytest.fixture(scope="session")
def bench():
    with open_workbench(trained_model(), THIS_HOST, calibration=CalibrationChoice(pictures=SYNTHETIC)) as opened:
        yield opened


@pytest.fixture(scope="session")
def u8(bench):
    return rounded(bench)
