"""An ONNX model in ONNX Runtime's own format: optimised by it and saved, for builds that hold only the operators of a network.

Optimised as a start on a phone's CPU does it, and so without the layout in blocks that only x86 has. ONNX Runtime writes one of
its tables in another order each time; that table is written again, in alphabetical order, so that the same model gives the same
bytes. Beside the file lies the list of what a reduced build must have.
"""

import importlib
import logging
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from edgevit_deploy.errors import ExportError, RunError, UsageError, first_line
from edgevit_deploy.exporter import ExportPlan
from edgevit_deploy.formats.onnx import DEQUANTIZE, QUANTIZE, SILENT, runtime_errors
from edgevit_deploy.formats.onnx.ort import MICROSOFT, OrtModel, read_ort, schema
from export.onnx.int8 import INTEGER_KERNELS
from export.onnx.opsets import first_runtime

FILE_NAME = "model.ort"
OPERATORS_NAME = "model.required_operators.config"
"""What ONNX Runtime's `build.py --include_ops_by_config` takes."""

VERSION, VERSION_SINCE = "6", (1, 16)
"""Of the format, and what first read it (microsoft/onnxruntime#20670); operators in a file may be younger."""

BLOCKS = "NchwcTransformer"
"""The optimiser whose layout is one processor's."""

ALIGNMENT = 64
"""What lies behind the table that is written again keeps its place in steps of so many bytes, so that constants stay aligned."""

NO_HALF = (
    "onnx has no fp16 with --format ort: ONNX Runtime's CPU turns its weights into float32 before it saves them, so that the "
    "file has the size of fp32; use --precision fp32 or int8, or --format onnx"
)


NO_INTEGERS = (
    "onnx rounds no outputs by this form ([rounding] outputs = false), and ONNX Runtime has no integer operators to save then; "
    "use --format onnx"
)


def refuse_for_ort(plan: ExportPlan[Any]) -> None:
    """Refuse what would be float32 in a saved file.

    Raises:
        UsageError: naming the flag that would work.
    """
    if plan.precision == "fp16":
        raise UsageError(NO_HALF)
    if plan.scheme is not None and not plan.scheme.outputs:
        raise UsageError(NO_INTEGERS)


def save_as_ort(source: Path, plan: ExportPlan[Any], facts: dict[str, object]) -> tuple[Path, dict[str, int], dict[str, object]]:
    """Put `model.ort` and the list of its operators in the place of a written `.onnx` file, and read them back.

    Args:
        source: the file, which goes.
        plan: by which it was made.
        facts: what was read back from it.

    Returns:
        The new file, its operators, type -> count, and what is known of it.

    Raises:
        ExportError: ONNX Runtime cannot load or save it, or the result is not what was asked for.
    """
    import onnx

    properties = {entry.key: entry.value for entry in onnx.load_model(source).metadata_props}
    try:
        path = write_ort(source, plan)
    finally:
        source.unlink()
    operators, own_facts = check_ort(path, plan, properties)
    return path, operators, {**facts, **own_facts}


def write_ort(source: Path, plan: ExportPlan[Any]) -> Path:
    """Let ONNX Runtime optimise a file and save it as `model.ort` beside it, and write which operators that needs.

    Args:
        source: a `.onnx` file.
        plan: by which it was made; s8 activations are kept as on ARM.

    Raises:
        ExportError: ONNX Runtime cannot load or save it.
    """
    import onnxruntime

    path = source.with_name(FILE_NAME)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = SILENT
    options.intra_op_num_threads = 1
    options.optimized_model_filepath = str(path)
    options.add_session_config_entry("session.save_model_format", "ORT")
    signed = plan.scheme is not None and plan.scheme.activations == "s8"
    options.add_session_config_entry("session.qdqisint8allowed", "1" if signed else "0")
    try:
        onnxruntime.InferenceSession(
            source.read_bytes(),
            options,
            providers=["CPUExecutionProvider"],
            disabled_optimizers=[BLOCKS],
        )
    except runtime_errors() as error:
        raise ExportError(f"ONNX Runtime cannot save {path.name}: {first_line(error)}") from error
    path.write_bytes(in_one_order(path.read_bytes()))
    path.with_name(OPERATORS_NAME).write_text(required_operators(path), encoding="utf-8")
    return path


def check_ort(path: Path, plan: ExportPlan[Any], properties: dict[str, str]) -> tuple[dict[str, int], dict[str, object]]:
    """Read a written file back and return its operators, type -> count, and what else it is.

    Inputs and outputs are compared where the file is run.

    Raises:
        ExportError: naming what is not as asked for.
    """
    try:
        model = read_ort(path.read_bytes(), path.name)
    except RunError as error:
        raise ExportError(str(error)) from error
    foreign = sorted({node.domain for node in model.nodes} - {"", MICROSOFT})
    asked_and_found = {
        "version of the format": (VERSION, model.version),
        "opset": (plan.options.opset, model.opsets.get("")),
        "properties": (properties, model.properties),
        "operators of one processor": ([], foreign),
    }
    for what, (asked, found) in asked_and_found.items():
        if asked != found:
            raise ExportError(f"{path.name}: {what} should be {asked}, the written file has {found}")
    facts = {} if plan.scheme is None else check_integer_operators(model, path.name)
    operators = dict(sorted(Counter(node.kind for node in model.nodes).items()))
    return operators, {
        "opset": plan.options.opset,
        "ort_format_version": model.version,
        "size_bytes": path.stat().st_size,
        "nodes": len(model.nodes),
        **facts,
    }


