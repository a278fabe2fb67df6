"""What is asked of a file, in plain values, and how they are read: the library's arguments and the command line's flags."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import msgspec

from edgevit_deploy.deploy.form import ROUNDING, ChosenForm, Form, read_form
from edgevit_deploy.errors import UsageError, did_you_mean
from edgevit_deploy.exporter import Exporter, ExportPlan
from edgevit_deploy.model.loading import LoadedModel
from edgevit_deploy.outside.text import shortened
from edgevit_deploy.spec import MAX_BATCH, QUANTISED, Graph, InputKind, Precision, Size, Task, Triple, check_image_size


@dataclass(frozen=True, slots=True, kw_only=True)
class FileRequest:
    """What is asked of a file, whatever its target; each field is the flag of that name.

    Attributes:
        image_size: side, HEIGHTxWIDTH, (height, width) or `dynamic`; None for the model's own.
        batch: images a run, or `dynamic`.
        precision: None for the target's first.
        graph: deploy or original.
        form: of the deploy graph, or a file with one, as `tune` writes it; None for the target's own.
        takes: what `--input` says: tensor, image or uint8.
        task: what the network is asked for.
    """

    image_size: str | int | Size | None = None
    batch: str | int = 1
    precision: Precision | None = None
    graph: Graph = "deploy"
    form: Form | str | Path | None = None
    takes: InputKind = "tensor"
    task: Task = "classify"

    def fixed_size(self) -> Size | None:
        """Return (height, width) when one is named, None when it is absent or dynamic.

        Raises:
            UsageError: not of that form, or not multiples of 32.
        """
        return None if self.image_size in (None, "dynamic") else read_image_size(self.image_size, or_dynamic=True)

    def chosen_form(self) -> ChosenForm | None:
        """Return the form that is asked for, None for the target's own.

        Raises:
            UsageError: the file holds no form, the published graph is asked for, which has none, or the file says what is
                rounded and nothing is.
        """
        if self.form is None:
            return None
        if self.graph != "deploy":
            raise UsageError(f"--form is for the deploy graph, and --graph {self.graph} is as published; drop one of the two")
        if isinstance(self.form, Form):
            return ChosenForm(form=self.form, measured="")
        chosen = read_form(Path(self.form))
        if chosen.rounding and self.precision not in QUANTISED:
            raise UsageError(
                f"--form {self.form}: its [{ROUNDING}] says what is rounded to integers, and {self.precision or 'fp32'} rounds "
                "nothing; add --precision int8, or use another form"
            )
        return chosen

    def plan(self, exporter: Exporter[Any], model: LoadedModel, options: Any = None) -> ExportPlan[Any]:
        """Return the whole conversion as decided.

        Raises:
            UsageError: a batch that is no positive number, a form that `chosen_form` refuses, or one whose rounding says
                otherwise than an option that is not its default.
        """
        chosen = self.chosen_form()
        plan = exporter.plan(
            model.spec,
            precision=self.precision,
            batch="dynamic" if self.batch == "dynamic" else read_batch(self.batch),
            dynamic_size=self.image_size == "dynamic",
            graph=self.graph,
            form=chosen.form if chosen else None,
            rounding=chosen.rounding if chosen else None,
            takes=self.takes,
            task=self.task,
            labels=() if model.labels_are_placeholders else model.labels,
            options=options,
        )
        if options is not None:
            self._refuse_overridden(options, plan.options)
        return plan

    def _refuse_overridden(self, asked: Any, planned: Any) -> None:
        """Refuse an option that was asked for by name and that the form's rounding says otherwise."""
        for field in fields(asked):
            option, default = getattr(asked, field.name), field.default
            if option not in (default, getattr(planned, field.name)):
                flag, said = f"--{field.name.replace('_', '-')}", getattr(planned, field.name)
                raise UsageError(
                    f"{flag} {option}: [{ROUNDING}] of --form {self.form} says {said}; drop {flag}, or use another form"
                )


MAX_DIGITS = 9


def read_options(exporter: Exporter[Any], options: object | None) -> Any:
    """Return a target's own options from a mapping, or as they are.

    Raises:
        UsageError: a name or value that the target does not have.
    """
    if options is None or isinstance(options, exporter.options_type):
        return options
    known = getattr(exporter.options_type, "__dataclass_fields__", {})
    if not isinstance(options, Mapping):
        raise UsageError(f"options of {exporter.target} are a mapping of names to values, got {type(options).__name__}")
    for name in options:
        if name not in known:
            raise UsageError(f"{exporter.target} has no option {name!r}; {did_you_mean(str(name), known)}")
    try:
        return msgspec.convert(dict(options), type=exporter.options_type)
    except msgspec.ValidationError as error:
        raise UsageError(f"options of {exporter.target}: {error}") from error


def read_image_size(size: str | int | Size | None, *, or_dynamic: bool = False) -> Size:
    """Read `224`, `192x320` or (192, 320) as (height, width) in pixels; `or_dynamic` says so where anything else is refused.

    Raises:
        UsageError: not of that form, or not multiples of 32.
    """
    text = "x".join(map(str, size)) if isinstance(size, tuple | list) else str(size)
    sides = text.lower().split("x")
    if len(sides) > 2 or not all(side.isascii() and side.isdecimal() and len(side) <= MAX_DIGITS for side in sides):
        expected = "a side (224), HEIGHTxWIDTH (192x320) or dynamic" if or_dynamic else "a side (224) or HEIGHTxWIDTH (192x320)"
        raise UsageError(f"--image-size {shortened(text)}: expected {expected}")
    height, width = int(sides[0]), int(sides[-1])
    check_image_size(height, width)
    return height, width


def read_triple(flag: str, text: str) -> Triple:
    """Read `0.485,0.456,0.406`.

    Raises:
        UsageError: not three finite numbers.
    """
    try:
        red, green, blue = (float(number) for number in text.split(","))
    except ValueError as error:
        raise UsageError(f"{flag} {shortened(text)}: expected three numbers, R,G,B (0.485,0.456,0.406)") from error
    return red, green, blue


def read_batch(text: str | int) -> int:
    """Read a batch size.

    Raises:
        UsageError: not a whole number from 1 to MAX_BATCH.
    """
    digits = str(text)
    batch = int(digits) if digits.isascii() and digits.isdecimal() and len(digits) <= MAX_DIGITS else 0
    if not 1 <= batch <= MAX_BATCH:
        raise UsageError(f"--batch {shortened(str(text))}: expected a whole number from 1 to {MAX_BATCH}, or dynamic")
    return batch
