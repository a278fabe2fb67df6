"""The deploy form: the published network rewritten, exactly, into operators that runtimes run well.

`lay_open.py` makes the network chains of small modules; each other file holds one rewrite, with the identity that it rests
on. A rewrite changes the graph in place and returns how often it applied; all of them compute in float64, so that weights are
rounded once, at the end. Some always pay; the others are choices, and a form (`form.py`) is one choice for each part.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace

from torch import nn

from edgevit_deploy.deploy.attention_forms import batch_attention, einsum_attention, pack_attention, stack_attention
from edgevit_deploy.deploy.carry_value_bias import carry_value_bias
from edgevit_deploy.deploy.centre_patch_embed import centre_patch_embed
from edgevit_deploy.deploy.centre_values import centre_values
from edgevit_deploy.deploy.chains import prune
from edgevit_deploy.deploy.channels_last import to_channels_last
from edgevit_deploy.deploy.drop_key_bias import drop_key_bias
from edgevit_deploy.deploy.feed_forward_on_tokens import feed_forward_on_tokens
from edgevit_deploy.deploy.fold_attention_scale import fold_attention_scale
from edgevit_deploy.deploy.fold_batch_norm import fold_batch_norm
from edgevit_deploy.deploy.fold_head_norm import fold_head_norm
from edgevit_deploy.deploy.fold_norm_affine import fold_norm_affine
from edgevit_deploy.deploy.fold_position import fold_position
from edgevit_deploy.deploy.form import Form
from edgevit_deploy.deploy.lay_open import lay_open
from edgevit_deploy.deploy.multiply_local_prop import multiply_local_prop
from edgevit_deploy.deploy.norm_forms import norm_by_convolutions, norm_by_means
from edgevit_deploy.deploy.pool_two_axes import pool_two_axes
from edgevit_deploy.deploy.sample_first import sample_first
from edgevit_deploy.deploy.sampler_forms import sample_by_depthwise, sample_by_slice
from edgevit_deploy.deploy.shuffle_local_prop import shuffle_local_prop
from edgevit_deploy.deploy.tile_local_prop import tile_local_prop
from edgevit_deploy.deploy.upsample_local_prop import upsample_local_prop
from edgevit_deploy.model.dense import DenseNetwork, Network
from edgevit_deploy.model.edgevit import EdgeViT
from edgevit_deploy.model.ends import StageFeatures

Rewrite = Callable[[nn.Module], int]

REWRITE_OF: dict[tuple[str, str], Rewrite] = {
    ("local_prop", "shuffle"): shuffle_local_prop,
    ("local_prop", "tile"): tile_local_prop,
    ("local_prop", "upsample"): upsample_local_prop,
    ("local_prop", "multiply"): multiply_local_prop,
    ("norm_affine", "folded"): fold_norm_affine,
    ("patch_embed", "centred"): centre_patch_embed,
    ("sampler", "slice"): sample_by_slice,
    ("sampler", "depthwise"): sample_by_depthwise,
    ("values", "centred"): centre_values,
    ("attention", "packed"): pack_attention,
    ("attention", "stacked"): stack_attention,
    ("attention", "bmm"): batch_attention,
    ("attention", "einsum"): einsum_attention,
    ("feed_forward", "tokens"): feed_forward_on_tokens,
    ("norm", "mean"): norm_by_means,
    ("norm", "convolutions"): norm_by_convolutions,
    ("pool", "two_axes"): pool_two_axes,
    ("memory", "channels_last"): to_channels_last,
}
"""What turns the laid-open graph into a choice; a choice without a rewrite is how the graph is laid open."""

BEFORE_BIASES = ("local_prop", "norm_affine")
"""Parts whose rewrites add to biases or read them, so they come before any is dropped."""

FOLDS: tuple[Rewrite, ...] = (fold_batch_norm, fold_head_norm, fold_position, sample_first, fold_attention_scale)
"""What a form starts from: less arithmetic and nothing in exchange. But for integers: folded into the centre tap, the whole
stream of residuals would pass through their few steps, so a form may keep the position beside its convolution."""

BIASES: tuple[Rewrite, ...] = (drop_key_bias, carry_value_bias)
"""The same, once nothing else is folded into these biases and LocalProp has become what it will be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeployForm:
    """A rewritten network in float64, the form it has, and how often each rewrite applied, in order."""

    network: nn.Module
    form: Form
    applied: dict[str, int]

    def note(self) -> str:
        """Say in one sentence what was done, for the manifest."""
        applied = ", ".join(f"{rewrite} ({count})" for rewrite, count in self.applied.items() if count)
        return f"The graph is the published one, rewritten exactly: {applied}."


def to_deploy_form(network: Network, form: Form) -> DeployForm:
    """Return a rewritten copy of a network in evaluation mode: float64, with the same input and outputs.

    Of a network for dense prediction the backbone is rewritten; its head stays as it is.
    """
    copied = copy.deepcopy(network).double().eval().requires_grad_(False)
    if isinstance(copied, DenseNetwork):
        assert isinstance(copied.encoder, EdgeViT)
        rewritten = to_deploy_form(copied.encoder, form)
        return replace(rewritten, network=DenseNetwork(StageFeatures(rewritten.network), copied.head, copied.spec))
    graph = lay_open(copied)
    applied = {rewrite.__name__.replace("_", " "): rewrite(graph) for rewrite in rewrites_of(form)}
    prune(graph)
    return DeployForm(network=graph, form=form, applied=applied)


def rewrites_of(form: Form) -> tuple[Rewrite, ...]:
    """Return the rewrites that lead to a form, in order."""
    chosen = {part: REWRITE_OF[part, choice] for part, choice in form.choices().items() if (part, choice) in REWRITE_OF}
    before = [rewrite for part, rewrite in chosen.items() if part in BEFORE_BIASES]
    after = [rewrite for part, rewrite in chosen.items() if part not in BEFORE_BIASES]
    folds = [fold for fold in FOLDS if fold is not fold_position or form.position == "folded"]
    return (*folds, *before, *BIASES, *after)
