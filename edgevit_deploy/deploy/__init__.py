"""The deploy form: the published network rewritten, exactly, into operators that runtimes run well.

`graph.py` lays the network open as a chain of small modules; each other file holds one rewrite of that chain, with the identity
it rests on. A rewrite changes the graph in place and returns how often it applied; all of them compute in float64, so that
weights are rounded once, at the end.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass

from torch import nn

from edgevit_deploy.deploy.carry_value_bias import carry_value_bias
from edgevit_deploy.deploy.drop_key_bias import drop_key_bias
from edgevit_deploy.deploy.fold_attention_scale import fold_attention_scale
from edgevit_deploy.deploy.fold_batch_norm import fold_batch_norm
from edgevit_deploy.deploy.fold_head_norm import fold_head_norm
from edgevit_deploy.deploy.fold_position import fold_position
from edgevit_deploy.deploy.graph import lay_open
from edgevit_deploy.deploy.sample_first import sample_first
from edgevit_deploy.deploy.shuffle_local_prop import shuffle_local_prop
from edgevit_deploy.model.edgevit import EdgeViT

REWRITES: dict[str, Callable[[nn.Module], int]] = {
    "BatchNorm folded into the next 1x1 convolution": fold_batch_norm,
    "final BatchNorm folded into the head": fold_head_norm,
    "positional residual folded into its depthwise kernel": fold_position,
    "delegates sampled before the LayerNorm": sample_first,
    "LocalProp as grouped 1x1 convolution and pixel shuffle": shuffle_local_prop,
    "attention scale folded into q": fold_attention_scale,
    "k bias dropped": drop_key_bias,
    "v bias carried into the next 1x1 convolution": carry_value_bias,
}
"""In the order in which they are applied: the v bias is carried into what LocalProp has become."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeployForm:
    """A rewritten network in float64, and how often each rewrite applied."""

    network: nn.Module
    applied: dict[str, int]

    def note(self) -> str:
        """Say in one sentence what was done, for the manifest."""
        applied = ", ".join(f"{rewrite} ({count})" for rewrite, count in self.applied.items())
        return f"The graph is the published one, rewritten exactly: {applied}."


def to_deploy_form(network: EdgeViT) -> DeployForm:
    """Return a rewritten copy of a network in evaluation mode: float64, (batch, 3, height, width) -> (batch, num_classes)."""
    graph = lay_open(copy.deepcopy(network).double().eval().requires_grad_(False))
    return DeployForm(network=graph, applied={name: rewrite(graph) for name, rewrite in REWRITES.items()})
