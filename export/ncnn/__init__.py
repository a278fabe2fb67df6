"""The ncnn target: TorchScript trace -> pnnx, in a child process -> `model.ncnn/`, read back and checked.

pnnx ends with status 0 whatever happens: where it cannot convert an operator it says so in passing and writes a file that ncnn
does not load. So what it says is read, and what it writes is counted, layer by layer and weight by weight.
"""

import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from edgevit_deploy.deploy.form import Form, form_beside
from edgevit_deploy.errors import ExportError, RunError, UsageError
from edgevit_deploy.exporter import Artifact, Exporter, ExportPlan, usage_beside
from edgevit_deploy.formats.ncnn import BIN_NAME, PARAM_NAME, NcnnModel, ask_for_bf16_storage, ends_of, read_ncnn_model
from edgevit_deploy.parity.bounds import NoiseMultiple
from edgevit_deploy.process.child import ChildFailure, NotStarted, how_it_ended, run_once
from edgevit_deploy.process.scratch import scratch_beside
from edgevit_deploy.registry import install_command
from edgevit_deploy.spec import Graph, InputKind, ModelSpec, Precision, Size, Task, TensorSpec
from export.torchscript import trace

if TYPE_CHECKING:
    from torch import nn

FOLDER_NAME = "model.ncnn"
TRACE_NAME = "trace.pt"

CONVERT_TIMEOUT_S = 600.0
"""Converting takes seconds; more than this is a hang."""

OBJECTION = re.compile(r"^ignore |not supported|unsupported|exceeds (ncnn|integer)|fallback to")
"""How pnnx speaks of what it could not convert, between the names of its passes and the warnings of its own PyTorch."""

STORAGES: dict[Precision, str] = {"fp32": "float32", "fp16": "float16", "bf16": "float32"}

OPTIONS_OFF = (
    "Compared with fp16_packed, fp16_storage, fp16_arithmetic, bf16_storage and Vulkan switched off. The three fp16 options are "
    "on by ncnn's own default, for this float32 file too: left on, the error is that of half precision."
)
HALF_STORAGE = (
    "Weights are stored in half precision, biases and norms in float32. Compared with fp16_packed and fp16_storage on "
    "(activations are stored in half precision where the CPU can) and fp16_arithmetic off: sums are float32. With "
    "fp16_arithmetic on, ncnn's own default, an ARM CPU also adds in half precision: 0.6 (trained, 64 x 64) to 7.5 times (random "
    "weights, 224 x 224) the error that the bound is twice of. Leave it off."
)
BF16_STORAGE_NOTE = (
    "The file holds the float32 weights of the fp32 file. It was compared with bf16_storage on, which an app must set before it "
    "loads (the name of the input layer in model.param says so; ncnn does not look there), fp16_packed, fp16_storage and "
    "fp16_arithmetic off: weights and activations are then stored in bfloat16, sums are float32. A CPU without bfloat16 "
    "instructions stores and computes the same, and may gain nothing. ncnn 1.0.20261020 computes pixel shuffles wrongly with it, "
    "which ncnn's own form of the network does not have."
)
IMAGE_IN_BF16 = "in bf16 ncnn normalises pixels in bfloat16, which costs too much"
OPTIONS: dict[Precision, str] = {"fp32": OPTIONS_OFF, "fp16": HALF_STORAGE, "bf16": BF16_STORAGE_NOTE}
GROUPED = (
    "ncnn has no batch axis, and locally grouped attention puts its groups there: pnnx writes "
    "its Reshape and what reads it as lines that are no layers; convert edgevit_xxs, or another ablation than edgevit_xxs_lsa"
)
ONE_SIZE = "Batch 1 and {height} x {width} only: ncnn has no batch axis, and model.param has this size in its reshapes."
NAMES = "ncnn calls the input in0 and the {outputs}: {manifest}, with a batch axis of 1 in front."


@dataclass(frozen=True, slots=True, kw_only=True)
class NcnnOptions:
    """Flags of the ncnn target: it has none of its own."""


