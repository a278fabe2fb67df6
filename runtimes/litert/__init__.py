"""LiteRT's interpreter with XNNPACK, in a child process: a damaged file can crash it."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, ClassVar

from edgevit_deploy.errors import RunError, first_line
from edgevit_deploy.formats.litert import check_identifier, find_signature, read_ends
from edgevit_deploy.registry import Availability, requires
from edgevit_deploy.session import Array, OpTime, Session, nameless_ops
from edgevit_deploy.spec import TensorSpec
from runtimes.litert.profile import TRACED_AS, profile_runs

if TYPE_CHECKING:
    from ai_edge_litert.interpreter import Interpreter


class LiteRTSession(Session):
    """One `.tflite`; XNNPACK is on, as by LiteRT's own default, and `threads` sets its threads."""

    name: ClassVar[str] = "LiteRT (CPU)"
    packages: ClassVar[tuple[str, ...]] = ("ai_edge_litert",)
    extra: ClassVar[str | None] = "litert"
    traced_as: ClassVar[Mapping[str, frozenset[str]]] = TRACED_AS

    _interpreter: "Interpreter | None" = None
    _signature: "Callable[..., Mapping[str, Array]] | None" = None

    @classmethod
    def probe(cls) -> Availability:
        """Say whether ai-edge-litert is installed."""
        return requires("ai_edge_litert", extra="litert")

    def _load(self) -> None:
        check_identifier(self.path)
        from ai_edge_litert.interpreter import Interpreter

        try:
            interpreter = Interpreter(model_path=str(self.path), num_threads=self.threads)
            interpreter.allocate_tensors()
        except (RuntimeError, ValueError) as error:
            raise RunError(f"LiteRT does not take it ({first_line(error)}); copy or convert it again") from error
        signature = find_signature(interpreter)
        for what, found, expected in (
            ("inputs", read_ends(signature.get_input_details()), self.inputs),
            ("outputs", read_ends(signature.get_output_details()), self.outputs),
        ):
            if _described(found) != _described(expected):
                raise RunError(f"it has the {what} {', '.join(_described(found))}, expected {', '.join(_described(expected))}")
        self._interpreter, self._signature = interpreter, signature

    def _run(self, feeds: Mapping[str, Array]) -> Mapping[str, Array]:
        assert self._signature is not None
        return self._signature(**feeds)

    def profile(self, feeds: Mapping[str, Array], runs: int) -> tuple[OpTime, ...]:
        """Load the file a second time, in the library that has a profiler; operators inside of XNNPACK among the others."""
        self._check_feeds(feeds)
        (image,) = feeds.values()
        return nameless_ops(profile_runs(self.path, image, len(self.outputs), self.threads, runs))

    def _unload(self) -> None:
        self._interpreter = self._signature = None


def _described(specs: tuple[TensorSpec, ...]) -> list[str]:
    return sorted(f"{spec.name} {spec.dtype} {spec.shape}" for spec in specs)
