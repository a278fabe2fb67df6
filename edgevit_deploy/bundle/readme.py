"""The README.md inside a bundle: what the file is, what to feed it, and how to prove it on the device."""

from edgevit_deploy.bundle.decoding import decoding_text, output_meaning
from edgevit_deploy.bundle.folder import GOLDEN_INPUTS, STORED
from edgevit_deploy.bundle.manifest import Manifest
from edgevit_deploy.outside.text import figure
from edgevit_deploy.parity.gate import OutputDiff, why_not_finite
from edgevit_deploy.spec import INPUTS, PADDED, InputType, OutputKind, Preprocess, TensorSpec

TEMPLATE = """\
# {variant}, {target} {precision}

`{path}`: EdgeViT ({variant}, {parameters:,} parameters, {classes} classes) for **{target}** in {precision}.
{origin}

| | name | shape | dtype | holds |
|---|---|---|---|---|
| input | `{input.name}` | {input_shape} | {input.dtype} | {input_meaning} |
{outputs}

## Feed it right
1. Decode the picture upright (EXIF) as {color_order}.
2. Resize with {interpolation}, antialiased, to {resize}, then {crop}.
3. {normalisation}

{decoding}## Load it
{usage}

## Prove it on your device
`{golden.input.path}` holds {golden_count} inputs {golden.input.shape} and {golden_outputs}
what they must give: {golden_types}, C order, no header. The outputs are PyTorch's float64 results.
Feed each and compare: {compared} on the host that made this bundle {measured};
more than {atol} is wrong.

    edgevit-deploy verify THIS_FOLDER

## Verdict
{verdict}

{notes}"""

DECODING: dict[OutputKind, str] = {
    "class_maps": """\
## Decode it
The class of a pixel is the place of its largest logit along the class axis (argmax; ties go to the lower place), and its name
that line of `{labels}`; there is no softmax in the file, and none is needed. Pixel (y, x) of the output is pixel (y, x) of the
input: undo the resizing above to get back to the picture, and drop what was filled. To draw it, give each class a colour of a
palette and look it up by the class: `palette[logits[0].argmax(0)]` in NumPy.

"""
}
"""What an app does with outputs that are no list of classes."""

SEVERAL_OUTPUTS = (
    "**This file has {count} outputs**, and what follows shows how one is taken. Take each by its name above; where the "
    "runtime knows no names, they come in the order above."
)


def bundle_readme(manifest: Manifest, usage: str) -> str:
    """Write the README of one bundle.

    Args:
        manifest: of the bundle; its file list may still be empty.
        usage: Markdown of the target's exporter: how an app loads the file.
    """
    (inputs,), takes = manifest.inputs, INPUTS[manifest.conversion.takes]
    model, preprocess, golden = manifest.model, manifest.preprocess, manifest.golden
    given = [manifest.parity.given(array.name, model.image_size) for array in golden.outputs]
    largest = max((diff.error for diffs in given for diff in diffs), default=None)
    ran = manifest.parity.status != "built, not run"
    return TEMPLATE.format(
        variant=model.variant,
        target=manifest.target,
        precision=manifest.precision,
        path=manifest.path,
        parameters=model.parameters,
        classes=model.num_classes,
        origin=_origin(manifest),
        input=inputs,
        input_shape=_shape(inputs),
        input_meaning=takes.holds,
        outputs="\n".join(_output_row(manifest, spec) for spec in manifest.outputs),
        color_order=preprocess.color_order,
        interpolation=preprocess.interpolation,
        resize=_resize(manifest),
        crop=_crop(manifest.preprocess),
        normalisation=_normalisation(manifest),
        decoding=_decoding(manifest),
        usage=_usage(usage.strip(), takes.dtype, len(manifest.outputs)),
        golden=golden,
        golden_types="raw little-endian float32" if takes.dtype == "float32" else f"raw {takes.dtype} and little-endian float32",
        golden_count=golden.input.shape[0],
        golden_outputs=", ".join(f"`{array.path}` {array.shape}" for array in golden.outputs),
        compared="the root of the mean square difference" if manifest.quantisation else "the largest difference",
        measured="was not measured (the file could not run there)" if largest is None or not ran else f"was {figure(largest)}",
        atol=_atol([diffs[0] for diffs in given if diffs]),
        verdict=_verdict(manifest),
        notes="".join(f"- {note}\n" for note in manifest.notes),
    )


def _decoding(manifest: Manifest) -> str:
    if manifest.decoding is not None:
        return decoding_text(manifest.decoding, manifest.labels.path, manifest.preprocess)
    return DECODING.get(manifest.conversion.returns, "").format(labels=manifest.labels.path)


def _usage(usage: str, dtype: InputType, outputs: int) -> str:
    """Return how an app loads the file, its Python reading the golden inputs in their type."""
    if outputs > 1:
        usage = f"{SEVERAL_OUTPUTS.format(count=outputs)}\n\n{usage}"
    read = {kind: f'"{GOLDEN_INPUTS[kind]}", "{STORED[kind]}"' for kind in GOLDEN_INPUTS}
    return usage.replace(read["float32"], read[dtype])


def _atol(diffs: list[OutputDiff]) -> str:
    """Say the bound of each output."""
    if len(diffs) < 2:
        return f"{diffs[0].tolerance.atol:.2g}" if diffs else "the noise of its precision"
    return ", ".join(f"{diff.tolerance.atol:.2g} (`{diff.output}`)" for diff in diffs)


