"""The FFN as matrix products on channels-last tokens; in `chains.py` it is two 1x1 convolutions."""

from torch import Tensor, nn

from edgevit_deploy.deploy.chains import chain, chains, linear, refill
from edgevit_deploy.deploy.fold_batch_norm import is_pointwise


class TokenMlp(nn.Module):
    """Two linear maps around an exact (erf) GELU, on channels-last tokens."""

    def __init__(self, fc1: nn.Conv2d, act: nn.GELU, fc2: nn.Conv2d) -> None:
        super().__init__()
        maps = {name: linear(m.weight[:, :, 0, 0], m.bias) for name, m in (("fc1", fc1), ("fc2", fc2))}
        self.tokens = chain({"fc1": maps["fc1"], "act": act, "fc2": maps["fc2"]})

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channels, height, width) -> the same shape."""
        return self.tokens(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)  # type: ignore[no-any-return]


def feed_forward_on_tokens(graph: nn.Module) -> int:
    """Replace every pointwise convolution, GELU, pointwise convolution in a row; return how many.

    A 1x1 convolution is the same linear map at every position, whichever axis the channels are.
    """
    count = 0
    for sequence in list(chains(graph)):
        modules = dict(sequence.named_children())
        fc1, act, fc2 = (modules.get(name) for name in ("fc1", "act", "fc2"))
        if is_pointwise(fc1) and isinstance(act, nn.GELU) and is_pointwise(fc2):
            before = {name: module for name, module in modules.items() if name not in ("fc1", "act", "fc2")}
            refill(sequence, {**before, "maps": TokenMlp(fc1, act, fc2)})
            count += 1
    return count
