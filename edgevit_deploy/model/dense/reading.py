"""Heads for dense prediction in files: which one there is, and its tensors under the names of its own modules."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from edgevit_deploy.errors import UsageError
from edgevit_deploy.model.dense import HEADS, detectors, semantic_fpn
from edgevit_deploy.model.dense.beside import place_beside, places_of
from edgevit_deploy.model.infer import listed
from edgevit_deploy.spec import HeadSpec, ModelSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadWeights:
    """The head that a file holds.

    Attributes:
        head: inferred from the shapes of its tensors.
        num_classes: likewise.
        tensors: key in the state of the head's module -> tensor.
        names: the same key -> key in the file, without wrappers.
        notes: what the file leaves open.
        dialect: of the backbone's keys, where the head tells it.
    """

    head: HeadSpec
    num_classes: int
    tensors: Mapping[str, Tensor]
    names: Mapping[str, str]
    notes: tuple[str, ...] = ()
    dialect: str | None = None


def find_head(others: Mapping[str, object], backbone: str) -> HeadWeights | None:
    """Return the head among what a file has beside its backbone; None where there is none.

    Args:
        others: key without wrappers -> tensor, or anything else.
        backbone: what stands before the keys of the backbone, without wrappers.

    Raises:
        UsageError: it is one, but not of sizes that can be, or that of another network.
    """
    return next((found for read in READERS if (found := read(others, backbone)) is not None), None)


def expected_shapes(spec: ModelSpec) -> dict[str, tuple[int, ...]]:
    """Return key -> shape of the state of a head's module, without making it."""
    assert spec.head is not None
    with torch.device("meta"):
        state = HEADS[spec.head.kind](spec).state_dict()
    return {key: tuple(tensor.shape) for key, tensor in state.items()}


def refuse_incomplete_head(found: HeadWeights, expected: Mapping[str, tuple[int, ...]]) -> None:
    """Refuse tensors that are not exactly a head's, by their names in the file.

    Raises:
        UsageError: something is missing, unexpected or of another shape.
    """
    if faults := list(_faults(found, expected)):
        raise UsageError(f"not the weights of a {found.head.kind}: {'; '.join(faults)}; nothing is loaded in part")


def _faults(found: HeadWeights, expected: Mapping[str, tuple[int, ...]]) -> Iterator[str]:
    if missing := [key for key in expected if key not in found.tensors]:
        yield f"{len(missing)} missing: {listed(missing)}"
    if unexpected := [found.names[key] for key in found.tensors if key not in expected]:
        yield f"{len(unexpected)} unexpected: {listed(unexpected)}"
    wrong = [
        f"{found.names[key]} {tuple(tensor.shape)} instead of {expected[key]}"
        for key, tensor in found.tensors.items()
        if key in expected and tuple(tensor.shape) != expected[key]
    ]
    if wrong:
        yield f"{len(wrong)} of another shape: {listed(wrong)}"


def _semantic_fpn(others: Mapping[str, object], backbone: str) -> HeadWeights | None:
    """Find the decoder and the segmentation head of segmentation_models_pytorch beside a backbone."""
    whole = [place for place in places_of(others, semantic_fpn.ROOT) if f"{place}{semantic_fpn.CLASSIFIER}" in others]
    place = place_beside(whole, backbone)
    if place is None:
        return None
    names = {key.removeprefix(place): key for key in others if key.startswith((f"{place}decoder.", f"{place}segmentation_head."))}
    tensors = {key: tensor for key, name in names.items() if isinstance(tensor := others[name], Tensor)}
    head, num_classes = semantic_fpn.inferred({key: tuple(tensor.shape) for key, tensor in tensors.items()})
    return HeadWeights(head=head, num_classes=num_classes, tensors=tensors, names=names)


def _retinanet(others: Mapping[str, object], backbone: str) -> HeadWeights | None:
    """Find the pyramid and the heads of torchvision's or mmdetection's RetinaNet beside a backbone."""
    found = detectors.find_names(list(others), backbone)
    if found is None:
        return None
    library, names = found
    tensors = {key: tensor for key, name in names.items() if isinstance(tensor := others[name], Tensor)}
    head, num_classes = detectors.inferred(library, {key: tuple(tensor.shape) for key, tensor in tensors.items()}, names)
    return HeadWeights(
        head=head,
        num_classes=num_classes,
        tensors=tensors,
        names=names,
        notes=(library.unsaid,),
        dialect=library.dialect,
    )


READERS: tuple[Callable[[Mapping[str, object], str], HeadWeights | None], ...] = (_semantic_fpn, _retinanet)
