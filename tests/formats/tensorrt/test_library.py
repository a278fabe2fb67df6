import enum
import types

import pytest

from edgevit_deploy.formats.tensorrt.library import create_network, message_log, read_plan_header


class Severity(enum.Enum):
    INTERNAL_ERROR = 0
    ERROR = 1
    INFO = 3


class ILogger:
    def __init__(self):
        self.native = True


@pytest.fixture
def trt():
    module = types.ModuleType("tensorrt")
    module.ILogger = ILogger
    return module


def test_the_log_keeps_the_last_errors_on_one_line(trt):
    log = message_log(trt)
    assert log.native.native
    for number in range(5):
        log.native.log(Severity.ERROR, f"error\n{number}")
        log.native.log(Severity.INFO, "chat")
    log.native.log(Severity.INTERNAL_ERROR, "inner")
    assert log.errors() == "error 3; error 4; inner"
    assert len(log.messages) == 11
    log.start()
    assert log.errors() == "the library gave no reason"


def test_one_logger_a_library(trt):
    assert message_log(trt) is message_log(trt)


class FakeBuilder:
    def create_network(self, flags):
        return flags


@pytest.mark.parametrize(("flags", "expected"), [({"STRONGLY_TYPED": 1}, 2), ({}, 0)])
def test_networks_are_strongly_typed_where_there_is_a_flag(trt, flags, expected):
    trt.NetworkDefinitionCreationFlag = types.SimpleNamespace(**flags)
    assert create_network(trt, FakeBuilder()) == expected


@pytest.mark.parametrize(
    ("magic", "version", "flavor"),
    [
        (b"vtrt", (1, 7, 1, 116), "tensorrt-rtx"),
        (b"vtrt", (11, 4, 0, 106), "tensorrt"),
        (b"ftrt", (10, 16, 1, 11), "tensorrt"),
    ],
)
def test_the_header_names_the_library_that_wrote_the_plan(tmp_path, magic, version, flavor):
    path = tmp_path / "model.engine"
    path.write_bytes(magic + bytes(20) + bytes(version) + bytes(100))
    header = read_plan_header(path)
    assert header.flavor == flavor
    assert header.version == ".".join(map(str, version))


def test_a_file_that_is_too_short_has_no_header(tmp_path):
    path = tmp_path / "model.engine"
    path.write_bytes(b"vtrt")
    assert read_plan_header(path) is None
