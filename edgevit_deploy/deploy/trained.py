"""A network that is trained as its integer file will compute, and the way back from it to the published network.

What is trained is the deploy graph itself, with the operators that round (`quantised.py`): its BatchNorms are folded, its biases
are where the file has them, so that every weight and every activation is rounded as it will be. Afterwards the values go back
under the published names, into a network whose norms do nothing that was folded; the rewrites lead from it to the same graph.
"""

import copy
import itertools
from collections import OrderedDict
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from edgevit_deploy.deploy.chains import Attention, ChannelNorm, LocalProp, chains, refill
from edgevit_deploy.deploy.fold_batch_norm import bias_of
from edgevit_deploy.deploy.form import Form
from edgevit_deploy.deploy.lay_open import lay_open
from edgevit_deploy.deploy.norm_forms import MeanNorm
from edgevit_deploy.deploy.quantised import QuantisedOperator, quantised, rounded_operators
from edgevit_deploy.deploy.ranges import Ranges
from edgevit_deploy.deploy.rewrite import to_deploy_form
from edgevit_deploy.deploy.rounding import WeightRoundingInTraining
from edgevit_deploy.deploy.scheme import Scheme
from edgevit_deploy.errors import UsageError
from edgevit_deploy.model.edgevit import EdgeViT, GlobalSparseAttn
from edgevit_deploy.spec import ModelSpec

VALUE_BIAS = "value_bias"
OWN_VALUES = (nn.Conv2d, nn.Linear, LocalProp, nn.LayerNorm)
"""What has weights under the path that it has in the published network."""


class Shift(nn.Module):
    """Adds one value to each channel: the bias of an attention's value, after the attention."""

    def __init__(self, bias: Tensor) -> None:
        super().__init__()
        self.bias = nn.Parameter(bias, requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channels, height, width) -> the same shape."""
        return x + self.bias[:, None, None]


class Centred(nn.Module):
    """Takes the mean over the output channels off a weight or a bias: what `centre_patch_embed` does once, at every use."""

    def forward(self, values: Tensor) -> Tensor:
        """(out, ...) -> the same shape."""
        return values - values.mean(dim=0)


class RoundedNetwork(nn.Sequential):
    """A deploy graph that rounds by a scheme and is trained; its parameters are those of its operators and norms.

    Attributes:
        spec: of the network.
        scheme: what is rounded, and how.
        ranges: by which activations are rounded now; None where the scheme needs none.
    """

    def __init__(self, graph: nn.Sequential, spec: ModelSpec, scheme: Scheme, ranges: Ranges | None) -> None:
        """Make one of what `training_graph` returns.

        Args:
            graph: float32.
            spec: of the network that it was made of.
            scheme: what is rounded, and how.
            ranges: of all operators, as `observe` gives them; None where the scheme needs none.

        Raises:
            UsageError: such a rounding has no gradient.
        """
        check_trainable(scheme)
        rounded = quantised(graph, replace(scheme, dialect="trace"), ranges)
        for module in rounded_operators(rounded):
            module.set_submodule("round_weight", WeightRoundingInTraining(in_half=scheme.half))
        super().__init__(OrderedDict(rounded.named_children()))
        self.requires_grad_(True)
        self.spec, self.scheme, self.ranges = spec, scheme, ranges
        self.order_weights_plainly()

    def order_weights_plainly(self) -> None:
        """Give parameters the memory order that their gradients come in; LocalProp's, rounded nowhere, follow the activations."""
        for module in self.modules():
            for parameter in () if isinstance(module, LocalProp) else module.parameters(recurse=False):
                parameter.data = parameter.data.clone(memory_format=torch.contiguous_format)

    def round_by(self, ranges: Ranges) -> None:
        """Round activations by other ranges from now on."""
        for path, module in self.named_modules():
            if isinstance(module, QuantisedOperator):
                module.round_by(replace(self.scheme, dialect="trace"), ranges[path])
        self.ranges = ranges

    def unrounded(self) -> nn.Sequential:
        """Return a copy that rounds nothing, in evaluation mode and on the CPU: the deploy graph with the weights of now."""
        graph = nn.Sequential(OrderedDict(copy.deepcopy(self).named_children())).cpu().eval().requires_grad_(False)
        for path, module in list(graph.named_modules()):
            if isinstance(module, QuantisedOperator):
                graph.set_submodule(path, module.operator)
        return graph

    @torch.no_grad()
    def published(self) -> EdgeViT:
        """Return the published network with the same weights: what was folded does nothing in it, and its head has a bias."""
        graph = self.unrounded()
        network = EdgeViT(replace(self.spec, head_bias=True)).to(next(graph.parameters()).dtype).eval().requires_grad_(False)
        for norm in network.modules():
            if isinstance(norm, nn.BatchNorm2d):
                assert norm.running_var is not None
                norm.running_var.fill_(1 - norm.eps)
        places = dict(lay_open(network).named_modules())  # it has the network's own parameters
        attentions = {path: module for path, module in graph.named_modules() if isinstance(module, Attention)}
        for path, module in graph.named_modules():
            if isinstance(module, MeanNorm):
                _copy(module, places[f"{path}.norm"])
            elif isinstance(module, OWN_VALUES) and path.rpartition(".")[0] not in attentions:
                _copy(module, places[path])
        for path, attention in attentions.items():
            chain = path.rpartition(".")[0]
            shift = dict(graph.get_submodule(chain).named_children()).get(VALUE_BIAS)
            _pack(attention, shift, network.get_submodule(chain.removesuffix(".body")))
        return network


