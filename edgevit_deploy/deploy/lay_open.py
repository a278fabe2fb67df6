"""The network laid open: the published computation, or an ablation's, as one chain of the modules in `chains.py`."""

from torch import nn

from edgevit_deploy.deploy.chains import (
    Attention,
    ChannelNorm,
    Grouped,
    LocalProp,
    MeanPool,
    Residual,
    Sampler,
    chain,
    pointwise,
)
from edgevit_deploy.model.alternatives import CenterSampler, LocallyGroupedAttn, SpatialReductionAttn
from edgevit_deploy.model.dense import Backbone
from edgevit_deploy.model.edgevit import EdgeViT, GlobalSparseAttn, LGLBlock, LocalAgg, PatchEmbed, SelfAttn


def lay_open(network: EdgeViT) -> nn.Sequential:
    """Return the same computation as one chain; takes the network's own parameters.

    Args:
        network: in evaluation mode; afterwards it shares its parameters with the result.
    """
    parts: dict[str, nn.Module] = {}
    for stage in range(1, 5):
        blocks = network.get_submodule(f"blocks{stage}").children()
        parts[f"patch_embed{stage}"] = _patch_embed(network.get_submodule(f"patch_embed{stage}"))
        parts[f"blocks{stage}"] = nn.Sequential(*map(_block, blocks))
    if isinstance(network, Backbone):
        return chain(parts)
    return chain({**parts, "norm": network.norm, "pool": MeanPool(), "head": network.head})


def _patch_embed(embed: nn.Module) -> nn.Sequential:
    assert isinstance(embed, PatchEmbed)
    return chain({"proj": embed.proj, "norm": ChannelNorm(embed.norm)})


def _block(block: nn.Module) -> nn.Sequential:
    assert isinstance(block, LGLBlock)
    local = block.get_submodule(block.local_name)
    parts: dict[str, nn.Module] = {}
    if isinstance(local, LocalAgg):
        parts[block.local_name] = _local_agg(local)
    elif isinstance(local, SelfAttn):
        parts[block.local_name] = _self_attn(local)
    return chain({**parts, "SelfAttn": _self_attn(block.SelfAttn)})


def _local_agg(block: LocalAgg) -> nn.Sequential:
    gather = chain({"norm": block.norm1, "conv1": block.conv1, "attn": block.attn, "conv2": block.conv2})
    mlp = chain({"norm": block.norm2, "fc1": block.mlp.fc1, "act": block.mlp.act, "fc2": block.mlp.fc2})
    return chain({"pos_embed": Residual(block.pos_embed), "gather": Residual(gather), "mlp": Residual(mlp)})


def _self_attn(block: SelfAttn) -> nn.Sequential:
    mlp, name = block.mlp, block.attention_name
    attend = chain({"norm1": ChannelNorm(block.norm1), **_attention(block.get_submodule(name))})
    tokens = {"norm": ChannelNorm(block.norm2), "fc1": pointwise(mlp.fc1), "act": mlp.act, "fc2": pointwise(mlp.fc2)}
    return chain({"pos_embed": Residual(block.pos_embed), name: Residual(attend), "mlp": Residual(chain(tokens))})


def _attention(attention: nn.Module) -> dict[str, nn.Module]:
    assert isinstance(attention, GlobalSparseAttn | LocallyGroupedAttn | SpatialReductionAttn)
    attend, proj = Attention(attention), pointwise(attention.proj)
    if isinstance(attention, LocallyGroupedAttn):
        return {"groups": Grouped(chain({"attend": attend})), "proj": proj}
    if isinstance(attention, SpatialReductionAttn) or attention.sample_rate == 1:
        return {"attend": attend, "proj": proj}
    return {
        "sampler": _sampler(attention),
        "attend": attend,
        "LocalProp": _local_prop(attention.LocalProp),
        "norm": ChannelNorm(attention.norm),
        "proj": proj,
    }


def _sampler(attention: GlobalSparseAttn) -> nn.Module:
    """Return the sampler; one that does more than to take one position of each window stays what it is."""
    sampler = attention.sampler
    if isinstance(sampler, CenterSampler):
        return Sampler(attention.sample_rate, sampler.offset)
    takes_top_left = isinstance(sampler, nn.AvgPool2d) and sampler.kernel_size in (1, (1, 1))
    return Sampler(attention.sample_rate) if takes_top_left else sampler


def _local_prop(spread: nn.Module) -> nn.Module:
    """Return what spreads the delegates; what is no transposed convolution stays what it is."""
    if not isinstance(spread, nn.ConvTranspose2d):
        return spread
    rate = int(spread.stride[0])
    copied = LocalProp(spread.in_channels, spread.out_channels, rate, stride=rate, groups=spread.groups)
    copied.weight, copied.bias = spread.weight, spread.bias
    return copied