class NcnnExporter(Exporter[NcnnOptions]):
    """Writes `model.ncnn/` with `model.param` and `model.bin`, for ncnn 1.0.2026 and later."""

    target: ClassVar[str] = "ncnn"
    precisions: ClassVar[Mapping[Precision, NoiseMultiple]] = {
        "fp32": NoiseMultiple(
            k=4, reason="float32 in ncnn's own blocked kernels: other sums, another erf and exp, than PyTorch's"
        ),
        "fp16": NoiseMultiple(
            k=2, reason="weights and activations in half as in the emulation, but not between fused operations; sums in float32"
        ),
        "bf16": NoiseMultiple(
            k=2, reason="stored in bfloat16 as in the emulation, but not between fused operations; 0.8 to 0.9 measured on x86"
        ),
    }
    no_integers: ClassVar[str] = (
        "files of our own ranges load, are right, and are slower: 0.8 times the speed of fp32 on x86 with every operator in "
        "integers, where bf16 has 1.4 times"
    )
    packages: ClassVar[tuple[str, ...]] = ("pnnx",)
    """ncnn itself is needed to run the file only."""

    extra: ClassVar[str | None] = "ncnn"
    options_type: ClassVar[type[NcnnOptions]] = NcnnOptions
    tasks: ClassVar[tuple[Task, ...]] = ("classify", "features")
    graphs: ClassVar[tuple[Graph, ...]] = ("deploy",)
    one_image: ClassVar[bool] = True
    dynamic_batch: ClassVar[bool] = False
    dynamic_size: ClassVar[bool] = False
    cannot_take: ClassVar[Mapping[InputKind, str]] = {
        "uint8": "an ncnn::Mat holds floats, which its Mat::from_pixels makes of bytes, from 0 to 255"
    }
    copies_on_disk: ClassVar[int] = 4
    usage: ClassVar[str] = usage_beside(__file__)
    form: ClassVar[Form] = form_beside(__file__)

    def refused_inputs(self, precision: Precision) -> Mapping[InputKind, str]:
        """Refuse images in bf16 as well: ncnn would normalise them in bfloat16 too, in a range of 0 to 255.

        On the trained network the error was 2.9 times that of bfloat16 itself.
        """
        return {**self.cannot_take, "image": IMAGE_IN_BF16} if precision == "bf16" else self.cannot_take

    def form_of(self, spec: ModelSpec) -> Form:
        """Return the target's own form; a sampler that takes another position than the first one without ncnn's Crop."""
        return self.form.change("sampler", "depthwise") if spec.block.sampler == "center" else self.form

    def refuse(self, plan: ExportPlan[NcnnOptions]) -> None:
        """Refuse groups of positions as well.

        Raises:
            UsageError: as every exporter; or the network has locally grouped attention.
        """
        super().refuse(plan)
        if plan.spec.block.local == "grouped":
            raise UsageError(GROUPED)

    def export(self, module: "nn.Module", plan: ExportPlan[NcnnOptions], folder: Path) -> Artifact:
        """Write `model.ncnn/` into `folder` and read back what was written.

        In fp16 the fp32 twin is converted as well, and the two must have the same layers. A bf16 file is the fp32 file, with the
        setting that it is to be run with.

        Raises:
            ExportError: PyTorch could not trace, pnnx could not convert an operator, or the written files are not what was
                asked for.
        """
        self.refuse(plan)
        path = folder / FOLDER_NAME
        with scratch_beside(folder) as scratch:
            trace(module, plan.example()).save(str(scratch / TRACE_NAME))
            written = convert(scratch, plan.image_size, plan.precision)
            if plan.precision == "fp16":
                check_same_layers(written, convert(scratch, plan.image_size, "fp32"))
            if plan.precision == "bf16":
                ask_for_bf16(written / PARAM_NAME)
            path.mkdir()
            for name in (PARAM_NAME, BIN_NAME):
                (written / name).rename(path / name)
        model = check_written(path, plan.precision, len(plan.outputs))
        return Artifact(
            target=self.target,
            path=path,
            inputs=(plan.input_spec(),),
            outputs=plan.outputs,
            tools={"pnnx": version("pnnx")},
            operators=model.operator_counts(),
            facts=_facts(path, model),
            notes=tuple(_notes(plan)),
        )


def convert(scratch: Path, size: Size, precision: Precision) -> Path:
    """Run pnnx on `trace.pt` in a scratch folder, a trace that takes one image of that size; return the folder with the model.

    Whatever else pnnx writes (Python, its own format, ONNX) stays in the scratch folder.

    Raises:
        ExportError: with pnnx's own words.
    """
    folder = scratch / precision
    folder.mkdir()
    height, width = size
    half = int(precision == "fp16")  # 1 is pnnx's own default
    settings = [f"inputshape=[1,3,{height},{width}]", f"fp16={half}", f"ncnnparam={PARAM_NAME}", f"ncnnbin={BIN_NAME}"]
    run_pnnx([str(pnnx_program()), f"../{TRACE_NAME}", *settings], folder)
    return folder


