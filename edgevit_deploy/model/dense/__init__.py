"""Networks for dense prediction: the four stages of an EdgeViT, and a head on the feature maps that they end with."""

from collections.abc import Callable, Mapping

from torch import Tensor, nn

from edgevit_deploy.model.edgevit import EdgeViT, check_images
from edgevit_deploy.model.random_weights import randomise
from edgevit_deploy.spec import HeadKind, ModelSpec, PreprocessChoice

Outputs = Tensor | tuple[Tensor, ...]

SHOWN_WHOLE = PreprocessChoice(resize_mode="letterbox")
"""What is assumed of the preprocessing where nobody says otherwise: nothing of a picture is cut off, and its shape is kept."""


class Backbone(EdgeViT):
    """An EdgeViT without its classifier: the last norm and the head are not there."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__(spec)
        del self.norm, self.head

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:  # type: ignore[override] # it has no classes
        """Return the four maps, as `features` does."""
        check_images(x)
        return self.features(x)


class DenseNetwork(nn.Module):
    """A backbone and a head.

    Attributes:
        encoder: (batch, 3, height, width) -> the four maps: a `Backbone`, or its rewritten chain.
        head: the four maps -> what `spec.output_specs` says of its task, one tensor or a tuple.
        spec: of the whole.
    """

    def __init__(self, encoder: nn.Module, head: nn.Module, spec: ModelSpec) -> None:
        super().__init__()
        self.encoder, self.head, self.spec = encoder, head, spec

    def forward(self, x: Tensor) -> Outputs:
        """(batch, 3, height, width), normalised -> what the head returns."""
        outputs: Outputs = self.head(self.encoder(x))
        return outputs


Network = EdgeViT | DenseNetwork


def _semantic_fpn(spec: ModelSpec) -> nn.Module:
    from edgevit_deploy.model.dense.semantic_fpn import SemanticFPN

    return SemanticFPN(spec)


HEADS: Mapping[HeadKind, Callable[[ModelSpec], nn.Module]] = {"semantic_fpn": _semantic_fpn}
"""What builds each head; the libraries of a head are imported when one is built."""


def build(spec: ModelSpec) -> DenseNetwork:
    """Return a network with the initialisation of its parts' own libraries, in evaluation mode.

    Args:
        spec: with a head.

    Raises:
        MissingError: the head's library is not installed.
        UsageError: sizes that the head cannot have.
    """
    assert spec.head is not None
    return DenseNetwork(Backbone(spec), HEADS[spec.head.kind](spec), spec).eval()


def randomise_dense(network: DenseNetwork, seed: int) -> None:
    """Overwrite all weights as `randomise` does; those of the backbone are a classifier's of the same seed."""
    randomise(network.encoder, seed)
    randomise(network.head, seed)


def assumed_preprocess(spec: ModelSpec, told: Mapping[str, str]) -> ModelSpec:
    """Return a network whose pictures are shown whole, unless its file tells how they are resized."""
    return spec if {"resize_mode", "crop_ratio"} & set(told) else spec.with_preprocess(SHOWN_WHOLE)