def check_trainable(scheme: Scheme) -> None:
    """Refuse a rounding that has no gradient.

    Raises:
        UsageError: saying which can be trained.
    """
    if scheme.weights == "palette8":
        raise UsageError("--qat: a table of values has no steps through which a gradient goes; use --precision int8 or w8")
    if "e4m3" in (scheme.weights, scheme.activations):
        raise UsageError("--qat: rounding to 8-bit floating point is not trained here; use --precision int8")
    if scheme.activations == "each run":
        raise UsageError("--qat: steps that each run chooses for itself have no gradient here; use --precision int8")


def training_graph(network: EdgeViT, form: Form) -> nn.Sequential:
    """Return what is trained in place of a network, in float32: its deploy graph, with every operator that a file in a form has.

    Of a form only what goes into weights and biases counts. LocalProp stays the transposed convolution that the network has, so
    the value's bias, which a file keeps in each place of LocalProp's window, stands between the two.

    Args:
        network: the published one.
        form: of the files; its position is kept.

    Raises:
        UsageError: the network is an ablation whose attention has no way back to its own keys.
    """
    if network.spec.block.local == "grouped" or network.spec.block.attention == "reduced":
        raise UsageError(
            f"--qat: {network.spec.variant} has locally grouped or spatial-reduction attention, whose rounding is not trained "
            "here; train it without --qat"
        )
    parts = Form(local_prop="kept", norm_affine=form.norm_affine, patch_embed=form.patch_embed, position="kept")
    graph = to_deploy_form(network, parts).network
    assert isinstance(graph, nn.Sequential)
    for chain in list(chains(graph)):
        _part_value_bias(chain)
    graph = graph.float()
    for chain in list(chains(graph)):
        _keep_centred(chain, subtracts=form.norm == "channels_last")
    return graph


def _part_value_bias(chain: nn.Sequential) -> None:
    """Put the bias of a value after its attention, in front of LocalProp: P (V + b) = P V + b, as rows of a softmax sum to 1."""
    modules = dict(chain.named_children())
    attention = modules.get("attend")
    if not isinstance(attention, Attention) or attention.v.bias is None:
        return
    shift = Shift(attention.v.bias.detach())
    attention.v.register_parameter("bias", None)
    parted: dict[str, nn.Module] = {}
    for name, module in modules.items():
        parted |= {name: module, VALUE_BIAS: shift} if module is attention else {name: module}
    refill(chain, parted)


def _keep_centred(chain: nn.Sequential, *, subtracts: bool) -> None:
    """Let a convolution whose channels were centred stay so, whatever the updates do to its parameters.

    Rounded, its channels have a mean again: a norm that subtracts means all the same takes it off, another one does not.
    """
    modules = list(chain.children())
    for index, (convolution, norm) in enumerate(itertools.pairwise(modules), start=1):
        if isinstance(norm, ChannelNorm) and norm.centred:
            for name in ("weight", "bias"):
                parametrize.register_parametrization(convolution, name, Centred())
            if not subtracts:
                chain[index] = MeanNorm(norm)


def _copy(source: nn.Module, place: nn.Module) -> None:
    for name in ("weight", "bias"):
        values = getattr(source, name)
        if values is not None:
            own = getattr(place, name)
            own.copy_(values.reshape(own.shape))


def _pack(attention: Attention, shift: nn.Module | None, place: nn.Module) -> None:
    """Write q, k and v as the one map of the published attention, with its scale taken out of q again."""
    assert isinstance(place, GlobalSparseAttn)
    query = bias_of(attention.q).double() / place.scale
    value = shift.bias if isinstance(shift, Shift) else torch.zeros_like(query)
    weights = (attention.q.weight.double() / place.scale, attention.k.weight, attention.v.weight)
    place.qkv.weight.copy_(torch.cat([weight.double() for weight in weights]))
    place.qkv.bias.copy_(torch.cat([query, torch.zeros_like(query), value.double()]))
