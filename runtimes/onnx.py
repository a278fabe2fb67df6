"""ONNX Runtime on the CPU and on NVIDIA GPUs."""

import json
import statistics
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, ClassVar

from edgevit_deploy.errors import MissingError, RunError, first_line
from edgevit_deploy.formats.onnx import SILENT, OnnxFile, read_onnx, runtime_errors
from edgevit_deploy.registry import Availability, requires
from edgevit_deploy.session import Array, OpTime, Session
from edgevit_deploy.spec import PROGRAM, TensorSpec

if TYPE_CHECKING:
    import onnxruntime

DTYPES = {"tensor(float)": "float32", "tensor(float16)": "float16", "tensor(double)": "float64", "tensor(uint8)": "uint8"}
"""How ONNX Runtime calls the types."""

KERNEL = "_kernel_time"
"""How the profiler ends the names of the events that are a node's computation."""


class OnnxRuntimeSession(Session):
    """A `.onnx` file on ONNX Runtime's CPU provider, with every graph optimisation on."""

    name: ClassVar[str] = "ONNX Runtime (CPU)"
    packages: ClassVar[tuple[str, ...]] = ("onnx", "onnxruntime")
    provider: ClassVar[str] = "CPUExecutionProvider"
    provider_options: ClassVar[dict[str, str]] = {}

    _session: "onnxruntime.InferenceSession | None" = None

    @classmethod
    def probe(cls) -> Availability:
        """Say whether onnx and ONNX Runtime are installed."""
        return requires("onnx", "onnxruntime")

    def _load(self) -> None:
        session = self._start(read_onnx(self.path), self.path.name, self.threads)
        for what, expected, nodes in (
            ("inputs", self.inputs, session.get_inputs()),
            ("outputs", self.outputs, session.get_outputs()),
        ):
            found = tuple(
                TensorSpec(name=node.name, shape=tuple(node.shape), dtype=DTYPES.get(node.type, node.type)) for node in nodes
            )
            if found != expected:
                raise RunError(f"{self.path.name}: expected the {what} {_describe(expected)}, the file has {_describe(found)}")
        self._session = session

    def _run(self, feeds: Mapping[str, Array]) -> Mapping[str, Array]:
        assert self._session is not None
        names = [spec.name for spec in self.outputs]
        try:
            return dict(zip(names, self._session.run(names, dict(feeds)), strict=True))
        except runtime_errors() as error:
            raise RunError(f"{self.name} failed on {self.path.name}: {first_line(error)}") from error

    def _unload(self) -> None:
        self._session = None

    def profile(self, feeds: Mapping[str, Array], runs: int) -> tuple[OpTime, ...]:
        """Run a second session of the same file under ONNX Runtime's profiler."""
        self._check_feeds(feeds)
        with TemporaryDirectory() as folder:
            session = self._start(read_onnx(self.path), self.path.name, self.threads, profile_to=Path(folder) / "profile")
            for _ in range(1 + runs):
                session.run(None, dict(feeds))
            events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
        times_us: dict[tuple[str, str], list[int]] = defaultdict(list)
        for event in events:
            if event.get("cat") == "Node" and event["name"].endswith(KERNEL):
                times_us[event["name"].removesuffix(KERNEL), event["args"]["op_name"]].append(event["dur"])
        return tuple(
            OpTime(name=name, kind=kind, time_ms=statistics.median(times[1:]) / 1000) for (name, kind), times in times_us.items()
        )

    @classmethod
    def _start(
        cls, file: OnnxFile, what: str, threads: int | None, profile_to: Path | None = None
    ) -> "onnxruntime.InferenceSession":
        """Start a model on this provider and no other; left alone, ONNX Runtime would go on with the CPU."""
        import onnxruntime

        if cls.provider not in onnxruntime.get_available_providers():
            raise MissingError(f"the installed onnxruntime has no {cls.provider}; see `{PROGRAM} doctor`")
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
        options.log_severity_level = SILENT
        options.inter_op_num_threads = 1
        options.intra_op_num_threads = threads or 0  # 0: one a core
        if threads == 1:
            options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        else:  # while it runs its threads may wait busily, afterwards they would take the cores from other sessions
            options.add_session_config_entry("session.force_spinning_stop", "1")
        for setting, value in file.settings.items():
            options.add_session_config_entry(setting, value)
        if profile_to is not None:
            options.enable_profiling = True
            options.profile_file_prefix = str(profile_to)
        providers = [(cls.provider, cls.provider_options)]
        try:
            session = onnxruntime.InferenceSession(file.data, options, providers=providers, enable_fallback=0)
        except runtime_errors() as error:
            raise RunError(f"{cls.name} cannot load {what} ({first_line(error)}); convert again") from error
        if cls.provider not in session.get_providers():
            raise RunError(f"{cls.provider} did not start on this host, only {', '.join(session.get_providers())}")
        return session


class OnnxRuntimeCudaSession(OnnxRuntimeSession):
    """A `.onnx` file on ONNX Runtime's CUDA provider; TF32 is off, so that float32 is float32."""

    name: ClassVar[str] = "ONNX Runtime (CUDA)"
    memory_limited: ClassVar[bool] = False
    provider: ClassVar[str] = "CUDAExecutionProvider"
    provider_options: ClassVar[dict[str, str]] = {"use_tf32": "0"}

    @classmethod
    def probe(cls) -> Availability:
        """Say whether ONNX Runtime has CUDA and whether it starts here, by starting it on a graph of one node."""
        installed = super().probe()
        if not installed.ok:
            return installed
        try:
            cls._start(_identity(), "a graph of one node", threads=1)
        except MissingError:
            fix = "pip uninstall -y onnxruntime && pip install onnxruntime-gpu"
            return Availability(ok=False, detail="the installed onnxruntime is built without CUDA", fix=fix)
        except RunError as error:
            return Availability(ok=False, detail=str(error), fix="install an NVIDIA driver, CUDA and cuDNN; nvidia-smi must work")
        return Availability(ok=True, detail="onnxruntime with CUDA")


def _identity() -> OnnxFile:
    """Return the smallest model: one float32 in, the same out."""
    from onnx import TensorProto, helper

    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "probe", ends[:1], ends[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return OnnxFile(data=model.SerializeToString(), settings={})


def _describe(specs: tuple[TensorSpec, ...]) -> str:
    return ", ".join(f"{spec.name} {spec.dtype} {spec.shape}" for spec in specs)
