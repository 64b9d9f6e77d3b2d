r"""Batch normalisation over the batches of all processes, on CPUs as on GPUs.

Of a channel, process p has :math:`n_p` values, with mean :math:`m_p` and squared deviations from it
that sum to :math:`s_p`. Over all processes these make

.. math:: N = \sum_p n_p, \quad \mu = \frac1N \sum_p n_p m_p, \quad
    \sigma^2 = \frac1N \sum_p \left( s_p + n_p (m_p - \mu)^2 \right),

which does not cancel as the mean of squares less the square of the mean does. torch's own
`nn.SyncBatchNorm` refuses CPUs and has no second derivatives; its kernels are used on GPUs.

References:
    | Algorithms for Computing the Sample Variance (Chan et al., 1983)
    | https://doi.org/10.1080/00031305.1983.10483115
    | Batch Normalization: Accelerating Deep Network Training (Ioffe and Szegedy, 2015)
    | https://arxiv.org/abs/1502.03167
"""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.autograd import Function
from torch.nn.modules._functions import SyncBatchNorm as _Kernels
from torch.nn.modules.batchnorm import _BatchNorm

from .precision import wide
from .processes import processes, summed


def synchronised(module: nn.Module) -> nn.Module:
    """Makes all batch normalisation in a module normalise over the batches of all processes.

    Layers stay the objects that they are, as do their parameters, buffers and hooks: only their
    class changes, so optimizers and checkpoints fit as before. In evaluation, or without other
    processes, they compute what they did. In training, all processes must run them equally often
    and in the same order, or wait for each other for ever. Gradients are those of the sum of all
    processes' losses.
    """
    for name, layer in module.named_modules():
        if type(layer) in _CLASSES:
            layer.__class__ = _CLASSES[type(layer)]
        elif isinstance(layer, _BatchNorm) and not isinstance(layer, _DONE):
            raise ValueError(
                f"cannot synchronise the {type(layer).__name__} '{name}', only nn.BatchNorm1d, 2d "
                f"and 3d themselves; put what it adds in a module around one of these"
            )
    return module


class _Synchronised(_BatchNorm):
    """Batch normalisation that asks the other processes, if there are any."""

    def forward(self, x: Tensor) -> Tensor:
        if not (self.training and processes() > 1):
            return super().forward(x)
        return self._together(x)

    @torch.compiler.disable  # a graph would have to break at the collectives
    def _together(self, x: Tensor) -> Tensor:
        self._check_input_dim(x)
        rate, mean, var = self.momentum, None, None
        if self.track_running_stats:
            mean, var = self.running_mean, self.running_var
            if self.num_batches_tracked is not None:
                self.num_batches_tracked.add_(1)
                if rate is None:  # all batches count alike
                    rate = 1 / float(self.num_batches_tracked)
        if _has_kernels(x) and not any(x.is_contiguous(memory_format=layout) for layout in _DENSE):
            x = x.contiguous()  # kernels would copy by themselves, out of sight of derivatives
        group, world = dist.group.WORLD, processes()
        return _Normalise.apply(
            x, self.weight, self.bias, mean, var, self.eps, rate or 0.0, group, world
        )


class SynchronisedBatchNorm1d(_Synchronised, nn.BatchNorm1d):
    """`nn.BatchNorm1d` over the batches of all processes."""


class SynchronisedBatchNorm2d(_Synchronised, nn.BatchNorm2d):
    """`nn.BatchNorm2d` over the batches of all processes."""


class SynchronisedBatchNorm3d(_Synchronised, nn.BatchNorm3d):
    """`nn.BatchNorm3d` over the batches of all processes."""


_CLASSES: dict[type[nn.Module], type[nn.Module]] = {
    nn.BatchNorm1d: SynchronisedBatchNorm1d,
    nn.BatchNorm2d: SynchronisedBatchNorm2d,
    nn.BatchNorm3d: SynchronisedBatchNorm3d,
}
_DONE = (_Synchronised, nn.SyncBatchNorm)
_DENSE = (torch.contiguous_format, torch.channels_last, torch.channels_last_3d)


