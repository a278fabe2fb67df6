"""The checkpoint that a training hands over: weights with everything that a conversion must know of them."""

import json
from pathlib import Path

import msgspec
from torch import Tensor

from edgevit_deploy.calibration.record import CALIBRATION_NAME
from edgevit_deploy.errors import UsageError
from edgevit_deploy.outside.text import writable
from edgevit_deploy.process.interrupts import INTERRUPTS
from edgevit_deploy.spec import ModelSpec
from edgevit_deploy.train.durable import replace_durably
from edgevit_deploy.train.evaluation import Count
from edgevit_deploy.train.pictures import Pictures
from edgevit_deploy.train.recipe import Recipe
from edgevit_deploy.train.rounding import TrainedRounding

VERSION = 1
METADATA_KEY = "edgevit_deploy"
LENGTH_BYTES = 8
"""Of the header's length, with which such a file begins."""

BEST, LAST = "best.safetensors", "last.safetensors"


def weights_bytes(
    state: dict[str, Tensor], spec: ModelSpec, pictures: Pictures, recipe: Recipe, count: Count, rounding: TrainedRounding | None
) -> bytes:
    """Return a safetensors file: the published keys, and in its metadata what belongs to them.

    Args:
        state: averaged weights.
        spec: of the network, with the image size and preprocessing of the evaluation.
        pictures: whose class names and digest are recorded.
        recipe: as it was resolved.
        count: of the evaluation of these weights.
        rounding: for which files they were trained; None where they round nothing.
    """
    about: dict[str, object] = {
        "recipe": msgspec.to_builtins(recipe),
        "data": {"sha256": pictures.sha256, "train_pictures": len(pictures.train), "val_pictures": len(pictures.val)},
        "accuracy": {"top1": count.top1, "top5": count.top5, "pictures": count.pictures, "weights": "averaged"},
    }
    if rounding is not None:
        about["trained_for"] = {"target": rounding.target, "precision": rounding.precision}
    return checkpoint_bytes(state, spec, [writable(name) for name in pictures.classes], about)


def checkpoint_bytes(state: dict[str, Tensor], spec: ModelSpec, labels: list[str], more: dict[str, object]) -> bytes:
    """Return a safetensors file of weights with what a conversion must know of them.

    Args:
        state: the weights.
        spec: of the network, with the image size and preprocessing of the evaluation.
        labels: class names, in class order.
        more: what else is recorded.
    """
    from safetensors.torch import save

    about = {
        "version": VERSION,
        "variant": spec.variant,
        "image_size": list(spec.image_size),
        "labels": labels,
        "preprocess": msgspec.to_builtins(spec.preprocess),
        **more,
    }
    plain = {key: tensor.detach().cpu().contiguous() for key, tensor in state.items()}
    return _in_one_order(save(plain, metadata={"format": "pt", METADATA_KEY: json.dumps(about)}))


def replace_best(folder: Path, content: bytes, calibration: bytes | None) -> None:
    """Write the best weights with the ranges by which they were evaluated; Ctrl-C waits until both are there.

    The ranges of other weights go first, so that whatever ends it leaves none beside these; also where these have none.

    Args:
        folder: of the run.
        content: the checkpoint.
        calibration: its `calibration.json`; None where it needs none.

    Raises:
        UsageError: the folder cannot be written.
    """
    ranges = folder / CALIBRATION_NAME
    with INTERRUPTS.held():
        try:
            ranges.unlink(missing_ok=True)
        except OSError as error:
            raise UsageError(f"{ranges} cannot be removed ({error.strerror}); remove it, or give another --output") from error
        replace_durably({folder / BEST: content} | ({} if calibration is None else {ranges: calibration}))


def count_in(file: Path) -> Count | None:
    """Return the evaluation that such a file records of its weights; None where there is no file, or another program's."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(file, framework="pt") as opened:
            about = json.loads(opened.metadata()[METADATA_KEY])["accuracy"]
        return Count(top1=about["top1"], top5=about["top5"], pictures=about["pictures"])
    except (OSError, SafetensorError, TypeError, KeyError, ValueError, RecursionError):
        return None


def _in_one_order(content: bytes) -> bytes:
    """Return the same file with the names in its header sorted: safetensors writes metadata in an order of chance."""
    start = LENGTH_BYTES + int.from_bytes(content[:LENGTH_BYTES], "little")
    header = json.dumps(json.loads(content[LENGTH_BYTES:start]), sort_keys=True, separators=(",", ":")).encode()
    header += b" " * (-len(header) % LENGTH_BYTES)  # the tensors stay aligned
    return len(header).to_bytes(LENGTH_BYTES, "little") + header + content[start:]
