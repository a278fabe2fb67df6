"""A form: one choice for each part of the network that can be written in several exact ways; and the table of each target's.

The rewrites themselves are in `edgevit_deploy.deploy`; here is only what they are called, so that nothing heavy is imported.
"""

import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from functools import cache
from pathlib import Path
from typing import Any, Literal, Self, get_args

from edgevit_deploy.errors import UsageError, did_you_mean, first_line

TABLE = Path(__file__).with_name("forms.toml")
"""Target -> form; written by `convert.py tune`."""

MEASURED = "measured"


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """How each part is written; every combination computes the same function.

    Attributes:
        local_prop: the transposed convolution kept, a grouped 1x1 convolution and pixel shuffle, tiles side by side times a
            tiled weight, nearest upsampling times a repeated weight, or one multiplication with six axes.
        norm_affine: weight and bias of a LayerNorm kept, or folded into the maps that read it.
        patch_embed: the patch embeddings' convolutions kept, or with the centring of their LayerNorm folded in.
        sampler: a pool over one element, a strided slice, or a depthwise 1x1 convolution with stride.
        attention: q, k and v by three maps with 4-D matrix products, by one packed map, by one 1x1 convolution without moving any
            axis, by three 1x1 convolutions with batches of 3-D products, or those with an einsum for the second product.
        feed_forward: two 1x1 convolutions, or products on channels-last tokens.
        norm: the runtime's LayerNorm with channels last, means over the channel axis, or means as 1x1 convolutions.
        pool: the average before the head over one flattened axis, or over height and width.
        memory: as it comes, or channels-last strides from the first convolution on (PyTorch's runtimes only).
    """

    local_prop: Literal["kept", "shuffle", "tile", "upsample", "multiply"] = "shuffle"
    norm_affine: Literal["kept", "folded"] = "kept"
    patch_embed: Literal["kept", "centred"] = "kept"
    sampler: Literal["max_pool", "slice", "depthwise"] = "max_pool"
    attention: Literal["split", "packed", "stacked", "bmm", "einsum"] = "split"
    feed_forward: Literal["conv", "tokens"] = "conv"
    norm: Literal["channels_last", "mean", "convolutions"] = "channels_last"
    pool: Literal["one_axis", "two_axes"] = "one_axis"
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
    """The form of one target, and the sentence that says what decided it."""

    form: Form
    measured: str


def form_for(target: str) -> Form:
    """Return the form of a target; the default one where nothing was measured."""
    chosen = read_table(TABLE).get(target)
    return chosen.form if chosen else Form()


@cache
def read_table(path: Path) -> Mapping[str, ChosenForm]:
    """Read a table of forms.

    Raises:
        UsageError: not TOML, or a part or choice that there is not.
    """
    try:
        tables: dict[str, dict[str, Any]] = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"{path} is no table of forms ({first_line(error)}); `convert.py tune TARGET` writes one") from error
    return {target: _read(table) for target, table in tables.items()}


def _read(table: Mapping[str, Any]) -> ChosenForm:
    choices = {part: choice for part, choice in table.items() if part != MEASURED}
    return ChosenForm(form=Form.read(choices), measured=str(table.get(MEASURED, "")))


def write_table(path: Path, target: str, chosen: ChosenForm) -> None:
    """Write one target's form into a table, in place of what it had there; what stands above the first table is kept."""
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    preamble = text.partition("\n[")[0].rstrip("\n") if "\n[" in text else text.rstrip("\n")
    table = {**(read_table(path) if text else {}), target: chosen}
    blocks = [preamble, *(as_toml(name, table[name]).rstrip("\n") for name in sorted(table))]
    path.write_text("\n\n".join(block for block in blocks if block) + "\n", encoding="utf-8")
    read_table.cache_clear()


def as_toml(target: str, chosen: ChosenForm) -> str:
    """Return the lines of one target: what differs from the default form, and the measurement."""
    choices = "".join(f'{part} = "{choice}"\n' for part, choice in chosen.form.differences(Form()).items())
    return f"[{target}]\n{choices}{MEASURED} = {json.dumps(chosen.measured)}\n"  # a JSON string is a TOML string
