"""The published variants by name, and `create_model`, which builds them.

The published code and the paper's Table 1 give different depths for XS and S. Plain names are the code's, which all known
checkpoints follow; `_table1` names are the paper's. Heads follow the code in both (head_dim 48, that is 1, 2, 5 and 8):
Table 1's four heads in stage 3 leave no trace in a checkpoint's shapes and no published weights use them.

`ABLATIONS` are XXS with other blocks (paper, table 4 and A.2). Their depths are those nearest in proportion to XXS's of all that
cost as much as XXS within 5 %, counted at 224 x 224: `docs/measurements/scripts/ablation_depths.py` finds them again.
"""

from dataclasses import replace
from typing import TYPE_CHECKING

from edgevit_deploy.errors import UsageError, did_you_mean
from edgevit_deploy.spec import MAX_CLASSES, BlockSpec, ModelSpec, imagenet_preprocess

if TYPE_CHECKING:
    from edgevit_deploy.model.edgevit import EdgeViT

XXS_CHANNELS = (36, 72, 144, 288)
XS_CHANNELS = (48, 96, 240, 384)

PUBLISHED: dict[str, ModelSpec] = {
    spec.variant: spec
    for spec in (
        ModelSpec(variant="edgevit_xxs", depths=(1, 1, 3, 2), channels=XXS_CHANNELS, head_dim=36),
        ModelSpec(variant="edgevit_xs", depths=(1, 1, 3, 1), channels=XS_CHANNELS, head_dim=48),
        ModelSpec(variant="edgevit_s", depths=(1, 2, 5, 3), channels=XS_CHANNELS, head_dim=48),
        ModelSpec(variant="edgevit_xs_table1", depths=(1, 1, 2, 2), channels=XS_CHANNELS, head_dim=48),
        ModelSpec(variant="edgevit_s_table1", depths=(1, 2, 3, 2), channels=XS_CHANNELS, head_dim=48),
    )
}
"""The paper's networks, with its block."""

BASELINE = PUBLISHED["edgevit_xxs"]
"""What the ablations are compared with."""

ABLATIONS: dict[str, ModelSpec] = {
    f"{BASELINE.variant}_{'_'.join(block.words())}": replace(
        BASELINE, variant=f"{BASELINE.variant}_{'_'.join(block.words())}", depths=depths, block=block
    )
    for block, depths in (
        (BlockSpec(local="none", attention="reduced"), (1, 1, 4, 3)),
        (BlockSpec(local="grouped"), (1, 1, 3, 1)),
        (BlockSpec(sampler="center"), (1, 1, 3, 2)),
        (BlockSpec(sampler="avg"), (1, 1, 3, 2)),
        (BlockSpec(sampler="max"), (1, 1, 3, 2)),
        (BlockSpec(attention="reduced"), (1, 1, 2, 2)),
        (BlockSpec(spread="bilinear"), (1, 1, 3, 2)),
    )
}
"""`edgevit_xxs_without_la`, `_lsa`, `_center`, `_avg`, `_max`, `_without_lp` and `_bilinear`."""

VARIANTS: dict[str, ModelSpec] = PUBLISHED | ABLATIONS
"""Everything that has a name."""

PAPER_PARAMETERS_MILLION = {"edgevit_xxs": 4.1, "edgevit_xs": 6.7, "edgevit_s": 11.1}
"""The paper's parameter counts; the published S has 13.1 million, which its own Table 1 depths do not explain either."""


def find_variant(name: str) -> ModelSpec:
    """Return the spec of a published variant or of an ablation.

    Raises:
        UsageError: no variant has this name; the message names the closest.
    """
    if name not in VARIANTS:
        raise UsageError(f"no model {name!r}; {did_you_mean(name, VARIANTS)}")
    return VARIANTS[name]


def check_classes(num_classes: int) -> None:
    """Refuse a number of classes that no head has.

    Raises:
        UsageError: fewer than one class, or more than MAX_CLASSES.
    """
    if num_classes < 1:
        raise UsageError(f"a classifier needs at least 1 class, got {num_classes}")
    if num_classes > MAX_CLASSES:
        raise UsageError(f"a classifier has at most {MAX_CLASSES} classes, more were asked for")


def create_model(
    name: str,
    *,
    num_classes: int = 1000,
    image_size: int | tuple[int, int] = 224,
    norm_eps: float = 1e-6,
    head_bias: bool = True,
) -> "EdgeViT":
    """Build a variant with freshly initialised weights, in evaluation mode.

    Args:
        name: `edgevit_xxs`, `edgevit_xs`, `edgevit_s`, or `edgevit_xs_table1`, `edgevit_s_table1` for the paper's depths; or one
            of `ABLATIONS`, for example `edgevit_xxs_lsa`.
        num_classes: outputs of the head.
        image_size: the size the model is meant for, a side or (height, width) in pixels; the network itself takes any
            multiple of 32.
        norm_eps: epsilon of the LayerNorms around attention and FFN.
        head_bias: whether the head has a bias.

    Raises:
        UsageError: unknown name, a size that is not a multiple of 32, fewer than one class, or more than MAX_CLASSES.
    """
    from edgevit_deploy.model.edgevit import EdgeViT

    check_classes(num_classes)
    size = (image_size, image_size) if isinstance(image_size, int) else image_size
    spec = replace(find_variant(name), num_classes=num_classes, norm_eps=norm_eps, head_bias=head_bias)
    return EdgeViT(spec.with_image_size(size)).eval()


__all__ = [
    "ABLATIONS",
    "PAPER_PARAMETERS_MILLION",
    "PUBLISHED",
    "VARIANTS",
    "create_model",
    "find_variant",
    "imagenet_preprocess",
]
