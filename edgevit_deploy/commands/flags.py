"""The flags that several commands share, as dataclasses whose fields are the flags."""

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from edgevit_deploy.calibration.choice import CalibrationChoice, JudgeChoice
from edgevit_deploy.errors import UsageError
from edgevit_deploy.model.loading import ModelOrigin
from edgevit_deploy.parity.decisions import MIN_AGREEMENT
from edgevit_deploy.request import FileRequest, read_triple
from edgevit_deploy.spec import Graph, InputKind, Interpolation, Precision, PreprocessChoice, ResizeMode, Size, Task


def typed(**given: Path | str | float | None) -> str:
    """Return flags as they are typed, with a space in front of each; None is left out, and of a path all but the name."""
    words = {name: value.name if isinstance(value, Path) else str(value) for name, value in given.items() if value is not None}
    return "".join(f" --{name.replace('_', '-')} {shlex.quote(word)}" for name, word in words.items())


@dataclass(frozen=True, kw_only=True)
class NetworkFlags:
    """Which network, whatever its weights.

    Attributes:
        model: Published variant: edgevit_xxs, edgevit_xs, edgevit_s, or _table1 for the paper's depths; or an ablation of XXS:
            _without_la, _lsa, _center, _avg, _max, _without_lp, _bilinear.
        num_classes: Classes of the head; with --weights it is read from the file.
        labels: Text file with one class name a line.
        seed: Seed of the random weights. [default: 0]
    """

    model: str | None = None
    num_classes: int | None = None
    labels: Path | None = None
    seed: int | None = None

    def origin_of(self, weights: Path | None, image_size: Size | None, preprocess: PreprocessChoice | None = None) -> ModelOrigin:
        """Return these flags, with a checkpoint, as the core's own type."""
        return ModelOrigin(
            model=self.model,
            weights=weights,
            num_classes=self.num_classes,
            image_size=image_size,
            labels=self.labels,
            seed=self.seed,
            preprocess=preprocess,
        )


@dataclass(frozen=True, kw_only=True)
class ModelFlags(NetworkFlags):
    """Which network and which weights.

    Attributes:
        weights: Checkpoint (.pth, .pt, .bin, .safetensors). Without it the weights are random.
    """

    weights: Path | None = None

    def origin(self, image_size: Size | None) -> ModelOrigin:
        """Return these flags as the core's own type."""
        return self.origin_of(self.weights, image_size)

    def words(self) -> str:
        """Return these flags but --model as they are typed."""
        return typed(weights=self.weights, num_classes=self.num_classes, labels=self.labels, seed=self.seed)


@dataclass(frozen=True, kw_only=True)
class PreprocessFlags:
    """How a picture becomes an input, where the checkpoint does not tell or tells it wrong.

    Attributes:
        mean: R,G,B, in units of 0 to 1. [default: the checkpoint's, else ImageNet's]
        std: R,G,B, in units of 0 to 1. [default: the checkpoint's, else ImageNet's]
        crop_ratio: Share of each side of the resized picture that is kept; 1 for no crop. [default: the checkpoint's, else 0.875]
        interpolation: Of the resize. [default: the checkpoint's, else bicubic]
        resize_mode: cover keeps the picture's shape and crops, letterbox and pad keep it and fill, stretch does not keep it.
            [default: the checkpoint's, else cover]
    """

    mean: str | None = None
    std: str | None = None
    crop_ratio: float | None = None
    interpolation: Interpolation | None = None
    resize_mode: ResizeMode | None = None

    def choice(self) -> PreprocessChoice:
        """Return these flags as the core's own type.

        Raises:
            UsageError: a value that cannot be; the message names the flag.
        """
        return PreprocessChoice(
            mean=None if self.mean is None else read_triple("--mean", self.mean),
            std=None if self.std is None else read_triple("--std", self.std),
            crop_ratio=self.crop_ratio,
            interpolation=self.interpolation,
            resize_mode=self.resize_mode,
        )


