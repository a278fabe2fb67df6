"""What `tune` changes of a conversion, one part at a time: how the graph is written and, in eight bits, what of it is rounded."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

from edgevit_deploy.deploy.form import CHOICES
from edgevit_deploy.errors import UsageError, did_you_mean
from edgevit_deploy.exporter import Exporter, ExportPlan, shown
from edgevit_deploy.outside.text import shortened

FLOATING = "floating"
ROUNDED, FLOAT = "rounded", "float"


class Alternatives:
    """The parts of a target's conversion that can be otherwise, and each conversion that differs in one of them.

    Args:
        exporter: of the target.
        plan: where the search starts.
        forms: also try how the graph is written, and not only what is rounded.
        only: names of parts, to try these alone; empty for all.

    Raises:
        UsageError: a name that is no part, or one that cannot be tried: by ranges of one form, or by itself.
    """

    def __init__(self, exporter: Exporter[Any], plan: ExportPlan[Any], *, forms: bool = True, only: Sequence[str] = ()) -> None:
        self._exporter = exporter
        quantisation = exporter.quantisation(plan.precision, plan.options)
        choices = quantisation.choices if quantisation else {}
        self._rounding = {part: options for part, options in choices.items() if part != FLOATING}
        self._floating = tuple(str(name) for name in choices.get(FLOATING, ()))
        self.rounding = (*self._rounding, *self._floating)
        known = (*(CHOICES if forms else ()), *self.rounding)
        if not forms and (of_a_form := [name for name in only if name in CHOICES]):
            raise UsageError(
                f"--parts {','.join(of_a_form)}: --ranges are of one form, and these parts change it; use --calibration DIR, or "
                "other parts"
            )
        for name in only:
            if name not in known:
                raise UsageError(
                    f"--parts: {plan.target} {plan.precision} has no {shortened(name)!r} to choose; {did_you_mean(name, known)}"
                )
        self.parts = tuple(part for part in known if not only or part in only)
        if only and not any(self.others(plan, part) for part in self.parts):
            raise UsageError(
                f"--parts {','.join(self.parts)}: {plan.target} {plan.precision} has nothing to try there that goes with the "
                "rest of its rounding; add a part, or drop --parts"
            )

    def current(self, plan: ExportPlan[Any], part: str) -> str:
        """Return what a conversion has for a part."""
        if part in CHOICES:
            return plan.form.choices()[part]
        assert plan.scheme is not None
        if part in self._floating:
            return FLOAT if part in plan.scheme.floating else ROUNDED
        return shown(getattr(plan.scheme, part))

    def others(self, plan: ExportPlan[Any], part: str) -> dict[str, ExportPlan[Any]]:
        """Return the conversions that differ from one in a part alone: choice -> plan; none that cannot be."""
        if part in CHOICES:
            return {form.choices()[part]: replace(plan, form=form) for form in plan.form.alternatives()[part]}
        assert plan.scheme is not None
        if part in self._floating:
            floating = set(plan.scheme.floating) ^ {part}
            other = self._exporter.rounded_as(plan, replace(plan.scheme, floating=tuple(sorted(floating))))
            return {self.current(other, part): other}
        plans = {}
        for choice in self._rounding[part]:
            if choice != getattr(plan.scheme, part):
                with suppress(UsageError):  # two choices that do not go together
                    scheme = replace(plan.scheme, **{part: choice})  # type: ignore[arg-type]
                    plans[shown(choice)] = self._exporter.rounded_as(plan, scheme)
        return plans
