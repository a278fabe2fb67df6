"""What a file says about its network beside the weights: image size, class names, preprocessing.

Our own files and Birder's state all of it, and what contradicts the tensors is refused. Other trainers leave traces: the
published one its arguments (`args.input_size`), timm its arguments and a model's `pretrained_cfg`, EasyCV the class names
(`meta["CLASSES"]`). A trace that is not what it should be is not used, and a note says so.
"""

from collections.abc import Mapping, Sequence

from edgevit_deploy.model.dialects import BIRDER, Dialect
from edgevit_deploy.model.extras.beside import Beside, Extras, Quad, is_one_line
from edgevit_deploy.model.extras.birder import check_config, read_birder
from edgevit_deploy.model.extras.own import METADATA_KEY, read_own
from edgevit_deploy.model.extras.traces import read_traces

__all__ = ["Beside", "Extras", "Quad", "check_config", "read_extras"]


def read_extras(extras: Extras, dialect: Dialect, variants: Sequence[str], num_classes: int) -> Beside:
    """Read what stands beside the weights.

    Args:
        extras: the other entries of the file.
        dialect: of its tensors.
        variants: all that its tensors may be; the first one where nobody says otherwise.
        num_classes: of its head.

    Raises:
        UsageError: what our own file or Birder's says contradicts its tensors, or is not what we or Birder write.
    """
    if METADATA_KEY in extras:
        return read_own(extras, variants, num_classes)
    if dialect.name == BIRDER.name:
        return read_birder(extras, num_classes)
    traces = read_traces(extras)
    labels, label_notes = _easycv_labels(extras, num_classes)
    return Beside(
        preprocess=traces.preprocess,
        told=traces.told,
        labels=labels,
        notes=(*traces.notes, *label_notes),
        crop_ratio=traces.crop_ratio,
    )


def _easycv_labels(extras: Extras, num_classes: int) -> tuple[tuple[str, ...] | None, list[str]]:
    meta = extras.get("meta")
    names = meta.get("CLASSES") if isinstance(meta, Mapping) else None
    if names is None:
        return None, []
    if not isinstance(names, list | tuple) or not all(isinstance(name, str) and is_one_line(name) for name in names):
        return None, ["class names in `meta.CLASSES` not used: they are no list of lines of text"]
    if len(names) != num_classes:
        return None, [f"class names in `meta.CLASSES` not used: they are {len(names)} and the head has {num_classes} classes"]
    return tuple(names), ["class names taken from `meta.CLASSES`"]
