"""The networks that the EdgeViT paper compares itself with (tables 2 and 3), from timm, for latency in the same run.

Their weights are random: latency does not depend on them, accuracy is not measured here. They are converted by the same exporters
as EdgeViT, with the same simplification and folding, but nobody has rewritten them: that favours EdgeViT, and the table says so.
"""

import copy
import sys
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from edgevit_deploy.errors import MissingError, RunError, UsageError, did_you_mean, first_line
from edgevit_deploy.model.ends import Pyramid
from edgevit_deploy.registry import requires
from edgevit_deploy.spec import FEATURE_STRIDES, Size

if TYPE_CHECKING:
    from types import ModuleType

ModuleT = TypeVar("ModuleT", bound=nn.Module)

REFERENCE_PEER = "MobileNetV2"
"""What every latency is also given as a multiple of."""

PEERS = {
    REFERENCE_PEER: "mobilenetv2_100",
    "MobileNetV3-L": "mobilenetv3_large_100",
    "EfficientNet-B0": "efficientnet_b0",
    "MobileViT-XXS": "mobilevit_xxs",
    "MobileViT-XS": "mobilevit_xs",
    "MobileViT-S": "mobilevit_s",
    "PVTv2-B0": "pvt_v2_b0",
    "PVTv2-B1": "pvt_v2_b1",
    "LeViT-384": "levit_384",
    "DeiT-Ti": "deit_tiny_patch16_224",
    "Twins-SVT-S": "twins_svt_small",
    "Swin-T": "swin_tiny_patch4_window7_224",
}
"""The paper's name -> timm's."""

SIZED = ("Swin-T",)
"""Peers that are built for one image size."""

PEER_SIZE = (224, 224)
PEER_CLASSES = 1000

_declared: list[torch.library.Library] = []


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """A network by its name in the paper, and what was done to it beyond a plain conversion.

    `channels` has those of its feature maps, where it is a backbone.
    """

    name: str
    network: nn.Module
    given: str
    channels: tuple[int, ...] = ()


class ChannelsLast(nn.Module):
    """A network behind one copy of the image into channels-last memory, which its convolutions then keep."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor | list[Tensor]:
        """(batch, 3, height, width) -> (batch, classes), or feature maps."""
        return self.network(x.contiguous(memory_format=torch.channels_last))  # type: ignore[no-any-return]


class Backbone(Pyramid):
    """A network of timm's that was made with `features_only`, as what is asked for feature maps."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def features(self, x: Tensor) -> tuple[Tensor, ...]:
        """(batch, 3, height, width) -> its maps, largest first."""
        return tuple(self.network(x))


def check_peer(name: str, *others: str) -> None:
    """Refuse a name that is none of `PEERS`.

    Args:
        name: as the paper has it.
        others: what else would be taken.

    Raises:
        UsageError: the message names the closest.
    """
    if name not in PEERS:
        raise UsageError(f"--peer {name}: no such network; {did_you_mean(name, [*PEERS, *others])}")


def make_peer(name: str, seed: int) -> Peer:
    """Build one of `PEERS` in evaluation mode, without gradients, with timm's own initialisation from a seed.

    Raises:
        MissingError: timm is not installed.
    """
    return _fused(name, _create(name, seed))


