"""Building and inspecting one engine: the calls into TensorRT's builder, the same for TensorRT 10, 11 and RTX."""

import json
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from edgevit_deploy.errors import ExportError, UsageError
from edgevit_deploy.exporter import Artifact
from edgevit_deploy.formats.tensorrt.library import Library, create_network, message_log
from edgevit_deploy.formats.tensorrt.probe import Capability
from edgevit_deploy.outside.files import unfinished
from edgevit_deploy.spec import TensorSpec

INSPECTOR_NAME = "inspector.json"
MIB = 2**20
DYNAMIC_AXIS = -1
LAYER_COUNT = re.compile(r"(?:Original|After [\w -]+): (\d+) layers$")


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildSettings:
    """What the builder is told besides the network.

    Attributes:
        batches: smallest, tuned and largest batch of a dynamic batch axis; None when the batch is fixed.
        workspace_mib: limit on scratch memory in MiB; None leaves the library's own. Full TensorRT only.
        timing_cache: file of kernel timings, read when it is there and written back. Full TensorRT only: TensorRT-RTX has
            no use for one, and asks for a GPU when it is given one (its 1.1 release notes).
    """

    batches: tuple[int, int, int] | None
    workspace_mib: int | None
    timing_cache: Path | None


def build_engine(library: Library, source: Artifact, settings: BuildSettings, path: Path) -> dict[str, object]:
    """Build the plan from an ONNX artifact, write it to `path` and return what the library said about it.

    Raises:
        ExportError: the parser or the builder refused, or the network's inputs and outputs are not those of `source`.
    """
    trt, log = library.load(), message_log(library.load())
    log.start()
    try:
        builder = trt.Builder(log.native)
        network = create_network(trt, builder)
        _parse(library, trt.OnnxParser(network, log.native), source.path)
        interface = _check_interface(library, trt, network, source)
        config = _configure(trt, builder, source, settings)
        engine = builder.build_serialized_network(network, config)
    except (TypeError, RuntimeError) as error:  # pybind's answers to a null pointer and to a C++ exception
        raise ExportError(f"{library.title} crashed: {error}; its last messages: {log.errors()}") from error
    if engine is None:
        raise ExportError(f"{library.title} could not build the engine: {log.errors()}")
    path.write_bytes(engine)
    if settings.timing_cache is not None:
        _save_timing_cache(config, settings.timing_cache)
    layers = [network.get_layer(index) for index in range(network.num_layers)]
    kinds = Counter(f"{layer.type.name} {layer.get_output(0).dtype.name}" for layer in layers)
    operators = Counter(layer.type.name for layer in layers if layer.type.name != "CONSTANT")
    return {
        **interface,
        "tf32": bool(config.get_flag(trt.BuilderFlag.TF32)),
        "network_layers": len(layers),
        "network_layer_types": dict(sorted(kinds.items())),
        "operators": dict(sorted(operators.items())),
        **_optimised_layers(log.messages),
    }


def _parse(library: Library, parser: Any, path: Path) -> None:
    if parser.parse_from_file(str(path)):
        return
    errors = [parser.get_error(index) for index in range(parser.num_errors)]
    first_nodes: dict[str, str] = {}
    for error in errors:
        first_nodes.setdefault(f"{error.node_operator()}: {' '.join(error.desc().split())}", error.node_name())
    reasons = "; ".join(f"{reason} (first at {node!r})" for reason, node in first_nodes.items())
    raise ExportError(
        f"{library.title} cannot read {path.name}, {len(errors)} errors: {reasons or 'no reason given'}; it takes plain "
        "ONNX operators only, so not a file optimised by ONNX Runtime"
    )


def _check_interface(library: Library, trt: ModuleType, network: Any, source: Artifact) -> dict[str, object]:
    """Compare what was parsed with what was exported: the parser takes a file of noise for an empty network, and succeeds."""
    found = {
        "inputs": [network.get_input(index) for index in range(network.num_inputs)],
        "outputs": [network.get_output(index) for index in range(network.num_outputs)],
    }
    facts: dict[str, object] = {}
    for kind, specs in (("inputs", source.inputs), ("outputs", source.outputs)):
        read = [(tensor.name, list(tensor.shape), np.dtype(trt.nptype(tensor.dtype)).name) for tensor in found[kind]]
        expected = [(spec.name, _numbered(spec), spec.dtype) for spec in specs]
        if read != expected:
            raise ExportError(f"{library.title} read {kind} {read} from {source.path.name}, expected {expected}")
        facts[f"network_{kind}"] = [{"name": name, "shape": shape, "dtype": dtype} for name, shape, dtype in read]
    return facts


def _numbered(spec: TensorSpec) -> list[int]:
    return [axis if isinstance(axis, int) else DYNAMIC_AXIS for axis in spec.shape]


def _configure(trt: ModuleType, builder: Any, source: Artifact, settings: BuildSettings) -> Any:
    config = builder.create_builder_config()
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    config.clear_flag(trt.BuilderFlag.TF32)  # on by default; it rounds float32 factors to 10 bits
    if settings.batches:
        profile = builder.create_optimization_profile()
        for spec in source.inputs:
            profile.set_shape(spec.name, *((batch, *spec.shape[1:]) for batch in settings.batches))
        if config.add_optimization_profile(profile) < 0:
            raise ExportError(f"the builder refused the batch profile {settings.batches}")
    if settings.workspace_mib is not None:
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, settings.workspace_mib * MIB)
    if settings.timing_cache is not None:
        _attach_timing_cache(config, settings.timing_cache)
    return config


def _attach_timing_cache(config: Any, path: Path) -> None:
    cache = config.create_timing_cache(path.read_bytes() if path.exists() else b"")
    if cache is None or not config.set_timing_cache(cache, False):
        raise UsageError(f"{path}: not a timing cache of this TensorRT on this GPU; delete it or give another --timing-cache")


def _save_timing_cache(config: Any, path: Path) -> None:
    beside = unfinished(path)
    beside.write_bytes(config.get_timing_cache().serialize())
    beside.replace(path)


def _optimised_layers(messages: Iterable[tuple[str, str]]) -> dict[str, object]:
    """Read the builder's own layer counts, before its first pass and after its last, out of its log."""
    counts = [int(match[1]) for _, text in messages if (match := LAYER_COUNT.match(text))]
    return {"builder_layers_before": counts[0], "builder_layers_after": counts[-1]} if counts else {}


def inspect_engine(library: Library, found: Capability, path: Path) -> dict[str, object]:
    """Load the engine and write the inspector's JSON beside it, where a GPU can; return what came of it."""
    if not found.can_run:
        return {"inspector": f"not available, loading an engine needs a GPU: {found.reason}"}
    trt, log = library.load(), message_log(library.load())
    log.start()
    engine = trt.Runtime(log.native).deserialize_cuda_engine(path.read_bytes())
    if engine is None:
        return {"inspector": f"not available, {found.gpu} refused the engine: {log.errors()}"}
    report = json.loads(engine.create_engine_inspector().get_engine_information(trt.LayerInformationFormat.JSON))
    (path.parent / INSPECTOR_NAME).write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    return {"inspector": INSPECTOR_NAME, "engine_layers": engine.num_layers}
