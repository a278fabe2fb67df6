"""BatchNorm whose statistics are those of the whole batch, over all processes that share it.

PyTorch's SyncBatchNorm refuses tensors on the CPU. This one takes either, and merges the processes' means and squared deviations
(Chan et al., 1979), so that nothing is lost where the mean is large.
"""

from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.nn import functional

from edgevit_deploy.train.world import losses_told


class GlobalBatchNorm2d(nn.BatchNorm2d):
    """A BatchNorm2d that shares its statistics in training; in evaluation it is a plain one, and so are its keys."""

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channels, height, width) -> the same shape."""
        if not self.training:
            return super().forward(x)
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        assert self.momentum is not None
        y, mean, variance, count = _Normalise.apply(x, self.weight, self.bias, self.eps)  # type: ignore[no-untyped-call]
        with torch.no_grad():
            unbiased = variance * (count / (count - 1).clamp(min=1))
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(unbiased, self.momentum)
            self.num_batches_tracked.add_(1)
        return y  # type: ignore[no-any-return]


def share_batch_norm(network: nn.Module) -> None:
    """Let every BatchNorm2d of a network share its statistics; parameters, buffers and keys stay the same."""
    for module in network.modules():
        if type(module) is nn.BatchNorm2d:
            module.__class__ = GlobalBatchNorm2d


class _Normalise(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        mean, variance, count = _merged_statistics(x)
        y = functional.batch_norm(x, mean.to(weight.dtype), variance.to(weight.dtype), weight, bias, training=False, eps=eps)
        ctx.save_for_backward(x, weight, mean, variance, count)
        ctx.eps = eps
        ctx.mark_non_differentiable(mean, variance, count)
        return y, mean, variance, count

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        x, weight, mean, variance, count = ctx.saved_tensors
        of_y = gradients[0]
        inverse_std = (variance + ctx.eps).rsqrt()
        # What the batch gives where the statistics are constants, weight and bias too; then what the statistics add.
        if x.numel():
            of_x, of_weight, of_bias = torch.ops.aten.native_batch_norm_backward(
                of_y, x, weight, mean, variance, None, None, False, ctx.eps, [True, True, True]
            )
        else:  # on a CPU that function ends the process with SIGFPE
            of_x, of_weight, of_bias = torch.empty_like(x), torch.zeros_like(weight), torch.zeros_like(weight)
        sums = torch.stack([of_bias, of_weight])
        _all_sum(sums)
        shift, slope = weight * inverse_std * sums / count
        centred = x - _along_channels(mean)  # before anything is scaled, so that nothing is lost where the mean is large
        correction = centred.mul_(_along_channels(slope * inverse_std)).add_(_along_channels(shift))
        of_x = of_x.to(x.dtype).sub_(correction.to(x.dtype))
        return of_x, of_weight, of_bias, None


def _merged_statistics(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return mean, biased variance and count (all float32) over the batch of all processes."""
    count = x.numel() // x.shape[1]
    if count:
        variance, mean = torch.var_mean(x.float(), dim=(0, 2, 3), correction=0)
    else:  # every picture of this process's part was broken
        variance = mean = torch.zeros(x.shape[1], device=x.device)
    own = torch.cat([mean, variance, torch.full((1,), float(count), device=x.device)])
    every = own.new_empty(distributed.get_world_size(), own.numel())
    with losses_told():
        distributed.all_gather(list(every.unbind()), own)
    channels = x.shape[1]
    counts = every[:, -1:]
    total = counts.sum()
    merged_mean = (counts * every[:, :channels]).sum(0) / total
    within = counts * every[:, channels:-1]
    between = counts * (every[:, :channels] - merged_mean).square()
    return merged_mean, (within + between).sum(0) / total, total


def _all_sum(values: Tensor) -> None:
    with losses_told():
        distributed.all_reduce(values)


def _along_channels(values: Tensor) -> Tensor:
    return values.view(1, -1, 1, 1)
