"""A form: one choice for each part of the network that can be written in several exact ways; and the file that holds one.

The rewrites themselves are in `edgevit_deploy.deploy`; here is only what they are called, so that nothing heavy is imported.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Literal, Self, get_args

from edgevit_deploy.deploy.scheme import RoundingChoices, read_choices
from edgevit_deploy.errors import UsageError, did_you_mean, first_line
from edgevit_deploy.outside.files import read_bounded
from edgevit_deploy.spec import PROGRAM, Precision

FORM_NAME = "form.toml"
"""The file beside a target's exporter that holds the target's own form."""

MAX_FORM_BYTES = 64 * 1024
"""A form has under a kilobyte."""

MEASURED = "measured"
ROUNDING = "rounding"
"""The table of a form's file that says what of a quantised precision is rounded otherwise than the target does."""
TUNE_WRITES_ONE = f"`{PROGRAM} tune TARGET` writes one"
HEADER = (
    "How the deploy graph is written for one target. A part that is not named has the default of edgevit_deploy/deploy/form.py.",
    "`convert.py tune {target}` writes such a file, and `measured` says what decided. `convert.py {target} --form FILE` converts",
    "by it; copied to export/{target}/form.toml, it is the target's own form.",
)
QUANTISED_HEADER = (
    "How a file of one target in {precision} is written: parts of the deploy graph, where they are not the default of",
    "edgevit_deploy/deploy/form.py, and under [{rounding}] what is rounded otherwise than the target does.",
    "`convert.py tune {target} --precision {precision}{ranges}` writes such a file, and `measured` says what decided.",
    "`convert.py {target} --precision {precision}{ranges} --form FILE` converts by it.",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """How each part is written; every combination computes the same function.

    Attributes:
        local_prop: the transposed convolution kept, a grouped 1x1 convolution and pixel shuffle, tiles side by side times a
            tiled weight, nearest upsampling times a repeated weight, or one multiplication with six axes.
        norm_affine: weight and bias of a LayerNorm kept, or folded into the maps that read it.
        patch_embed: the patch embeddings' convolutions kept, or with the centring of their LayerNorm folded in.
        sampler: a pool over one element, a strided slice, or a depthwise 1x1 convolution with stride.
        values: mixed by attention as they are, or without their mean over the tokens, which is added behind.
        attention: q, k and v by three maps with 4-D matrix products, by one packed map, by one 1x1 convolution without moving any
            axis, by three 1x1 convolutions with batches of 3-D products, or those with an einsum for the second product.
        feed_forward: two 1x1 convolutions, or products on channels-last tokens.
        norm: the runtime's LayerNorm with channels last, means over the channel axis, or means as 1x1 convolutions.
        pool: the average before the head over one flattened axis, or over height and width.
        position: the residual of the positional encoding folded into its convolution, or kept beside it, as integers need.
        memory: as it comes, or channels-last strides from the first convolution on (PyTorch's runtimes only).
    """

    local_prop: Literal["kept", "shuffle", "tile", "upsample", "multiply"] = "shuffle"
    norm_affine: Literal["kept", "folded"] = "kept"
    patch_embed: Literal["kept", "centred"] = "kept"
    sampler: Literal["max_pool", "slice", "depthwise"] = "max_pool"
    values: Literal["kept", "centred"] = "kept"
    attention: Literal["split", "packed", "stacked", "bmm", "einsum"] = "split"
    feed_forward: Literal["conv", "tokens"] = "conv"
    norm: Literal["channels_last", "mean", "convolutions"] = "channels_last"
    pool: Literal["one_axis", "two_axes"] = "one_axis"
    position: Literal["folded", "kept"] = "folded"
    memory: Literal["contiguous", "channels_last"] = "contiguous"

    @classmethod
    def read(cls, choices: Mapping[str, object]) -> Self:
        """Return the form with these choices; what is not named keeps its default.

        Raises:
            UsageError: a part or a choice that there is not.
        """
        form = cls()
        for part, choice in choices.items():
            if part not in CHOICES:
                raise UsageError(f"no part {part!r} of a form; {did_you_mean(part, CHOICES)}")
            if choice not in CHOICES[part]:
                raise UsageError(f"{part} has no form {choice!r}; {did_you_mean(str(choice), CHOICES[part])}")
            form = form.change(part, str(choice))
        return form

    def change(self, part: str, choice: str) -> Self:
        """Return this form with another choice for one part."""
        return replace(self, **{part: choice})  # type: ignore[arg-type]

    def choices(self) -> dict[str, str]:
        """Return part -> choice."""
        return {field.name: str(getattr(self, field.name)) for field in fields(self)}

    def alternatives(self) -> dict[str, list[Self]]:
        """Return, for each part, this form with every other choice for it."""
        return {
            part: [self.change(part, choice) for choice in options if choice != getattr(self, part)]
            for part, options in CHOICES.items()
        }

    def differences(self, other: Self) -> dict[str, str]:
        """Return the choices of this form that another one does not share."""
        return {part: choice for part, choice in self.choices().items() if other.choices()[part] != choice}


CHOICES: dict[str, tuple[str, ...]] = {field.name: get_args(field.type) for field in fields(Form)}
"""Part -> its choices; the parts in the order in which their rewrites run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChosenForm:
    """A form, the sentence that says what decided it, and what it rounds otherwise than the target does, in eight bits."""

    form: Form
    measured: str
    rounding: RoundingChoices = field(default_factory=dict)


def form_beside(module_file: str, name: str = FORM_NAME) -> Form:
    """Return a target's own form: that of the `form.toml` beside its module, else the default one.

    Args:
        module_file: the module's `__file__`.
        name: of the file, where a precision has its own.

    Raises:
        UsageError: as `read_form`; or a rounding, which the target states in its scheme.
    """
    path = Path(module_file).with_name(name)
    if not path.is_file():
        return Form()
    own = read_form(path)
    if own.rounding:
        raise UsageError(f"{path}: what a target rounds is in its Scheme; move [{ROUNDING}] there")
    return own.form


def read_form(path: Path) -> ChosenForm:
    """Read a file with one form, which `convert.py tune` wrote.

    Raises:
        UsageError: it cannot be read, is too large, is not TOML, or names a part or a choice that there is not.
    """
    try:
        content = read_bounded(path, MAX_FORM_BYTES)
    except OSError as error:
        raise UsageError(f"{path} cannot be read ({error.strerror}); {TUNE_WRITES_ONE}") from error
    try:
        table = tomllib.loads(content.decode())
    except (ValueError, RecursionError) as error:  # what is no UTF-8, no TOML, a number too long or a list too deep
        raise UsageError(f"{path} is no form ({first_line(error)}); {TUNE_WRITES_ONE}") from error
    measured = table.pop(MEASURED, "")
    if not isinstance(measured, str):
        raise UsageError(f"{path}: {MEASURED} must be a sentence in quotes; {TUNE_WRITES_ONE}")
    try:
        rounding = read_choices(ROUNDING, table.pop(ROUNDING, {}))
        return ChosenForm(form=Form.read(table), measured=measured, rounding=rounding)
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from error


def as_toml(target: str, chosen: ChosenForm, precision: Precision | None = None, *, calibrated: bool = False) -> str:
    """Return a target's form as the text of a file: what differs from the default form, what decided it, what it rounds.

    Args:
        target: whose.
        chosen: the form.
        precision: a quantised one that it is for; None for a form of floating-point files.
        calibrated: whether that one needs ranges.
    """
    import tomlkit

    document = tomlkit.document()
    ranges = " --calibration DIR" if calibrated else ""
    for line in HEADER if precision is None else QUANTISED_HEADER:
        document.add(tomlkit.comment(line.format(target=target, precision=precision, ranges=ranges, rounding=ROUNDING)))
    document.add(tomlkit.nl())
    document.update(chosen.form.differences(Form()))
    document[MEASURED] = chosen.measured
    if chosen.rounding:
        document[ROUNDING] = {part: list(c) if isinstance(c, tuple) else c for part, c in chosen.rounding.items()}
    return tomlkit.dumps(document)
