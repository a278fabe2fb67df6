"""The network with what timm's factory, feature extractors, optimisers and scripts ask of a model, as timm's own models answer.

The keys are the reference keys, so what timm's trainer saves of these models is read back by `read_checkpoint`.
"""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from functools import partial
from typing import Literal, overload

from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from edgevit_deploy.errors import UsageError
from edgevit_deploy.model.edgevit import EdgeViT, check_images, initialise
from edgevit_deploy.model.variants import check_classes
from edgevit_deploy.spec import FEATURE_STRIDES, ModelSpec

Indices = int | Sequence[int]  # the last so many stages, or which, counted from 0 or, below 0, from the end
Group = str | list[tuple[str, tuple[int, ...] | None]]  # patterns of parameters' names; what timm appends to the numbers in them


class TimmEdgeViT(EdgeViT):
    """An EdgeViT under timm's roof.

    Args:
        spec: of the network; `num_classes` 0 is for none: what is pooled is returned.
        global_pool: `avg`, or empty for none: the last map is returned.

    Raises:
        UsageError: another `global_pool`, or none in front of a classifier.
    """

    def __init__(self, spec: ModelSpec, global_pool: str = "avg") -> None:
        pool = _checked_pool(global_pool, spec.num_classes)
        super().__init__(replace(spec, num_classes=spec.num_classes or 1))
        self.in_chans = 3
        self.num_features = self.head_hidden_size = spec.channels[3]
        self.grad_checkpointing = False
        self.global_pool = pool
        self.num_classes = spec.num_classes
        # A stage's list of blocks is never called itself, its last block is: hooks and traces of timm find the map there.
        self.feature_info: list[dict[str, int | str]] = [
            {"num_chs": channels, "reduction": stride, "module": f"blocks{number}.{depth - 1}"}
            for number, (channels, stride, depth) in enumerate(
                zip(spec.channels, FEATURE_STRIDES, spec.depths, strict=True), start=1
            )
        ]
        self.last_stage = len(self.feature_info)
        if not spec.num_classes:
            self.reset_classifier(0)

    def no_weight_decay(self) -> set[str]:
        """Return the parameters that are never decayed beyond those that timm spares itself: none."""
        return set()

    def group_matcher(self, coarse: bool = False) -> dict[str, Group]:
        """Return the patterns by which timm finds a parameter's depth: the stem, then each stage, or each block; the head last.

        Args:
            coarse: stages in place of blocks. An embedding belongs to the first block behind it, the norm to the last one.
        """
        norm = (r"^norm", (99999,))  # timm's number for what belongs to the group before it
        stages: Group = [(r"^(?:patch_embed|blocks)(\d)", None), norm]
        blocks: Group = [(r"^patch_embed(\d)", (0,)), (r"^blocks(\d)\.(\d+)", None), norm]
        return {"stem": r"^patch_embed1", "blocks": stages if coarse else blocks}

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Say whether a training computes each block again on the way back, which takes longer and less memory."""
        self.grad_checkpointing = enable

    def get_classifier(self) -> nn.Module:
        """Return the head: a linear layer, or an identity where there are no classes."""
        return self.head

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        """Replace the head by a fresh one.

        Args:
            num_classes: 0 for none.
            global_pool: `avg`, or empty for none; None keeps what is there.

        Raises:
            UsageError: a number of classes that no head has, another `global_pool`, or none in front of a classifier.
        """
        pool = self.global_pool if global_pool is None else global_pool
        self.global_pool = _checked_pool(pool, num_classes)
        self.num_classes = num_classes
        self.spec = replace(self.spec, num_classes=num_classes)
        like = self.get_parameter("patch_embed1.proj.weight")
        head: nn.Module = nn.Identity()
        if num_classes:
            head = nn.Linear(self.num_features, num_classes, bias=self.spec.head_bias, device=like.device, dtype=like.dtype)
        self.add_module("head", head.apply(initialise).train(self.training))

    def forward(self, x: Tensor) -> Tensor:
        """Classify normalised images, or return what `num_classes` and `global_pool` leave; arguments as `EdgeViT.forward`."""
        return self.forward_head(self.forward_features(x))

    def forward_features(self, x: Tensor) -> Tensor:
        """Return the last stage's map behind the final norm: (batch, channels, height / 32, width / 32).

        Raises:
            UsageError: as `EdgeViT.forward`.
        """
        check_images(x)
        for number in range(1, self.last_stage + 1):
            x = self.stage(number, x)
        return self.norm(x)  # type: ignore[no-any-return]

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        """Pool and classify what `forward_features` returns.

        Args:
            x: (batch, channels, height, width).
            pre_logits: leave the classifier out.
        """
        if self.global_pool:
            x = x.flatten(2).mean(-1)
        return x if pre_logits else self.head(x)

    @overload
    def forward_intermediates(
        self,
        x: Tensor,
        indices: Indices | None = None,
        norm: bool = False,
        stop_early: bool = False,
        output_fmt: str = "NCHW",
        intermediates_only: Literal[False] = False,
    ) -> tuple[Tensor, list[Tensor]]: ...

    @overload
    def forward_intermediates(
        self,
        x: Tensor,
        indices: Indices | None = None,
        norm: bool = False,
        stop_early: bool = False,
        output_fmt: str = "NCHW",
        *,
        intermediates_only: Literal[True],
    ) -> list[Tensor]: ...

    def forward_intermediates(
        self,
        x: Tensor,
        indices: Indices | None = None,
        norm: bool = False,
        stop_early: bool = False,
        output_fmt: str = "NCHW",
        intermediates_only: bool = False,
    ) -> tuple[Tensor, list[Tensor]] | list[Tensor]:
        """Return the maps that stages end with, as timm names and orders the arguments.

        Args:
            x: as for `forward`.
            indices: the last so many stages, or which; all where None.
            norm: put the final norm behind the last stage's map.
            stop_early: leave out the stages behind the last one that is asked for.
            output_fmt: NCHW only.
            intermediates_only: the maps alone, without what `forward_features` returns.

        Raises:
            UsageError: no such stage, another format, or as `EdgeViT.forward`.
        """
        if output_fmt != "NCHW":
            raise UsageError(f"output_fmt={output_fmt!r}: maps are (batch, channels, height, width) only; use output_fmt='NCHW'")
        check_images(x)
        taken = _stages(indices, self.last_stage)
        maps = []
        for index in range(max(taken) + 1 if stop_early else self.last_stage):
            x = self.stage(index + 1, x)
            ends = index == len(self.feature_info) - 1
            if index in taken:
                maps.append(self.norm(x) if norm and ends else x)
        if intermediates_only:
            return maps
        return (self.norm(x) if ends else x), maps

    def prune_intermediate_layers(self, indices: Indices = 1, prune_norm: bool = False, prune_head: bool = True) -> list[int]:
        """Drop what the maps of some stages do not need, and return their indices.

        Args:
            indices: as for `forward_intermediates`.
            prune_norm: drop the final norm; it goes as well where the last stage goes.
            prune_head: drop the classifier; it goes likewise.

        Raises:
            UsageError: no such stage.
        """
        taken = _stages(indices, self.last_stage)
        last = max(taken)
        shortened = last + 1 < self.last_stage
        for number in range(last + 2, self.last_stage + 1):
            delattr(self, f"patch_embed{number}")
            delattr(self, f"blocks{number}")
        self.last_stage = last + 1
        if shortened:
            self.num_features = self.head_hidden_size = self.spec.channels[last]
        if prune_norm or shortened:
            self.add_module("norm", nn.Identity())
        if prune_head or shortened:
            self.reset_classifier(0, "")
        return taken

    def stage(self, number: int, x: Tensor) -> Tensor:
        """Run one stage as `EdgeViT.stage`; with gradient checkpoints, where they were asked for."""
        if not self.grad_checkpointing:
            return super().stage(number, x)
        x = self.get_submodule(f"patch_embed{number}")(x)
        for block in self.get_submodule(f"blocks{number}").children():
            x = checkpoint(block, x, use_reentrant=False, context_fn=partial(_contexts, block))
        return x


def _stages(indices: Indices | None, count: int) -> list[int]:
    """Return which of the stages are meant, counted from 0."""
    chosen = range(-(count if indices is None else indices), 0) if indices is None or isinstance(indices, int) else indices
    if not chosen or not all(-count <= index < count for index in chosen):
        raise UsageError(
            f"feature indices {indices}: expected how many of the last {count} stages, or which, from 0 to {count - 1}"
        )
    return [index % count for index in chosen]


def _checked_pool(global_pool: str, num_classes: int) -> str:
    if num_classes:
        check_classes(num_classes)
    if global_pool not in ("avg", ""):
        raise UsageError(f"global_pool={global_pool!r}: an EdgeViT takes the average; use global_pool='avg', or '' for none")
    if num_classes and not global_pool:
        raise UsageError("global_pool='' leaves a map, which the classifier does not read; use num_classes=0 with it")
    return global_pool


def _contexts(block: nn.Module) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
    """Return in what a block is computed, and in what it is computed again."""
    return nullcontext(), _unrecorded(block)


@contextmanager
def _unrecorded(block: nn.Module) -> Iterator[None]:
    """Let BatchNorm record its running statistics into copies: they would count the same batch twice."""
    norms = [module for module in block.modules() if isinstance(module, nn.BatchNorm2d)]
    kept = [dict(norm.named_buffers()) for norm in norms]
    for norm, buffers in zip(norms, kept, strict=True):
        for name, buffer in buffers.items():
            setattr(norm, name, buffer.clone())
    try:
        yield
    finally:
        for norm, buffers in zip(norms, kept, strict=True):
            for name, buffer in buffers.items():
                setattr(norm, name, buffer)
