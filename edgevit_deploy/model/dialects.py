"""The ways in which EdgeViT checkpoints name their tensors, each as an explicit table to and from the reference keys.

The reference keys are the published code's (`saic-fi`), which are also our network's. A dialect is a table of prefixes and a
table of path segments; both directions come from the same tables, and a key that does not survive the round trip is not the
dialect's. Sources, each read at the module named:

saic-fi   saic-fi/edgevit src/edgevit.py: `patch_embed1.`, `blocks1.0.LocalAgg.`, `blocks1.0.SelfAttn.`, `norm.`, `head.`;
          LayerNorm epsilon 1e-6.
easycv    alibaba/EasyCV easycv/models/backbones/edgevit.py and classification/classification.py: the same below `backbone.`,
          and the classifier `head_0.fc_cls.` (`head.fc_cls.` where a tool renamed the only head). LayerNorm epsilon 1e-8,
          which its configurations never override.
birder    birder-project/birder birder/net/edgevit.py: `body.stage1.patch_embed.`, `body.stage1.blocks.0.local_agg.`,
          `.self_attn.`, `.local_prop.`, the last BatchNorm `features.0.`, `classifier.`; LayerNorm epsilon 1e-6.
timm      timm has no EdgeViT of its own. This is its house naming applied to the network: stages count from 0
          (`stages.0.patch_embed.`, `stages.0.blocks.0.local_agg.`, `.self_attn.`, `.local_prop.`), `norm.`, `head.fc.`;
          LayerNorm epsilon 1e-6. Models registered by `timm_models` keep the reference keys, so that what timm's trainer
          saves of them is saic-fi inside timm's wrapper.

The inner LayerNorms (patch embeddings, after LocalProp) have PyTorch's default 1e-5 in all of them.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from edgevit_deploy.errors import UsageError

Renames = tuple[tuple[str, str], ...]
"""Pairs of (reference, file)."""

WRAPPER_SEGMENTS = ("module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module")
"""What DistributedDataParallel and AveragedModel, torch.compile, FSDP and activation checkpointing put before the names of what
they wrap: before every key, or inside those of the parts that they wrap."""

MAX_PREFIX_SEGMENTS = 8
MAX_KEY_CHARACTERS = 300

STAGES = (1, 2, 3, 4)
SNAKE_CASE: Renames = (("LocalAgg", "local_agg"), ("SelfAttn", "self_attn"), ("LocalProp", "local_prop"))
ARXIV_V1_MARKS = ("downsampling_norm.", "pointwise_prenorm_0.", "conditional_ositional_encoding.")
"""Module names of 1hunters/EdgeViT edgevit.py (its spelling), which no other known EdgeViT has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """One naming of the tensors.

    `norm_eps` is the epsilon that this source gives the LayerNorms around attention and FFN: no file holds it. `prefixes`
    cover every reference key; `segments` rename single parts between dots behind the prefix. `place` stands before every key:
    the attributes that hold the network in what was saved, `model.` for example.
    """

    name: str
    norm_eps: float
    prefixes: Renames
    segments: Renames = ()
    place: str = ""

    def to_file(self, reference_key: str) -> str | None:
        """Return the key that this dialect gives a reference key; None when it is not a reference key."""
        renamed = _rename(reference_key, self.prefixes, self.segments)
        return None if renamed is None else self.place + renamed

    def to_reference(self, file_key: str) -> str | None:
        """Return the reference key of a key in a file; None when this dialect has no such key."""
        if not file_key.startswith(self.place):
            return None
        reference = _rename(file_key.removeprefix(self.place), _reversed(self.prefixes), _reversed(self.segments))
        return reference if reference is not None and self.to_file(reference) == file_key else None


def _rename(key: str, prefixes: Renames, segments: Renames) -> str | None:
    names = dict(segments)
    for old, new in prefixes:
        if key.startswith(old):
            return new + ".".join(names.get(part, part) for part in key.removeprefix(old).split("."))
    return None


def _reversed(renames: Renames) -> Renames:
    return tuple((file, reference) for reference, file in renames)


def _prefixes(patch_embed: str, blocks: str, norm: str, head: str, first_stage: int = 1) -> Renames:
    """Return the prefix table of a dialect; `patch_embed` and `blocks` hold a `{}` for the number of the stage."""
    numbers = [(stage, stage - 1 + first_stage) for stage in STAGES]
    return (
        *((f"patch_embed{stage}.", patch_embed.format(number)) for stage, number in numbers),
        *((f"blocks{stage}.", blocks.format(number)) for stage, number in numbers),
        ("norm.", norm),
        ("head.", head),
    )


