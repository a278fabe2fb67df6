"""LiteRT's interpreter with XNNPACK, in a child process: a damaged file can crash it."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from edgevit_deploy.errors import RunError, first_line
from edgevit_deploy.registry import Availability, requires
from edgevit_deploy.session import Array, OpTime, Session, nameless_ops
from runtimes.litert.profile import TRACED_AS, profile_runs

if TYPE_CHECKING:
    from ai_edge_litert.interpreter import Interpreter

IDENTIFIER = b"TFL3"
"""At bytes 4 to 7 of every .tflite, as FlatBuffers place it."""

SIGNATURE = "serving_default"
"""The only one that the exporter writes."""


class LiteRTSession(Session):
    """One `.tflite`; XNNPACK is on, as by LiteRT's own default, and `threads` sets its threads."""

    name: ClassVar[str] = "LiteRT (CPU)"
    traced_as: ClassVar[Mapping[str, frozenset[str]]] = TRACED_AS

    _interpreter: "Interpreter | None" = None
    _signature: "Callable[..., Mapping[str, Array]] | None" = None

    @classmethod
    def probe(cls) -> Availability:
        """Say whether ai-edge-litert is installed."""
        return requires("ai_edge_litert", extra="litert")

    def _load(self) -> None:
        with self.path.open("rb") as file:
            identifier = file.read(8)[4:]
        if identifier != IDENTIFIER:
            raise RunError(f"it is no .tflite file: bytes 4 to 7 are {identifier!r}, expected {IDENTIFIER!r}")
        from ai_edge_litert.interpreter import Interpreter

        try:
            interpreter = Interpreter(model_path=str(self.path), num_threads=self.threads)
            interpreter.allocate_tensors()
        except (RuntimeError, ValueError) as error:
            raise RunError(f"LiteRT does not take it ({first_line(error)}); copy or convert it again") from error
        signatures = sorted(interpreter.get_signature_list())
        if signatures != [SIGNATURE]:
            raise RunError(f"it has the signatures {signatures}, expected [{SIGNATURE!r}]; convert it again")
        signature = interpreter.get_signature_runner(SIGNATURE)
        for what, details, specs in (
            ("inputs", signature.get_input_details(), self.inputs),
            ("outputs", signature.get_output_details(), self.outputs),
        ):
            found, expected = sorted(_described(details)), sorted(f"{spec.name} {spec.dtype} {spec.shape}" for spec in specs)
            if found != expected:
                raise RunError(f"it has the {what} {', '.join(found)}, expected {', '.join(expected)}")
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


def _described(details: Mapping[str, dict[str, Any]]) -> list[str]:
    return [f"{name} {detail['dtype'].__name__} {tuple(detail['shape'].tolist())}" for name, detail in details.items()]
