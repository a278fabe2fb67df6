"""What each TensorRT can do on this host, asked in a child process.

A missing GPU, driver or library shows as an ImportError, a TypeError from a null factory, a returned None, or a crash at
exit (knowledge: TensorRT 8.6, 11.4 lean and RTX 1.7.1 without a GPU), so none of it is tried in the caller's process. Run
as `python -m edgevit_deploy.formats.tensorrt.probe MODULE`, this module is the child: it builds, loads and prepares a one-layer
network and prints one JSON line.
"""

import functools
import importlib.util
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from types import ModuleType
from typing import Any

import msgspec

from edgevit_deploy.errors import MissingError
from edgevit_deploy.formats.tensorrt.cuda import CudaDriver
from edgevit_deploy.formats.tensorrt.library import LIBRARIES, OLDEST_TENSORRT, Flavor, create_network, message_log
from edgevit_deploy.process.child import ChildFailure, last_line, python_module, run_once

TIMEOUT_S = 120.0
"""A full TensorRT loads its kernels for the first build, which takes seconds on a slow disk; more than this is a hang."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Capability:
    """What one TensorRT can do here; `reason` says why the first thing that fails does."""

    can_import: bool = False
    can_build: bool = False
    can_run: bool = False
    version: str = ""
    gpu: str = ""
    reason: str = ""


@functools.cache
def capability(flavor: Flavor) -> Capability:
    """Return what a TensorRT can do here; asked once a process."""
    module = LIBRARIES[flavor].module
    if importlib.util.find_spec(module) is None:
        return Capability(reason="not installed")
    return ask_child(python_module(__spec__.name, module), TIMEOUT_S)


def describe(flavor: Flavor) -> str:
    """Return one TensorRT's capability as a phrase for people."""
    found = capability(flavor)
    name = f"{LIBRARIES[flavor].title} {found.version}".rstrip()
    if found.can_run:
        return f"{name} builds and runs on {found.gpu}"
    if found.can_build:
        return f"{name} builds, cannot run: {found.reason}"
    return f"{name} unavailable: {found.reason}"


def ask_child(command: Sequence[str], timeout_s: float) -> Capability:
    """Run a probe and read its JSON line; whatever goes wrong with it means that nothing works, with the reason."""
    try:
        ended = run_once(command, timeout_s=timeout_s)
    except ChildFailure as failure:
        return Capability(reason=f"its probe {failure}")
    if ended.status:
        return Capability(reason=f"its probe {ended.how}")
    try:
        return msgspec.json.decode(last_line(ended.stdout), type=Capability)
    except msgspec.MsgspecError:
        return Capability(reason="its probe printed no report")


def examine(module: str) -> Capability:
    """Try everything in this process, which may crash: import, build a one-layer network, load it, prepare to run it."""
    found = Capability()
    try:
        trt = importlib.import_module(module)
        found = replace(found, can_import=True, version=str(trt.__version__))
        if module == LIBRARIES["tensorrt"].module and int(found.version.split(".")[0]) < OLDEST_TENSORRT:
            return replace(found, reason=f"too old, {OLDEST_TENSORRT} or newer is needed")
        plan = _build_one_layer(trt)
        found = replace(found, can_build=True)
        found = replace(found, gpu=CudaDriver().gpu())
        _prepare_to_run(trt, plan)
        return replace(found, can_run=True)
    except MissingError as error:
        return replace(found, reason=str(error))
    except Exception as error:  # noqa: BLE001 - whatever a half-installed library raises is the answer
        return replace(found, reason=" ".join(f"{type(error).__name__}: {error}".split()))


def _build_one_layer(trt: ModuleType) -> Any:
    log = message_log(trt)
    builder = _given(trt.Builder(log.native), "Builder", trt)
    network = create_network(trt, builder)
    relu = network.add_activation(network.add_input("x", trt.float32, (1,)), trt.ActivationType.RELU)
    network.mark_output(relu.get_output(0))
    plan = builder.build_serialized_network(network, builder.create_builder_config())
    return _given(plan, "build_serialized_network", trt)


def _prepare_to_run(trt: ModuleType, plan: Any) -> None:
    runtime = _given(trt.Runtime(message_log(trt).native), "Runtime", trt)
    engine = _given(runtime.deserialize_cuda_engine(plan), "deserialize_cuda_engine", trt)
    _given(engine.create_execution_context(), "create_execution_context", trt)


def _given(value: Any, call: str, trt: ModuleType) -> Any:
    if value is None:
        raise RuntimeError(f"{call} returned None: {message_log(trt).errors()}")
    return value


if __name__ == "__main__":
    print(json.dumps(asdict(examine(sys.argv[1]))))  # noqa: T201 - the child's answer