def _origin(manifest: Manifest) -> str:
    model = manifest.model
    if model.random_seed is not None:
        return f"**Random weights** (seed {model.random_seed}): it classifies nothing."
    return f"Weights: checkpoint with sha256 `{model.weights_sha256}`, {model.dialect} dialect."


def _output_row(manifest: Manifest, spec: TensorSpec) -> str:
    if manifest.decoding is not None:
        meaning = output_meaning(spec, manifest.decoding, manifest.labels.path)
        return f"| output | `{spec.name}` | {_shape(spec)} | {spec.dtype} | {meaning} |"
    if manifest.conversion.returns == "class_maps":
        holds = f"a logit for each line of `{manifest.labels.path}` and each pixel of the input"
        return f"| output | `{spec.name}` | {_shape(spec)} | {spec.dtype} | {holds} |"
    classes = f"{manifest.conversion.returns}, one for each line of `{manifest.labels.path}`"
    holds = "the feature map that this stage ends with" if manifest.conversion.returns == "features" else classes
    return f"| output | `{spec.name}` | {_shape(spec)} | {spec.dtype} | {holds} |"


def _shape(spec: TensorSpec) -> str:
    return "(" + ", ".join(str(axis) for axis in spec.shape) + ")"


def _resize(manifest: Manifest) -> str:
    height, width = manifest.preprocess.resize
    if manifest.preprocess.fit == "stretch":
        return f"exactly {height} x {width}"
    if manifest.preprocess.fit in PADDED:
        return f"the largest size that fits into {height} x {width}, keeping the shape (sides rounded down, at least 1)"
    if height == width:
        return f"a shorter side of {height}, keeping the shape"
    return f"the smallest size that covers {height} x {width}, keeping the shape"


def _crop(preprocess: Preprocess) -> str:
    size = f"{preprocess.crop[0]} x {preprocess.crop[1]}"
    if preprocess.fit not in PADDED:
        return f"cut the middle {size}"
    place = "the middle (an odd pixel right and below)" if preprocess.fit == "letterbox" else "the top left"
    return f"put it into {place} of {size} pixels of the colour {preprocess.padding()}"


def _normalisation(manifest: Manifest) -> str:
    preprocess = manifest.preprocess
    takes = INPUTS[manifest.conversion.takes]
    if takes.pixels:
        layout = "layout (batch, channel, height, width)."
        return f"Nothing else: the model takes 0 to 255, as {takes.dtype}, and normalises inside; {layout}"
    low, high = preprocess.value_range
    return (
        f"Scale 0..255 to {low:g}..{high:g}, subtract the mean {preprocess.mean} and divide by {preprocess.std}, "
        "channel by channel; layout (batch, channel, height, width)."
    )


def _verdict(manifest: Manifest) -> str:
    parity = manifest.parity
    if parity.status == "built, not run":
        return f"**Built, not run**: the host that made it could not run it as it is. Checked instead: {parity.instead}."
    worst = parity.worst
    if manifest.quantisation is not None:
        return _rounded_verdict(manifest)
    details = (
        f" Largest error {figure(worst.error, 3)} on {worst.worst_probe!r}, bound {worst.tolerance.atol:.3g} "
        f"({worst.tolerance.k:g} x PyTorch's own noise {worst.tolerance.noise:.3g})."
        if worst
        else ""
    )
    if parity.pixels:
        details = f"{details} {parity.pixels.sentence()}"
    if parity.top1:
        details = f"{details} The first class is the truth's on {parity.top1} probes."
    if (bound := bound_on_pictures(manifest, digits=3)) and manifest.probes:
        pictures = (
            "other pictures"
            if manifest.conversion.image_size != "dynamic"
            else "other pictures of {} x {}".format(*manifest.model.image_size)
        )
        details = f"{details} On {pictures} {bound}. {manifest.probes.sentence()}"
    if worst and (why := why_not_finite(worst, manifest.precision)):
        details = f"{details} {why}"
    return f"**{parity.status.capitalize()}** on {parity.runtime}.{details}"


def bound_on_pictures(manifest: Manifest, digits: int) -> str:
    """Say which bound holds on other pictures than the probes, of several outputs which of each; nothing where nothing was run.

    Args:
        manifest: of the bundle.
        digits: of each bound.
    """
    outputs = dict.fromkeys(diff.output for diff in manifest.parity.diffs)
    found = {output: manifest.parity.widest(output, manifest.model.image_size) for output in outputs}
    bounds = {output: bound.atol for output, bound in found.items() if bound is not None}
    if not bounds:
        return ""
    low, high = min(bounds, key=bounds.__getitem__), max(bounds, key=bounds.__getitem__)
    if len(bounds) == 1:
        return f"the bound is {bounds[low]:.{digits}g}"
    ends = f"{bounds[low]:.{digits}g} ({low}) to {bounds[high]:.{digits}g} ({high})"
    return f"each output has a bound of its own, from {ends}: they are in manifest.json"


def _rounded_verdict(manifest: Manifest) -> str:
    parity, decisions = manifest.parity, manifest.decisions
    figures = [
        f"on {diff.probes} pictures its RMS error is {figure(diff.noise_ratio, 3)} x that of its own emulation in PyTorch, "
        f"{diff.tolerance.k:g} x allowed{f', SQNR {diff.sqnr_db:.1f} dB' if diff.sqnr_db is not None else ''}"
        for diff in parity.diffs
    ]
    decided = f"Decisions: {decisions.sentence()}." if decisions else "Decisions were not judged: no pictures were kept for that."
    return f"**{manifest.verdict.capitalize()}** on {parity.runtime}: {'; '.join(figures)}. {decided}"
