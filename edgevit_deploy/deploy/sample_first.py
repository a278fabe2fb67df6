"""The sampler, moved before the LayerNorm that only the delegate tokens need."""

from torch import nn

from edgevit_deploy.deploy.chains import ChannelNorm, Sampler, chains, swap


def sample_first(graph: nn.Module) -> int:
    """Swap every channel-wise norm with the sampler that follows it; return how many.

    A norm over the channels of one position and the choice of positions commute: sample(norm(x)) = norm(sample(x)). Of the
    sample_rate^2 positions of a window, all but one need not be normalised at all. A norm over positions would not commute.
    """
    count = 0
    for chain in chains(graph):
        for index in range(len(chain) - 1):
            if isinstance(chain[index], ChannelNorm) and isinstance(chain[index + 1], Sampler):
                swap(chain, index)
                count += 1
    return count