def make_backbone(name: str, seed: int, size: Size) -> Peer:
    """Build one of `PEERS` as a backbone: it gives the maps of the strides that EdgeViT's have, and has no head.

    Args:
        name: as the paper has it.
        seed: of its weights.
        size: height and width of the images.

    Raises:
        MissingError: timm is not installed.
        UsageError: timm has no such maps of it, at this size.
    """
    timm = _timm()
    try:
        strides = timm.create_model(PEERS[name], pretrained=False, features_only=True).feature_info.reduction()
        indices = tuple(strides.index(stride) for stride in FEATURE_STRIDES)
    except ValueError as error:
        raise UsageError(
            f"timm's {name} has feature maps of the strides {_listed(strides)}, not {_listed(FEATURE_STRIDES)}"
        ) from error
    except (RuntimeError, AttributeError) as error:
        raise UsageError(f"timm's {name} gives no feature maps ({first_line(error)})") from error
    asked: dict[str, Any] = {"features_only": True, "out_indices": indices}
    if name in SIZED:
        asked["img_size"] = size
    peer = _fused(name, _create(name, seed, **asked))
    with torch.no_grad():
        try:
            shapes = [tuple(each.shape) for each in peer.network(torch.zeros(1, 3, *size))]
        except (RuntimeError, AssertionError) as error:
            raise UsageError(f"timm's {name} takes no images of {size[0]}x{size[1]} ({first_line(error)})") from error
    expected = [(size[0] // stride, size[1] // stride) for stride in FEATURE_STRIDES]
    if [shape[2:] for shape in shapes] != expected:
        raise UsageError(f"timm's {name} gives feature maps {_listed(shapes)}, which should end in {_listed(expected)}")
    return replace(peer, channels=tuple(shape[1] for shape in shapes))


def _listed(items: Iterable[object]) -> str:
    return ", ".join(map(str, items))


def _create(name: str, seed: int, **asked: Any) -> nn.Module:
    timm = _timm()
    fused = timm.layers.use_fused_attn()
    timm.layers.set_fused_attn(False)  # written out: PyTorch Mobile has no fused attention, and other converters take it apart
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network: nn.Module = timm.create_model(PEERS[name], pretrained=False, **asked)
    finally:
        timm.layers.set_fused_attn(fused)
    return network.eval().requires_grad_(False)


def _fused(name: str, network: nn.Module) -> Peer:
    fusable = [module for module in network.modules() if callable(getattr(module, "fuse", None))]
    if not fusable:
        return Peer(name=name, network=network, given="as timm builds it")
    from timm.utils.model import reparameterize_model

    return Peer(name=name, network=reparameterize_model(network), given="timm's own fusion of BatchNorm")


class ClampedConvolution(nn.Conv2d):
    """A convolution and the ReLU or ReLU6 that reads it: one operator, whose output is rounded behind the clamp."""

    clamp: nn.Module

    @classmethod
    def of(cls, convolution: nn.Conv2d, clamp: nn.ReLU | nn.ReLU6) -> "ClampedConvolution":
        """Return both as one; the convolution is not to be used any more."""
        convolution.__class__ = cls
        assert isinstance(convolution, cls)
        convolution.clamp = type(clamp)()
        return convolution

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:  # noqa: A002 - PyTorch's name
        return self.clamp(super()._conv_forward(input, weight, bias))  # type: ignore[no-any-return]


def fold_for_rounding(peer: Peer) -> Peer:
    """Return a peer whose BatchNorms are folded into the convolutions that they read, in float64, and then ReLU and ReLU6.

    Runtimes do so by themselves in floating point. Where values between are rounded they cannot, and a peer that was rounded
    unfolded would be slower than it need be.

    Args:
        peer: in evaluation mode.

    Raises:
        RunError: the folded network computes something else.
    """
    network = copy.deepcopy(peer.network).double()
    image = torch.randn(1, 3, *PEER_SIZE, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    expected = network(image)
    norms = _readers(network, image, nn.BatchNorm2d)
    for found in norms:
        network.set_submodule(found.convolution_path, fuse_conv_bn_eval(found.convolution, found.reader))
        network.set_submodule(found.reader_path, getattr(found.reader, "act", nn.Identity()))  # timm's have theirs inside
    clamps: list[_Pair[nn.ReLU] | _Pair[nn.ReLU6]] = [*_readers(network, image, nn.ReLU), *_readers(network, image, nn.ReLU6)]
    for clamp in clamps:
        network.set_submodule(clamp.convolution_path, ClampedConvolution.of(clamp.convolution, clamp.reader))
        network.set_submodule(clamp.reader_path, nn.Identity())
    # Folding changes float64 outputs by 2e-15 of the largest at most; without BatchNorm's epsilon they change by 4e-5 or more.
    if not torch.allclose(network(image), expected, rtol=1e-9, atol=1e-12):
        raise RunError(f"{peer.name}: with BatchNorm and ReLU folded it computes something else; leave it out")
    folded = [f"{len(pairs)} {kind}" for kind, pairs in (("BatchNorm", norms), ("ReLU", clamps)) if pairs]
    given = f"{' and '.join(folded)} folded into convolutions" if folded else peer.given
    return Peer(name=peer.name, network=network.float().requires_grad_(False), given=given)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pair(Generic[ModuleT]):
    """A convolution, and a module that reads what it gives."""

    convolution_path: str
    convolution: nn.Conv2d
    reader_path: str
    reader: ModuleT


@torch.no_grad()
def _readers(network: nn.Module, image: Tensor, kind: type[ModuleT]) -> list[_Pair[ModuleT]]:
    """Run a network, and return each convolution that a module of some kind reads."""
    made: dict[int, tuple[str, nn.Conv2d, Tensor]] = {}  # the tensors are kept, so that no other has the address of one
    pairs: list[_Pair[ModuleT]] = []

    def hook(path: str, module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        if isinstance(module, nn.Conv2d):
            made[id(output)] = path, module, output
        elif isinstance(module, kind) and id(inputs[0]) in made:
            source, convolution, _ = made.pop(id(inputs[0]))
            pairs.append(_Pair(convolution_path=source, convolution=convolution, reader_path=path, reader=module))

    handles = [module.register_forward_hook(partial(hook, path)) for path, module in network.named_modules()]
    network(image)
    for handle in handles:
        handle.remove()
    return pairs


def make_torchvision_importable() -> None:
    """Make torchvision, and so timm, importable beside a CPU build of PyTorch, to which published torchvision wheels do not fit.

    timm imports torchvision without need. Its wheels are linked against CUDA; with a CPU build of PyTorch their operators are
    missing, and the import ends when it describes `nms`. Declared by name, without code, they are enough for the import. Where
    torchvision fits, nothing is declared.
    """
    try:
        import torchvision  # noqa: F401
    except ImportError:
        return
    except RuntimeError as error:
        if "operator torchvision::" not in str(error):
            raise
        for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
            del sys.modules[name]
        library = torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]
        for operator in ("nms", "qnms"):
            library.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")  # type: ignore[no-untyped-call]
        _declared.append(library)  # dropped, it would take its declarations with it


def _timm() -> "ModuleType":
    availability = requires("timm", extra="timm")
    if not availability.ok:
        raise MissingError(f"the peers come from timm: {availability.detail}; {availability.fix}")
    make_torchvision_importable()
    import timm
    import timm.layers

    module: ModuleType = timm
    return module
