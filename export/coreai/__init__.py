"""The Core AI target: torch.export -> Apple's converter -> `model.aimodel`, named alike in every run, read back and checked."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, cast

from edgevit_deploy.deploy.form import Form
from edgevit_deploy.deploy.stored import Stored
from edgevit_deploy.errors import ExportError, UsageError
from edgevit_deploy.exporter import Artifact, Exporter, ExportPlan, Quantisation, usage_beside
from edgevit_deploy.formats.coreai import Program, available, load_program
from edgevit_deploy.formats.coreai.description import read_description
from edgevit_deploy.formats.coreai.stored import producer, read_stored, readers_of_eight_bits
from edgevit_deploy.parity.bounds import NoiseMultiple
from edgevit_deploy.process.scratch import scratch_beside
from edgevit_deploy.registry import Availability
from edgevit_deploy.spec import INPUT_NAME, Precision, Task
from edgevit_deploy.spec.description import Description
from export.coreai.eight_bits import EIGHT_BITS, NOTES

if TYPE_CHECKING:
    from torch import nn

    from edgevit_deploy.model.ends import PreparedModel

ASSET_NAME = "model.aimodel"

SYSTEMS = {"v27": "iOS 27, macOS 27"}
"""What the library can write for -> the oldest systems that load it."""

FEWER_BITS = ("w4", "w6", "int4", "palette4", "palette6")
FEWER_BITS_LOSE = (
    "coreai has no weights of fewer than 8 bits here: tables of 6 bits leave 18.8 dB and of 4 bits 11 dB of a random network's "
    "outputs where 8 bits leave 32; use --precision palette8"
)

BILINEAR = (
    "the operator of bilinear upsampling, interpolate, is not in the table of the evaluation that judges a Core AI file; "
    "convert edgevit_xxs_bilinear for another target"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class CoreAIOptions:
    """Flags of the Core AI target.

    Attributes:
        minimum_os: oldest release of iOS, macOS and the others that must load the file; v27 is the first with Core AI.
    """

    minimum_os: Literal["v27"] = "v27"


class CoreAIExporter(Exporter[CoreAIOptions]):
    """Writes `model.aimodel`, with float32 outputs and a float32 input, or one of bytes."""

    target: ClassVar[str] = "coreai"
    precisions: ClassVar[Mapping[Precision, NoiseMultiple]] = {
        "fp32": NoiseMultiple(k=4, reason="float32 in kernels that sum in another order than PyTorch, with another exp and erf"),
        "fp16": NoiseMultiple(k=2, reason="same storage precision as the emulation; biases are added, and rounded, apart"),
    }
    quantised: ClassVar[Mapping[Precision, Quantisation]] = EIGHT_BITS
    packages: ClassVar[tuple[str, ...]] = ("coreai_torch",)
    """Converting needs no Apple hardware."""

    extra: ClassVar[str | None] = "coreai"
    in_all: ClassVar[bool] = False
    options_type: ClassVar[type[CoreAIOptions]] = CoreAIOptions
    tasks: ClassVar[tuple[Task, ...]] = ("classify", "features")
    dynamic_batch: ClassVar[bool] = True
    dynamic_size: ClassVar[bool] = True
    copies_on_disk: ClassVar[int] = 3
    usage: ClassVar[str] = usage_beside(__file__)
    form: ClassVar[Form] = Form()

    @classmethod
    def probe(cls) -> Availability:
        """Say whether the converter is there, and can be."""
        return available(*cls.packages, extra=cls.extra)

    def refuse(self, plan: ExportPlan[CoreAIOptions]) -> None:
        """Refuse weights of fewer than eight bits, by name, systems that the library cannot write for, and bilinear upsampling.

        Raises:
            UsageError: naming the flag that would work.
        """
        if plan.precision in FEWER_BITS:
            raise UsageError(FEWER_BITS_LOSE)
        super().refuse(plan)
        if plan.options.minimum_os not in SYSTEMS:
            raise UsageError(f"coreai has no --minimum-os {plan.options.minimum_os}; use {' or '.join(SYSTEMS)}")
        if plan.spec.block.attention == "sparse" and plan.spec.block.spread == "bilinear":
            raise UsageError(BILINEAR)

    def export(self, module: "nn.Module", plan: ExportPlan[CoreAIOptions], folder: Path) -> Artifact:
        """Write `model.aimodel` into `folder` and read back what was written.

        In half precision the fp32 twin is converted as well, and the two programs must be the same but for rounding.

        Raises:
            ExportError: the converter refused, the program is not its fp32 twin, or the written file is not what was asked for.
        """
        from edgevit_deploy.deploy.quantised import rounded_operators
        from export.coreai.asset import write_asset
        from export.coreai.convert import convert
        from export.coreai.twin import compare_with_twin

        path = folder / ASSET_NAME
        prepared = cast("PreparedModel", module)
        half = plan.precision != "fp32"
        write_asset(convert(prepared, plan, half=half), plan, path)
        program = load_program(path)
        facts = _check_written(program, plan, path)
        if half:
            with scratch_beside(folder) as scratch:
                twin = scratch / "twin.aimodel"
                write_asset(convert(prepared, plan, half=False), plan, twin)
                facts["same_as_fp32_but_rounded"] = asdict(compare_with_twin(path, twin))
        if plan.scheme is not None:
            facts["rounded"] = _check_rounded(program, plan.scheme.calibrated, len(rounded_operators(module)), path)
        return Artifact(
            target=self.target,
            path=path,
            inputs=(plan.input_spec(),),
            outputs=plan.outputs,
            tools={name: version(name) for name in ("coreai-core", "coreai-torch", "torch")},
            operators=program.count_operators(),
            facts=facts,
            notes=tuple(_notes(plan)),
        )

    def stored(self, artifact: Artifact) -> Stored:
        """Read by what the written asset rounds.

        Raises:
            RunError: it cannot be read, or rounds in a way that is never written here.
        """
        return read_stored(artifact.path)

    def description(self, artifact: Artifact) -> Description | None:
        """Return what its metadata say of labels and pixels.

        Raises:
            RunError: it cannot be read.
        """
        return read_description(artifact.path)


def _check_written(program: Program, plan: ExportPlan[CoreAIOptions], path: Path) -> dict[str, Any]:
    """Compare a program that was read back with what was asked for; return what it is, for people to read."""
    main = program.main
    dtypes = {value.key: value.dtype for value in main.inputs}
    dtypes |= {result.key: result.dtype for operation in main.operations for result in operation.results}
    shapes = {result.key: result.shape for operation in main.operations for result in operation.results}
    free = [None if isinstance(size, str) else size for size in plan.input_spec().shape]
    asked = {
        "inputs": [(INPUT_NAME, plan.input_spec().dtype, free)],
        "outputs": [(spec.name, spec.dtype, len(spec.shape)) for spec in plan.outputs],
        "composites": {graph.name for graph in program.graphs.values() if graph is not main},
    }
    inputs = zip(main.input_names, main.inputs, strict=True)
    outputs = zip(main.output_names, main.outputs, strict=True)
    found = {
        "inputs": [(name, value.dtype, list(value.shape)) for name, value in inputs],
        "outputs": [(name, dtypes[key], len(shapes[key])) for name, key in outputs],
        "composites": {graph.name for graph in program.graphs.values() if graph.composite is not None},
    }
    for name, value in asked.items():
        if found[name] != value:
            raise ExportError(f"{path.name}: {name} in the written file: {found[name]}, asked for: {value}")
    constants = [operation.constant for graph in program.graphs.values() for operation in graph.operations]
    return {
        "minimum_os": SYSTEMS[plan.options.minimum_os],
        "constants_bytes": sum(constant.nbytes for constant in constants if constant is not None),
        "composites": sorted({graph.composite.kind for graph in program.graphs.values() if graph.composite is not None}),
    }


def _check_rounded(program: Program, calibrated: bool, expected: int, path: Path) -> dict[str, int]:
    """Compare what a written program rounds with how many operators of the network do; return it for people to read."""
    readers = list(readers_of_eight_bits(program.main))
    if len(readers) != expected:
        raise ExportError(f"{path.name}: {len(readers)} operators have weights in eight bits, {expected} should have")
    sources = [producer(program.main, operation.operands[0]) for operation in readers]
    rounded = sum(source is not None and source.kind == "dequantize" for source in sources)
    if calibrated and rounded != expected:
        raise ExportError(f"{path.name}: {expected - rounded} operators take an input that is not rounded")
    return {"weights_in_eight_bits": expected, "inputs_in_eight_bits": rounded}


def _notes(plan: ExportPlan[CoreAIOptions]) -> Iterator[str]:
    yield (
        f"Loads on {SYSTEMS[plan.options.minimum_os]} and later. Where the verdict names the Core AI reference evaluation, the "
        "saved program was evaluated operator by operator; Apple's compiler and the arithmetic of a CPU, a GPU and a Neural "
        "Engine of Apple's had no part in it: replay golden/ on the device, on each of them."
    )
    if plan.precision == "fp16":
        yield (
            "Same operators and wiring as the fp32 conversion of this model, constants rounded; normalisations compute their "
            "statistics in float32."
        )
    yield from NOTES.get(plan.precision, ())
    if plan.takes != "tensor":
        yield "The input is a tensor of pixels, 0 to 255, normalised in float32 by the file; resizing and cropping are the app's."
    if plan.dynamic_batch or plan.dynamic_size:
        yield "Core AI may plan free axes less well than fixed ones; for the Neural Engine prefer fixed sizes."
