"""What a training writes so that it can go on after it was killed: two files, the last state and the one before.

Each is written beside its place, flushed to the disk and renamed, and begins with the SHA-256 of the rest, so that a file that is
cut or changed is noticed. Nothing in it is executed: PyTorch reads tensors, numbers and text only.
"""

import hashlib
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from edgevit_deploy.errors import UsageError, first_line
from edgevit_deploy.outside.files import read_bounded
from edgevit_deploy.spec import MAX_FILE_BYTES, ModelSpec
from edgevit_deploy.train.durable import replace_durably
from edgevit_deploy.train.job import TrainingJob
from edgevit_deploy.train.pictures import Pictures
from edgevit_deploy.train.recipe import differences

LAST, PREVIOUS = "checkpoint-last.pt", "checkpoint-previous.pt"
MAGIC = b"edgevit-deploy training state 1\n"
DIGEST_BYTES = 65
"""A SHA-256 in hexadecimal, and a line break."""

State = dict[str, Any]
"""Names -> tensors, numbers, text, and lists and dictionaries of them."""


def save_state(folder: Path, state: State) -> None:
    """Write the state as the last one; what was the last becomes the one before.

    Raises:
        UsageError: the folder cannot be written.
    """
    import torch

    payload = io.BytesIO()
    torch.save(state, payload)
    content = payload.getvalue()
    digest = hashlib.sha256(content).hexdigest().encode() + b"\n"
    replace_durably({folder / LAST: MAGIC + digest + content}, kept={folder / LAST: folder / PREVIOUS})


def load_state(folder: Path) -> tuple[State, str]:
    """Return the newest state that is whole, and a note if it is not the last one.

    Raises:
        UsageError: there is none.
    """
    reasons: list[str] = []
    for name in (LAST, PREVIOUS):
        try:
            state = _read(folder / name)
        except UsageError as error:
            reasons.append(f"{name}: {error}")
            continue
        return state, f"{reasons[0]}; going on from {name}" if reasons else ""
    raise UsageError(f"--resume: nothing in {folder} to go on from ({'; '.join(reasons)}); drop --resume to begin anew")


def identity(job: TrainingJob, pictures: Pictures, spec: ModelSpec, calibration: tuple[str, ...]) -> dict[str, Any]:
    """Return what must be the same when a training goes on.

    Args:
        job: what is asked for.
        pictures: of the training.
        spec: of the network.
        calibration: SHA-256 of the pictures that show ranges.

    Raises:
        UsageError: the checkpoint to begin with cannot be read.
    """
    finetune = None
    if job.finetune is not None:
        try:
            finetune = hashlib.sha256(read_bounded(job.finetune, MAX_FILE_BYTES)).hexdigest()
        except OSError as error:
            raise UsageError(f"--finetune {job.finetune}: cannot be read ({error.strerror}); name a file") from error
    return {
        "recipe": msgspec.to_builtins(job.recipe),
        "classes": list(pictures.classes),
        "data": pictures.sha256,
        "model": spec.variant,
        "preprocess": msgspec.to_builtins(spec.preprocess),
        "finetune": finetune,
        "rounding": job.rounding and job.rounding.identity(),
        "calibration": list(calibration),
    }


def check_same(old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
    """Refuse to go on with another training than the one that was begun.

    Raises:
        UsageError: naming the first thing that differs.
    """
    new = json.loads(json.dumps(new))  # as the old one was kept
    changed = differences(old["recipe"], new["recipe"])
    if changed:
        raise UsageError(f"--resume: the recipe has changed: {', '.join(changed)}; give what it was, or another --output")
    if len(old["classes"]) != len(new["classes"]):
        raise UsageError(
            f"--resume: the training was begun with {len(old['classes'])} classes, the data have {len(new['classes'])}; "
            "give the data it was begun with, or another --output"
        )
    for name, what in (("classes", "names or order of the classes"), ("data", "pictures")):
        if old[name] != new[name]:
            raise UsageError(f"--resume: the {what} in --data have changed; give the data it was begun with, or another --output")
    if old["preprocess"] != new["preprocess"]:
        raise UsageError("--resume: the preprocessing is not what the training was begun with; give that, or another --output")
    if old.get("rounding") != new["rounding"]:
        files = [found["files"] if (found := kind.get("rounding")) else "no rounding" for kind in (old, new)]
        raise UsageError(
            f"--resume: the training was begun with {files[0]}, and --qat is {files[1]} now, or rounds in another way; give what "
            "it was, or another --output"
        )
    if old.get("calibration", []) != new["calibration"]:
        raise UsageError(
            "--resume: the pictures of --calibration have changed; give those it was begun with, or another --output"
        )
    for name in ("model", "finetune"):
        if old[name] != new[name]:
            raise UsageError(f"--resume: --{name} is not what the training was begun with; give that, or another --output")


def has_state(folder: Path) -> bool:
    """Say whether a training has left a state in a folder."""
    return any((folder / name).exists() for name in (LAST, PREVIOUS))


def _read(path: Path) -> State:
    import torch

    try:
        data = read_bounded(path, MAX_FILE_BYTES)
    except FileNotFoundError:
        raise UsageError("not there") from None
    except OSError as error:
        raise UsageError(f"cannot be read ({error.strerror})") from error
    head = len(MAGIC) + DIGEST_BYTES
    content = memoryview(data)[head:]
    if not data.startswith(MAGIC) or hashlib.sha256(content).hexdigest().encode() + b"\n" != data[len(MAGIC) : head]:
        raise UsageError("cut short or changed")
    try:
        state: State = torch.load(io.BytesIO(content), weights_only=True, map_location="cpu")
    except Exception as error:  # of a parser of pickles; no list of them is complete
        raise UsageError(f"not a state of a training ({first_line(error)[:100]})") from error
    return state
