"""The flags that several commands share, as dataclasses whose fields are the flags, and how they are read."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from edgevit_deploy.deploy.form import Form, read_form
from edgevit_deploy.errors import UsageError
from edgevit_deploy.exporter import Exporter, ExportPlan
from edgevit_deploy.model.loading import LoadedModel, ModelSource
from edgevit_deploy.spec import Graph, InputForm, Precision, Size, check_image_size

MAX_BATCH = 1024


@dataclass(frozen=True, kw_only=True)
class ModelFlags:
    """Which network and which weights.

    Attributes:
        model: Published variant: edgevit_xxs, edgevit_xs, edgevit_s, or _table1 for the paper's depths.
        weights: Checkpoint (.pth, .pt, .bin, .safetensors). Without it the weights are random.
        num_classes: Classes of the head; with --weights it is read from the file.
        labels: Text file with one class name a line.
        seed: Seed of the random weights. [default: 0]
    """

    model: str | None = None
    weights: Path | None = None
    num_classes: int | None = None
    labels: Path | None = None
    seed: int | None = None

    def source(self, image_size: Size | None) -> ModelSource:
        """Return these flags as the core's own type."""
        return ModelSource(
            model=self.model,
            weights=self.weights,
            num_classes=self.num_classes,
            image_size=image_size,
            labels=self.labels,
            seed=self.seed,
        )


@dataclass(frozen=True, kw_only=True)
class FileFlags:
    """What the written files are like and where they go.

    Attributes:
        image_size: Side, HEIGHTxWIDTH, or dynamic; multiples of 32. [default: the checkpoint's, else 224]
        batch: Images a run, or dynamic.
        input: tensor takes normalised float32; image takes 0 to 255 and normalises inside the model.
        graph: deploy is the published graph rewritten exactly into the operators that the target runs best; original is as it is.
        form: File that `tune` wrote, with the exact way to write each part of the deploy graph. [default: the target's own]
        images: Folder of photographs that join the parity probes and are run to top-5.
        output: Folder for the bundles. [default: build/<model>]
        json: Print one JSON document on stdout and nothing else there.
    """

    image_size: str | None = None
    batch: str = "1"
    input: InputForm = "tensor"
    graph: Graph = "deploy"
    form: Path | None = None
    images: Path | None = None
    output: Path | None = None
    json: Annotated[bool, Parameter(negative="")] = False

    def fixed_size(self) -> Size | None:
        """Return (height, width) when --image-size names one, None when it is absent or dynamic."""
        return None if self.image_size in (None, "dynamic") else read_image_size(str(self.image_size))

    def chosen_form(self, exporter: Exporter[Any]) -> Form:
        """Return the form in the file of --form, else the exporter's own.

        Raises:
            UsageError: the file holds no form, or the published graph is asked for, which has none.
        """
        if self.form is None:
            return exporter.form
        if self.graph != "deploy":
            raise UsageError(f"--form is for the deploy graph, and --graph {self.graph} is as published; drop one of the two")
        return read_form(self.form).form

    def plan(self, exporter: Exporter[Any], model: LoadedModel, precision: Precision, options: Any) -> ExportPlan[Any]:
        """Return the whole conversion as decided.

        Raises:
            UsageError: a batch that is no positive number, or a form that `chosen_form` refuses.
        """
        return ExportPlan(
            spec=model.spec,
            precision=precision,
            batch=1 if self.batch == "dynamic" else read_batch(self.batch),
            dynamic_batch=self.batch == "dynamic",
            image_size=model.spec.image_size,
            dynamic_size=self.image_size == "dynamic",
            graph=self.graph,
            form=self.chosen_form(exporter),
            input_form=self.input,
            labels=() if model.labels_are_placeholders else model.labels,
            options=options,
        )

    def pictures(self) -> Sequence[Path]:
        """Return the photographs of --images, or none."""
        from edgevit_deploy.data.preprocess import find_images

        return find_images(self.images) if self.images else ()

    def folder(self, model: LoadedModel) -> Path:
        """Return the folder for the bundles."""
        return self.output or Path("build") / model.spec.variant


def read_image_size(text: str) -> Size:
    """Read `224` or `192x320` as (height, width) in pixels.

    Raises:
        UsageError: not of that form, or not multiples of 32.
    """
    sides = text.lower().split("x")
    if len(sides) > 2 or not all(side.isdecimal() for side in sides):
        raise UsageError(f"--image-size {text}: expected a side (224), HEIGHTxWIDTH (192x320) or dynamic")
    height, width = int(sides[0]), int(sides[-1])
    check_image_size(height, width)
    return height, width


def read_batch(text: str) -> int:
    """Read a batch size.

    Raises:
        UsageError: not a whole number from 1 to MAX_BATCH.
    """
    try:
        batch = int(text)
    except ValueError:
        batch = 0
    if not 1 <= batch <= MAX_BATCH:
        raise UsageError(f"--batch {text}: expected a whole number from 1 to {MAX_BATCH}, or dynamic")
    return batch
