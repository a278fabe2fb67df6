"""The part of a bundle's README that says how the raw outputs of a detector become boxes."""

from edgevit_deploy.spec import PADDED, Preprocess, TensorSpec
from edgevit_deploy.spec.detection import Decoding, Level

TEMPLATE = """\
## Decode it
The file gives raw numbers for anchors: no sigmoid, no boxes, no suppression of boxes is in it. `decoding` in `manifest.json` has
all of the figures below.

| logits | deltas | rows | grid (rows x columns) | stride (down, right) | anchors (width x height) at each position, in order |
|---|---|---|---|---|---|
{levels}

1. Row `(y * columns + x) * {anchors} + a` of a level is anchor `a`, centred on the pixel `(x * right, y * down)` of the image.
2. The score of a class is the sigmoid of its logit; classes are independent, and none is the background. The names are the lines
   of `{labels}`. Of each level keep the {candidates} pairs of anchor and class with the largest scores, those
   above {threshold:g}.
3. With an anchor's centre (cx, cy), width w and height h and its deltas (dx, dy, dw, dh), the box has the centre
   (cx + dx * w, cy + dy * h), the width w * exp(dw) and the height h * exp(dh); dw and dh are cut {cut} before. Cut the box at
   the borders of what the image shows of the picture, without what was filled, and drop it if nothing is left.
4. Over all levels, for each class by itself, from the largest score down: drop a box whose overlap with a kept one (intersection
   over union) is above {iou:g}. Of all classes together keep the {most} boxes with the largest scores.
5. {undo}

"""


def decoding_text(decoding: Decoding, labels: str, preprocess: Preprocess) -> str:
    """Return how an app goes on with the outputs, as Markdown.

    Args:
        decoding: of the bundle.
        labels: path of the names of the classes.
        preprocess: which the boxes are taken back through.
    """
    low, high = decoding.scale_range
    return TEMPLATE.format(
        levels="\n".join(map(_row, decoding.levels)),
        anchors=len(decoding.levels[0].anchors),
        labels=labels,
        candidates=decoding.candidates,
        threshold=decoding.score_threshold,
        cut=f"at {high:.6g}" if low is None else f"to {low:.6g} ... {high:.6g}",
        iou=decoding.iou_threshold,
        most=decoding.most,
        undo=_undo(preprocess),
    )


def output_meaning(spec: TensorSpec, decoding: Decoding, labels: str) -> str:
    """Say in a few words what an output of a detector holds."""
    if spec.name in {level.logits for level in decoding.levels}:
        return f"for each anchor a logit for each line of `{labels}`"
    return "for each anchor dx, dy, dw, dh"


def _row(level: Level) -> str:
    anchors = ", ".join(f"{width:.6g} x {height:.6g}" for width, height in level.anchors)
    (rows, columns), (down, right) = level.grid, level.stride
    return f"| `{level.logits}` | `{level.deltas}` | {level.rows} | {rows} x {columns} | {down}, {right} | {anchors} |"


def _undo(preprocess: Preprocess) -> str:
    """Say how boxes of the image become boxes of the picture."""
    if preprocess.fit == "stretch":
        return "Multiply x by the picture's width / the image's, y by its height / the image's."
    place = {"pad": "the top left corner stays where it is", "letterbox": "first subtract where the picture's corner was put"}
    first = place[preprocess.fit] if preprocess.fit in PADDED else "first add where the crop's corner was in the resized picture"
    return (
        f"Back into the picture: {first}; then multiply x by the picture's width / that of the resized one, y by its height / "
        "that of the resized one, and cut at the picture's borders."
    )