def _easycv(head: str) -> Dialect:
    prefixes = _prefixes("backbone.patch_embed{}.", "backbone.blocks{}.", "backbone.norm.", head)
    return Dialect(name="easycv", norm_eps=1e-8, prefixes=prefixes)


SAIC = Dialect(name="saic-fi", norm_eps=1e-6, prefixes=_prefixes("patch_embed{}.", "blocks{}.", "norm.", "head."))
EASYCV = _easycv("head_0.fc_cls.")
EASYCV_ONE_HEAD = _easycv("head.fc_cls.")
BIRDER = Dialect(
    name="birder",
    norm_eps=1e-6,
    prefixes=_prefixes("body.stage{}.patch_embed.", "body.stage{}.blocks.", "features.0.", "classifier."),
    segments=SNAKE_CASE,
)
TIMM = Dialect(
    name="timm",
    norm_eps=1e-6,
    prefixes=_prefixes("stages.{}.patch_embed.", "stages.{}.blocks.", "norm.", "head.fc.", first_stage=0),
    segments=SNAKE_CASE,
)

DIALECTS = (SAIC, EASYCV, EASYCV_ONE_HEAD, BIRDER, TIMM)
STARTS = tuple((dialect, tuple(file for _, file in dialect.prefixes)) for dialect in DIALECTS)


def find_dialect(keys: Iterable[str]) -> Dialect:
    """Return the dialect, at its place, that knows the most keys of a file, if it knows at least half of those at that place.

    Raises:
        UsageError: the keys are those of another network.
    """
    names = list(keys)
    if any(mark in name for name in names for mark in ARXIV_V1_MARKS):
        raise UsageError(
            "this is the network of the paper's first arXiv version (GroupNorm, LocalAgg in all stages; 1hunters/EdgeViT), "
            "another network than the published one; give a checkpoint of the published code"
        )
    found = matching_dialect(names)
    if found is None:
        raise UsageError(
            f"not an EdgeViT: its tensors have names like {', '.join(name[:MAX_KEY_CHARACTERS] for name in names[:3])}; "
            f"expected the names of {', '.join(dict.fromkeys(dialect.name for dialect in DIALECTS))}{_nearest(names)}"
        )
    return found


def matching_dialect(names: list[str]) -> Dialect | None:
    """Return what `find_dialect` does, or None where it refuses."""
    best = _most_known(names)
    return best if best is not None and _is_network(names, best) else None


def without_wrappers(key: str) -> str:
    """Return a key without the names of training wrappers in it."""
    return ".".join(segment for segment in key.split(".") if segment not in WRAPPER_SEGMENTS)


def _most_known(names: list[str]) -> Dialect | None:
    """Return the dialect at the place where it knows the most keys: the shortest such place, and the first such dialect."""
    counts = Counter((dialect, place) for name in names for dialect, place in _readings(name))
    if not counts:
        return None
    dialect, place = max(counts, key=lambda found: (counts[found], -len(found[1]), -DIALECTS.index(found[0])))
    return replace(dialect, place=place)


def _readings(name: str) -> Iterator[tuple[Dialect, str]]:
    """Yield each dialect to which the end of a key belongs, and what stands before that end."""
    segments = name.split(".", MAX_PREFIX_SEGMENTS + 1) if len(name) <= MAX_KEY_CHARACTERS else []
    start = 0
    for segment in segments[: MAX_PREFIX_SEGMENTS + 1]:
        for dialect, starts in STARTS:
            if name.startswith(starts, start) and dialect.to_reference(name[start:]) is not None:
                yield dialect, name[:start]
        start += len(segment) + 1


def _is_network(names: list[str], dialect: Dialect) -> bool:
    """Say whether at least half of the keys at a dialect's place are its own, and not only those of a head behind a norm."""
    at_place = [name for name in names if name.startswith(dialect.place)]
    known = [reference for reference in map(dialect.to_reference, at_place) if reference is not None]
    return 2 * len(known) >= len(at_place) and any(reference.startswith(("patch_embed", "blocks")) for reference in known)


def _nearest(names: list[str]) -> str:
    dialect = _most_known(names)
    if dialect is None:
        return ""
    known = sum(dialect.to_reference(name) is not None for name in names)
    return f", of which {dialect.name} is the nearest: it knows {known} of {len(names)}"