@dataclass(frozen=True, kw_only=True)
class RangeFlags:
    """Where the ranges of a quantised precision come from.

    Attributes:
        calibration: Folder of pictures as the network was trained on, that show how large values get (at most 256 are taken,
            spread evenly); or `synthetic` for drawn ones.
        ranges: A calibration.json that an earlier bundle has, in place of pictures.
        percentile: Leave out the share of values beyond it on either side, for example 99.99. [default: none is left out]
    """

    calibration: Path | None = None
    ranges: Path | None = None
    percentile: float | None = None

    def calibration_choice(self) -> CalibrationChoice:
        """Return where ranges come from.

        Raises:
            UsageError: flags that do not go together.
        """
        return CalibrationChoice(pictures=self.calibration, ranges=self.ranges, percentile=self.percentile)

    def words(self) -> str:
        """Return these flags as they are typed."""
        return typed(calibration=self.calibration, ranges=self.ranges, percentile=self.percentile)

    def as_typed(self) -> str:
        """Return these flags as they can be typed again: of a path the whole."""
        calibration, ranges = self.calibration and str(self.calibration), self.ranges and str(self.ranges)
        return typed(calibration=calibration, ranges=ranges, percentile=self.percentile)


@dataclass(frozen=True, kw_only=True)
class RoundingFlags(RangeFlags):
    """How a quantised precision is rounded, and on which pictures the result is judged.

    Attributes:
        judge: Folder of other pictures, labelled or not, on which the file must decide as the network does.
        min_agreement: What the lower end of the 95 % interval of the agreement must reach. [default: 0.98]
    """

    judge: Path | None = None
    min_agreement: float | None = None

    def judge_choice(self) -> JudgeChoice | None:
        """Return what decisions are judged on; None where nothing was said.

        Raises:
            UsageError: a bound without pictures, or one that is no share.
        """
        if self.judge is None:
            if self.min_agreement is not None:
                raise UsageError("--min-agreement is a bound for the pictures of --judge; add --judge DIR, or drop it")
            return None
        return JudgeChoice(pictures=self.judge, min_agreement=MIN_AGREEMENT if self.min_agreement is None else self.min_agreement)


@dataclass(frozen=True, kw_only=True)
class FileFlags:
    """What the written files are like and where they go.

    Attributes:
        image_size: Side, HEIGHTxWIDTH, or dynamic; multiples of 32. [default: the checkpoint's, else 224]
        batch: Images a run, or dynamic.
        input: tensor takes normalised float32; image and uint8 take 0 to 255, as float32 or bytes, and normalise in the model.
        task: classify gives classes; features the maps that the four stages end with, for a dense network behind it; segment
            puts a Semantic FPN on them, which gives every pixel a class; detect a RetinaNet, whose raw outputs become boxes.
        graph: deploy is the published graph rewritten exactly into the operators that the target runs best; original is as it is.
        form: File that `tune` wrote, with the exact way to write each part of the deploy graph. [default: the target's own]
        images: Folder of photographs, or tree with a subfolder a class, that are run to top-5; at most 32 join the parity probes.
        strict: Refuse a folder of photographs in which something is broken, hidden or no picture.
        output: Folder for the bundles. [default: build/<model>]
        json: Print one JSON document on stdout and nothing else there.
    """

    image_size: str | None = None
    batch: str = "1"
    input: InputKind = "tensor"
    task: Task = "classify"
    graph: Graph = "deploy"
    form: Path | None = None
    images: Path | None = None
    strict: Annotated[bool, Parameter(negative="")] = False
    output: Path | None = None
    json: Annotated[bool, Parameter(negative="")] = False

    def request(self, precision: Precision | None) -> FileRequest:
        """Return these flags as the library's own type."""
        return FileRequest(
            image_size=self.image_size,
            batch=self.batch,
            precision=precision,
            graph=self.graph,
            takes=self.input,
            task=self.task,
        )
