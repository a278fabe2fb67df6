"""The network that a training begins with, and its optimiser: timm's AdamW with timm's groups."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from edgevit_deploy.deploy.trained import RoundedNetwork
from edgevit_deploy.model.dense import DenseNetwork
from edgevit_deploy.model.edgevit import EdgeViT
from edgevit_deploy.spec import PreprocessChoice
from edgevit_deploy.train.draws import Purpose, draw
from edgevit_deploy.train.recipe import Recipe
from edgevit_deploy.train.timm_parts import timm_part

if TYPE_CHECKING:
    from edgevit_deploy.model.loading import LoadedModel

HEAD, ENCODER = "head.", "encoder."


@dataclass(frozen=True, slots=True, kw_only=True)
class Beginning:
    """A network before its first update, and what must be known of it."""

    network: EdgeViT
    notes: tuple[str, ...] = ()


def fresh_network(model: str, classes: tuple[str, ...], recipe: Recipe, preprocess: PreprocessChoice) -> Beginning:
    """Build a variant with the published initialisation, drawn from the recipe's seed.

    Raises:
        UsageError: no variant has this name, or its pictures would be resized to more pixels than a manifest may record.
    """
    from edgevit_deploy.model.variants import create_model

    torch.default_generator.manual_seed(draw(Purpose.WEIGHTS, recipe.seed))
    network = create_model(model, num_classes=len(classes), image_size=recipe.image_size)
    network.spec = network.spec.with_preprocess(preprocess)
    return Beginning(network=network)


def loaded_network(
    file: Path, model: str | None, classes: tuple[str, ...], recipe: Recipe, preprocess: PreprocessChoice
) -> Beginning:
    """Build a network from a checkpoint of any program, for the classes at hand.

    The head is kept where the file names the same classes, in whatever order; else it is made anew.

    Raises:
        UsageError: an unreadable checkpoint, or one that is not of `model`.
    """
    from edgevit_deploy.model.loading import ModelOrigin, load_model

    side = recipe.image_size
    loaded = load_model(ModelOrigin(model=model, weights=file, image_size=(side, side), preprocess=preprocess))
    rows = _rows(loaded, classes)
    torch.default_generator.manual_seed(draw(Purpose.WEIGHTS, recipe.seed))
    network = EdgeViT(replace(loaded.spec, num_classes=len(classes))).eval()
    state = network.state_dict()
    for key, tensor in loaded.network.state_dict().items():
        if not key.startswith(HEAD):
            state[key] = tensor
        elif rows is not None:
            state[key] = tensor[rows]
    network.load_state_dict(state)
    head = "its head kept: the classes are the same" if rows is not None else f"a new head for {len(classes)} classes"
    return Beginning(network=network, notes=(f"{file}: {loaded.spec.variant}, {head}", *loaded.notes))


def _rows(loaded: "LoadedModel", classes: tuple[str, ...]) -> list[int] | None:
    """Return which row of the loaded head belongs to each class; None where its classes are other ones, or nobody named them."""
    if loaded.labels_are_placeholders or sorted(loaded.labels) != sorted(classes):
        return None
    return [loaded.labels.index(name) for name in classes]


def stages_of(network: nn.Module) -> nn.Module:
    """Return the part of a network that has the four stages: itself, or what stands before a head for dense prediction."""
    return network.encoder if isinstance(network, DenseNetwork) else network


def make_optimizer(network: EdgeViT | RoundedNetwork | DenseNetwork, recipe: Recipe) -> torch.optim.Optimizer:
    """Return AdamW as timm makes it: no decay of vectors; with layer decay, a group for each block and kind."""
    optim = timm_part("optim")
    layered: Callable[[nn.Module], Any] | None = None
    if recipe.layer_decay < 1:

        def layered(model: nn.Module) -> Any:
            return optim.param_groups_layer_decay(_Layered(model), recipe.weight_decay, layer_decay=recipe.layer_decay)

    return optim.create_optimizer_v2(  # type: ignore[no-any-return]
        network,
        opt="adamw",
        lr=recipe.scaled_learning_rate,
        weight_decay=recipe.weight_decay,
        param_group_fn=layered,
        betas=(recipe.beta1, recipe.beta2),
        fused=True,
    )


class _Layered(nn.Module):
    """A network as timm's layer decay wants it: each parameter's depth can be asked for."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.depths = dict(_depths(network))

    def named_parameters(self, *_: object, **__: object) -> Iterator[tuple[str, nn.Parameter]]:
        """Return the network's own names."""
        return self.network.named_parameters()

    def group_matcher(self, coarse: bool) -> Callable[[str], int]:
        """Return the function from a name to a depth."""
        del coarse
        return lambda name: self.depths[name]


def _depths(network: nn.Module) -> Iterator[tuple[str, int]]:
    """Yield each parameter and its depth: the stem is 0, then a block each, with the embedding before it; norm and head last."""
    stages = stages_of(network)
    counts = [len(list(stages.get_submodule(f"blocks{stage}").children())) for stage in range(1, 5)]
    for name, _ in network.named_parameters():
        part, _, rest = name.removeprefix("" if stages is network else ENCODER).partition(".")
        if part.startswith("blocks"):
            stage = int(part.removeprefix("blocks"))
            yield name, 1 + sum(counts[: stage - 1]) + int(rest.partition(".")[0])
        elif part.startswith("patch_embed"):
            stage = int(part.removeprefix("patch_embed"))
            yield name, 0 if stage == 1 else 1 + sum(counts[: stage - 1])
        else:
            yield name, 1 + sum(counts)
