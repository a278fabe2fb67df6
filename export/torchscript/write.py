"""Writing a `.ptl`: PyTorch's deprecated lite writer, what is left out of its archive, and the checks of what was written."""

import io
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from edgevit_deploy.errors import ExportError, first_line
from edgevit_deploy.exporter import zeros
from edgevit_deploy.formats.torchscript import read_format_version, read_lite_file
from edgevit_deploy.process.child import ChildFailure, python, run_once

Shape = tuple[int, ...]

CHILD = "import sys; from export.torchscript.write import optimise_and_write; optimise_and_write(*sys.argv[1:])"
CHILD_TIMEOUT_S = 600.0
"""Optimising takes seconds; more than this is a hang."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Promise:
    """What a written file must do: run on each input shape of a type, and return outputs of such shapes for it, in that order.

    The first input is bundled, if asked.
    """

    shapes: tuple[Shape, ...]
    outputs: tuple[tuple[Shape, ...], ...]
    dtype: str
    bundled_inputs: bool


def write_file(program: Any, path: Path, promise: Promise) -> None:
    """Write a frozen program as a lite-interpreter file, check what was written and run it at every promised size.

    Raises:
        ExportError: naming what is not as promised.
    """
    from torch.utils.bundled_inputs import bundle_inputs

    with quiet():
        if promise.bundled_inputs:
            program = bundle_inputs(program, [(zeros(promise.shapes[0], promise.dtype),)])
        path.write_bytes(without_positions(save_for_lite_interpreter(program)))
    if objections := read_lite_file(path).objections():
        raise ExportError(f"{path.name} would not load in PyTorch Mobile 1.13: {'; '.join(objections)}")
    run_as_promised(path, promise)


def save_for_lite_interpreter(program: Any) -> bytes:
    """The one call of PyTorch's deprecated writer (pytorch PR #163289); pyproject.toml pins the versions that have it."""
    return program._save_to_buffer_for_lite_interpreter()  # type: ignore[no-any-return]


def without_positions(saved: bytes) -> bytes:
    """Return an archive without the source positions, which are paths of this machine; nothing reads them to run."""
    import torch

    written = io.BytesIO()
    reader, writer = torch._C.PyTorchFileReader(io.BytesIO(saved)), torch._C.PyTorchFileWriter(written)
    writer.set_min_version(read_format_version(reader))
    for name in reader.get_all_records():
        # The writer adds its version and the checksum of it all itself.
        if not name.endswith((".debug_pkl", "version", ".data/serialization_id")):
            record = reader.get_record(name)
            writer.write_record(name, record, len(record))
    writer.write_end_of_file()
    return written.getvalue()


def run_as_promised(path: Path, promise: Promise) -> None:
    """Load a written file in the lite interpreter and run it at every promised shape; the numbers are judged by parity.

    Raises:
        ExportError: it does not load, a size is baked into it, or its bundled input is not there.
    """
    import torch
    from torch.jit import mobile

    from edgevit_deploy.model.ends import as_tuple

    def refuse_unless_equal(what: str, found: object, expected: object) -> None:
        if found != expected:
            raise ExportError(f"{path.name}: {what} should be {expected}, the written file has {found}")

    with torch.inference_mode():
        try:
            program = mobile._load_for_lite_interpreter(str(path))  # type: ignore[no-untyped-call]
            for shape, expected in zip(promise.shapes, promise.outputs, strict=True):
                outputs = as_tuple(program(zeros(shape, promise.dtype)))
                refuse_unless_equal(f"what it returns for {shape}", tuple(tuple(output.shape) for output in outputs), expected)
            if promise.bundled_inputs:
                bundled = [(tuple(example.shape), example.dtype) for (example,) in program.run_method("get_all_bundled_inputs")]
                refuse_unless_equal("the bundled inputs", bundled, [(promise.shapes[0], getattr(torch, promise.dtype))])
        except RuntimeError as error:
            raise ExportError(f"{path.name} does not run in the lite interpreter: {first_line(error)}") from error


def write_in_child(program: Any, path: Path, promise: Promise, code: str = CHILD) -> None:
    """Optimise, write and run in a child process, which PyTorch's passes for mobile are known to crash.

    Raises:
        ExportError: it failed, with its last line, or crashed, with the signal.
    """
    with tempfile.TemporaryDirectory() as scratch:
        source = Path(scratch) / "frozen.pt"
        with quiet():
            program.save(str(source))
        try:
            ended = run_once(
                python(code, str(source), str(path), msgspec.json.encode(promise).decode()), timeout_s=CHILD_TIMEOUT_S
            )
        except ChildFailure as failure:
            raise ExportError(f"optimize_for_mobile {failure}; leave out --optimize-for-mobile") from failure
    if ended.status:
        raise ExportError(f"optimize_for_mobile {ended.how}; leave out --optimize-for-mobile")


def optimise_and_write(source: str, destination: str, promise: str) -> None:
    """Do the child's work: optimise a saved frozen program, write it and run it; the promise is JSON."""
    import torch
    from torch.utils.mobile_optimizer import optimize_for_mobile

    program = optimize_for_mobile(torch.jit.load(source))  # type: ignore[no-untyped-call]
    write_file(program, Path(destination), msgspec.json.decode(promise, type=Promise))


@contextmanager
def quiet() -> Iterator[None]:
    """Silence PyTorch's warnings: the deprecation is in the notes, and whether a traced size is baked in gets decided by runs."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
