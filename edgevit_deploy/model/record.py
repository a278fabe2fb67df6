"""What a bundle records of its network."""

from dataclasses import dataclass

from edgevit_deploy.spec import DENSE_TASKS, PUBLISHED_BLOCK, BlockSpec, HeadSpec, Size, Task


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRecord:
    """The network: exactly one of `weights_sha256` (of the checkpoint file) and `random_seed` is set.

    `head` is what stands on the feature maps of a network for dense prediction; None in a classifier.
    Bundles from before there were ablations have no `block`.
    """

    variant: str
    depths: tuple[int, int, int, int]
    channels: tuple[int, int, int, int]
    head_dim: int
    num_classes: int
    parameters: int
    norm_eps: float
    inner_norm_eps: float
    head_bias: bool
    image_size: Size
    weights_sha256: str | None
    random_seed: int | None
    dialect: str | None
    head: HeadSpec | None = None
    block: BlockSpec = PUBLISHED_BLOCK

    @property
    def task(self) -> Task:
        """What the network is for: its head's task, or to classify."""
        return DENSE_TASKS[self.head.kind] if self.head else "classify"
