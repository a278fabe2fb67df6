"""The files that the tests of this folder read; each is converted once."""

import pytest

from edgevit_deploy.parity.reference import Reference
from tests.helpers.onnx import shared
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
