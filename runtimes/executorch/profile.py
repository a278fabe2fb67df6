"""ExecuTorch's own profile, an ETDump: what each operator of a run took, inside XNNPACK's delegates and outside of them.

Format: ExecuTorch, devtools/etdump/etdump_schema_flatcc.fbs of release 1.5, a FlatBuffer behind four bytes of length. Times are
nanoseconds; XNNPACK counts each of its operators in whole microseconds.
"""

from collections.abc import Iterator

from edgevit_deploy.errors import RunError
from edgevit_deploy.outside.flat_table import DAMAGED, FlatTable, TooManyError
from runtimes.executorch import xnnpack as xnnpack_ops

MAGIC = b"ED00"
PREFIX_BYTES = 4

EXECUTION = "Execute"
"""The name of each run; loading has others."""

NATIVE_CALL = "native_call_"
"""What stands before the name of an operator outside of every delegate; other names are of what encloses operators."""

TRACED_AS: dict[str, frozenset[str]] = xnnpack_ops.TRACED_AS | {
    "mean": frozenset({"aten::mean"}),
    "native_layer_norm": frozenset({"aten::layer_norm"}),
    "select_copy": frozenset({"aten::select"}),
}
"""The converter keeps the order of the trace; in lower case what runs outside of the delegates."""


def read_etdump(dump: bytes) -> tuple[tuple[tuple[str, float], ...], ...]:
    """Return, for each run in a dump, the kind and the time in ms of every operator, in the order of execution.

    Raises:
        RunError: it is no ETDump, or its tables point outside of it.
    """
    buffer = dump[PREFIX_BYTES:]
    if buffer[4:8] != MAGIC:
        raise RunError(f"ExecuTorch wrote a profile without {MAGIC.decode()} at its start: not the format of release 1.5")
    try:
        return tuple(tuple(_operators(run)) for run in FlatTable.root(buffer).children(1) if run.text(0) == EXECUTION)
    except DAMAGED as error:
        raise RunError("ExecuTorch wrote a damaged profile: a table of it points outside of it; measure again") from error
    except TooManyError as error:
        raise RunError(f"ExecuTorch wrote a damaged profile: {error}; measure again") from error


def _operators(run: FlatTable) -> Iterator[tuple[str, float]]:
    for event in run.children(3):
        profiled = event.child(0)
        name, inside = profiled.text(0), profiled.text(4)
        time_ms = (profiled.number(7) - profiled.number(6)) / 1e6
        if inside:  # "Fully Connected (NC, F32) GEMM #12"
            yield xnnpack_ops.kind_of(inside), time_ms
        elif name.startswith(NATIVE_CALL):  # "native_call_native_layer_norm.out"
            yield name.removeprefix(NATIVE_CALL).partition(".")[0], time_ms