class _Normalise(Function):
    """The normalised batch of this process. The arguments are those of torch's kernels."""

    @staticmethod
    def forward(ctx: Any, *args: Any) -> Tensor:
        x, weight, bias, running_mean, running_var, eps, rate, *_ = args
        ctx.eps = eps
        if _has_kernels(x):
            return _Kernels.forward(ctx, *args)
        values = wide(x)
        mean, var, count = _statistics(values)
        if count < 2:
            raise ValueError(
                f"batch normalisation needs more than 1 value per channel in training, got "
                f"{count} over all processes"
            )
        if running_mean is not None:
            running_mean.lerp_(mean.to(running_mean.dtype), rate)
            unbiased = var * (count / (count - 1))
            running_var.lerp_(unbiased.to(running_var.dtype), rate)
        scale = (var + eps).rsqrt()
        ctx.save_for_backward(x, weight, mean, scale, torch.tensor(count))  # as kernels do
        y = (values - _across(mean, x)).mul_(
            _across(scale if weight is None else scale * weight, x)
        )
        return (y if bias is None else y.add_(_across(bias, x))).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, mean, scale, count = ctx.saved_tensors
        if torch.is_grad_enabled():
            # A graph of the gradient is wanted: the statistics must be functions of the batch.
            mean, var, count = _Statistics.apply(wide(x))
            scale = (var + ctx.eps).rsqrt()
        elif _has_kernels(x) and len(x):  # without images, they give parameters no gradient
            return _Kernels.backward(ctx, grad)
        else:
            count = count.sum()
        grad, centred = wide(grad), wide(x) - _across(mean, x)
        sums = torch.cat([grad.sum(_reduced(x)), (grad * centred).sum(_reduced(x))])
        bias_grad, slope = sums.chunk(2)
        weight_grad, x_grad = slope * scale, None  # of this process: gradients are summed later
        if ctx.needs_input_grad[0]:
            mean_grad, slope = (summed(sums) / count).chunk(2)
            gain = scale if weight is None else scale * weight
            x_grad = centred * _across(-gain * scale.square() * slope, x)
            x_grad = x_grad.add_(_across(-gain * mean_grad, x)).addcmul_(grad, _across(gain, x))
        needed = ctx.needs_input_grad
        grads = x_grad, weight_grad if needed[1] else None, bias_grad if needed[2] else None
        return *grads, *(None,) * 6


class _Statistics(Function):
    """`_statistics`, with derivatives of any order."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> tuple[Tensor, Tensor, int]:
        mean, var, ctx.count = _statistics(x)
        ctx.save_for_backward(x, mean)
        return mean, var, ctx.count

    @staticmethod
    def backward(ctx: Any, mean_grad: Tensor, var_grad: Tensor, _: None) -> Tensor:
        x, mean = ctx.saved_tensors
        mean_grad, var_grad = (summed(torch.cat([mean_grad, var_grad])) / ctx.count).chunk(2)
        return (x - _across(mean, x)) * _across(2 * var_grad, x) + _across(mean_grad, x)


def _statistics(x: Tensor) -> tuple[Tensor, Tensor, int]:
    """Mean (C,), variance (C,) and number of values of each channel, over all processes."""
    own = x.numel() // x.size(1)  # 0 where a process has no images
    first = x.sum(_reduced(x)) / max(own, 1)
    centred = x - _across(first, x)
    # In double precision, as in single one whole numbers end at 2^24, and means are rounded.
    rest = centred.sum(_reduced(x)).double() / max(own, 1)
    squares = centred.square_().sum(_reduced(x)).double() - own * rest.square()
    row = torch.cat([first + rest, squares, rest.new_full((1,), own)])
    rows = [torch.empty_like(row) for _ in range(processes())]
    dist.all_gather(rows, row)
    means, squares, counts = torch.stack(rows).split([len(first), len(first), 1], dim=1)
    count = counts.sum()
    mean = (counts * means).sum(0) / count
    var = (squares + counts * (means - mean).square()).sum(0) / count
    return mean.to(x.dtype), var.to(x.dtype), int(count)


def _has_kernels(x: Tensor) -> bool:
    return x.is_cuda


def _reduced(x: Tensor) -> list[int]:
    """All dimensions but the channels'."""
    return [0, *range(2, x.dim())]


def _across(values: Tensor, x: Tensor) -> Tensor:
    """Values of channels (C,) in a shape that goes with x (B, C, ...)."""
    return values.view(-1, *[1] * (x.dim() - 2))