def pnnx_program() -> Path:
    """Return pnnx's executable, which its Python package carries; importing that package would only start it."""
    spec = find_spec("pnnx")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    return Path(spec.submodule_search_locations[0]) / ("pnnx.exe" if sys.platform == "win32" else "pnnx")


def run_pnnx(command: list[str], folder: Path) -> None:
    """Run pnnx in a folder and believe only what it says, not its status; an interrupt here ends it too.

    Raises:
        ExportError: it crashed, hung, objected to an operator or wrote nothing.
    """
    try:
        ended = run_once(command, timeout_s=CONVERT_TIMEOUT_S, folder=folder)
    except NotStarted as failure:
        raise ExportError(f"pnnx {failure}; {install_command('ncnn')}") from failure
    except ChildFailure as failure:
        raise ExportError(f"pnnx {failure}") from failure
    lines = (ended.stdout + b"\n" + ended.stderr).decode(errors="replace").splitlines()
    objections = list(dict.fromkeys(line.strip() for line in lines if OBJECTION.search(line)))
    if ended.status < 0:
        raise ExportError(f"pnnx {how_it_ended(ended.status)}{_list(objections)}")
    if ended.status or objections:
        raise ExportError(f"pnnx could not convert the model (status {ended.status}){_list(objections)}")
    for name in (PARAM_NAME, BIN_NAME):
        if not (folder / name).is_file():
            raise ExportError(f"pnnx ended without a word and without {name}")


def ask_for_bf16(path: Path) -> None:
    """Write into `model.param` that it is to be run with storage in bfloat16.

    Raises:
        ExportError: pnnx wrote another input than it should.
    """
    try:
        ask_for_bf16_storage(path)
    except RunError as error:
        raise ExportError(f"pnnx wrote what ncnn could not run: {error}") from error


def check_same_layers(half: Path, single: Path) -> None:
    """Refuse an fp16 model that differs from its fp32 twin in more than the storage of its weights.

    Raises:
        ExportError: naming the first layer that differs.
    """
    pairs = zip_longest(*((folder / PARAM_NAME).read_text().splitlines() for folder in (half, single)), fillvalue="none")
    for line, twin in pairs:
        if line != twin:
            raise ExportError(f"pnnx wrote another layer in fp16 ({line.strip()}) than in fp32 ({twin.strip()})")


def check_written(path: Path, precision: Precision, outputs: int = 1) -> NcnnModel:
    """Read a written model back, and compare it with what was asked for.

    Raises:
        ExportError: a layer that ncnn does not have, weights that do not fit the layers, another storage or other ends.
    """
    try:
        model = read_ncnn_model(path)
    except RunError as error:
        raise ExportError(f"pnnx wrote what ncnn could not run: {error}") from error
    found = {"weights": set(model.tagged), "inputs and outputs": model.ends(), "bf16 storage": model.bf16_storage}
    asked = {"weights": {STORAGES[precision]}, "inputs and outputs": ends_of(outputs), "bf16 storage": precision == "bf16"}
    for what, value in asked.items():
        if found[what] != value:
            raise ExportError(f"{path.name}: {what} in the written files: {found[what]}, asked for: {value}")
    return model


def _facts(path: Path, model: NcnnModel) -> dict[str, object]:
    return {
        "layers": len(model.layers),
        "layer_types": model.layer_counts(),
        "weights_by_storage": model.tagged,
        "other_float32_weights": model.raw,
        "param_bytes": (path / PARAM_NAME).stat().st_size,
        "bin_bytes": (path / BIN_NAME).stat().st_size,
    }


def _list(objections: list[str]) -> str:
    """Return the first objection, and how many others there are, as the end of a line."""
    if not objections:
        return ""
    more = f", and {len(objections) - 1} others" if len(objections) > 1 else ""
    return f": {objections[0]}{more}"


def _notes(plan: ExportPlan[NcnnOptions]) -> Iterator[str]:
    height, width = plan.image_size
    yield OPTIONS[plan.precision]
    yield ONE_SIZE.format(height=height, width=width)
    yield _names(plan.input_spec(), plan.outputs)


def _names(source: TensorSpec, outputs: tuple[TensorSpec, ...]) -> str:
    """Say what ncnn calls the ends of a model."""
    (_, blobs), names = ends_of(len(outputs)), [f"`{spec.name}`" for spec in outputs]
    called = [f"output{'s' if len(blobs) > 1 else ''} {_and(blobs)}", f"in the manifest `{source.name}` and {_and(names)}"]
    return NAMES.format(outputs=called[0], manifest=called[1])


def _and(names: Sequence[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