def check_integer_operators(model: OrtModel, name: str) -> dict[str, object]:
    """Count what of a saved graph computes in integers.

    Raises:
        ExportError: rounded weights are read back to float32.
    """
    back = [node.name for node in model.nodes if node.kind == DEQUANTIZE and node.inputs[0] in model.constants]
    if back:
        raise ExportError(f"{name}: {len(back)} of the int8 weights are read back to float32 for an operator, {back[0]} first")
    kinds = Counter(node.kind for node in model.nodes if node.kind in (*INTEGER_KERNELS, QUANTIZE, DEQUANTIZE))
    return {"kernels_in_the_file": dict(sorted(kinds.items()))}


def ort_notes(opset: int) -> Iterator[str]:
    """Say what such a file is, what runs it, and what it is not good for."""
    yield (
        f"Opset {opset} in version {VERSION} of ONNX Runtime's own format; first run by {first_runtime(opset, VERSION_SINCE)}."
    )
    yield (
        "It is optimised already, for any CPU, and nothing more is done at a start; on x86 an fp32 file is slower than "
        "model.onnx, for want of the layout in blocks. It was run by the CPU provider alone; a provider that compiles (NNAPI, "
        "Core ML, CUDA) finds operators of ONNX Runtime's own in it, which it may leave to the CPU: give it model.onnx."
    )
    yield (
        f"{OPERATORS_NAME} lists what a reduced build needs: build.py --include_ops_by_config, with "
        "--enable_reduced_operator_type_support for its types too. No such build was made here."
    )


def required_operators(path: Path) -> str:
    """Return the operators of a file and the types that they are used with, as ONNX Runtime's build script reads them.

    ONNX Runtime's own list begins with the path of the file, which is left out here.
    """
    level = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        tools = importlib.import_module("onnxruntime.tools.ort_format_model")
        found: dict[str, dict[int, set[str]]] = {}
        types = tools.OperatorTypeUsageManager()
        tools.OrtFormatModelProcessor(str(path), found, types).process()
    finally:
        logging.disable(level)
    lines = [f"# Operators of {path.name}, and the types that they are used with"]
    for domain in sorted(found):
        for opset in sorted(found[domain]):
            entries = (f"{kind}{types.get_config_entry(domain, kind) or ''}" for kind in sorted(found[domain][opset]))
            lines.append(f"{domain};{opset};{','.join(entries)}")
    return "\n".join(lines) + "\n"


def in_one_order(data: bytes) -> bytes:
    """Return a file with its table of kernels' types in alphabetical order; ONNX Runtime keeps it in a hash table.

    It is the last thing that is written, so the first in the file; all behind it is taken as it is.
    """
    import flatbuffers
    from flatbuffers import encode, packer

    root = schema("InferenceSession")
    session = root.InferenceSession.GetRootAs(data, 0)
    model = session.Model()._tab.Pos
    table = model - encode.Get(packer.soffset, data, model)  # of the places of its fields; it may lie before it
    kept = min(model, table)
    builder = flatbuffers.Builder(4096)
    version = builder.CreateString(session.OrtVersion())
    resolver = _sorted_types(builder, session.KernelTypeStrResolver())
    root.Start(builder)
    root.AddOrtVersion(builder, version)
    builder.PrependUint32Slot(1, len(data), 0)  # where the model is, which is only known below
    root.AddKernelTypeStrResolver(builder, resolver)
    builder.Finish(root.End(builder), file_identifier=data[4:8])
    head = builder.Output()
    head += bytes((kept - len(head)) % ALIGNMENT)
    rewritten = root.InferenceSession.GetRootAs(head, 0)._tab
    place = rewritten.Pos + rewritten.Offset(6)  # of its second field
    head[place : place + 4] = (len(head) + model - kept - place).to_bytes(4, "little")
    return bytes(head) + data[kept:]


def _sorted_types(builder: Any, resolver: Any) -> int:
    """Write the table of all operators, each with the names of its types, each with what they are the types of."""
    all_module, operator_module, names_module, type_module = map(
        schema, ("KernelTypeStrResolver", "OpIdKernelTypeStrArgsEntry", "KernelTypeStrArgsEntry", "ArgTypeAndIndex")
    )

    def argument(entry: Any) -> int:
        type_module.Start(builder)
        type_module.AddArgType(builder, entry.ArgType())
        type_module.AddIndex(builder, entry.Index())
        return int(type_module.End(builder))

    def named(entry: Any) -> int:
        name = builder.CreateString(entry.KernelTypeStr())
        arguments = _vector(builder, [argument(entry.Args(place)) for place in range(entry.ArgsLength())])
        names_module.Start(builder)
        names_module.AddKernelTypeStr(builder, name)
        names_module.AddArgs(builder, arguments)
        return int(names_module.End(builder))

    def operator(entry: Any) -> int:
        name = builder.CreateString(entry.OpId())
        entries = [entry.KernelTypeStrArgs(place) for place in range(entry.KernelTypeStrArgsLength())]
        names = _vector(builder, [named(each) for each in sorted(entries, key=lambda each: each.KernelTypeStr())])
        operator_module.Start(builder)
        operator_module.AddOpId(builder, name)
        operator_module.AddKernelTypeStrArgs(builder, names)
        return int(operator_module.End(builder))

    entries = [resolver.OpKernelTypeStrArgs(place) for place in range(resolver.OpKernelTypeStrArgsLength())]
    operators = _vector(builder, [operator(each) for each in sorted(entries, key=lambda each: each.OpId())])
    all_module.Start(builder)
    all_module.AddOpKernelTypeStrArgs(builder, operators)
    return int(all_module.End(builder))


def _vector(builder: Any, offsets: list[int]) -> int:
    builder.StartVector(4, len(offsets), 4)
    for offset in reversed(offsets):
        builder.PrependUOffsetTRelative(offset)
    return int(builder.EndVector())
