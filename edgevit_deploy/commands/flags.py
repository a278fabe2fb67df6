"""The flags that several commands share, as dataclasses whose fields are the flags."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from edgevit_deploy.model.loading import ModelOrigin
from edgevit_deploy.request import FileRequest
from edgevit_deploy.spec import Graph, InputKind, Precision, Size


@dataclass(frozen=True, kw_only=True)
class NetworkFlags:
    """Which network, whatever its weights.

    Attributes:
        model: Published variant: edgevit_xxs, edgevit_xs, edgevit_s, or _table1 for the paper's depths.
        num_classes: Classes of the head; with --weights it is read from the file.
        labels: Text file with one class name a line.
        seed: Seed of the random weights. [default: 0]
    """

    model: str | None = None
    num_classes: int | None = None
    labels: Path | None = None
    seed: int | None = None

    def origin_of(self, weights: Path | None, image_size: Size | None) -> ModelOrigin:
        """Return these flags, with a checkpoint, as the core's own type."""
        return ModelOrigin(
            model=self.model,
            weights=weights,
            num_classes=self.num_classes,
            image_size=image_size,
            labels=self.labels,
            seed=self.seed,
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


@dataclass(frozen=True, kw_only=True)
class FileFlags:
    """What the written files are like and where they go.

    Attributes:
        image_size: Side, HEIGHTxWIDTH, or dynamic; multiples of 32. [default: the checkpoint's, else 224]
        batch: Images a run, or dynamic.
        input: tensor takes normalised float32; image takes 0 to 255 and normalises inside the model.
        graph: deploy is the published graph rewritten exactly into the operators that the target runs best; original is as it is.
        form: File that `tune` wrote, with the exact way to write each part of the deploy graph. [default: the target's own]
        images: Folder of photographs that are run to top-5; at most 32 of them, spread evenly, join the parity probes.
        output: Folder for the bundles. [default: build/<model>]
        json: Print one JSON document on stdout and nothing else there.
    """

    image_size: str | None = None
    batch: str = "1"
    input: InputKind = "tensor"
    graph: Graph = "deploy"
    form: Path | None = None
    images: Path | None = None
    output: Path | None = None
    json: Annotated[bool, Parameter(negative="")] = False

    def request(self, precision: Precision | None) -> FileRequest:
        """Return these flags as the library's own type."""
        return FileRequest(image_size=self.image_size, batch=self.batch, precision=precision, graph=self.graph, takes=self.input)
