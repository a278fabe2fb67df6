"""Which columns of a table hold what, and in which units."""

from dataclasses import dataclass, field, fields
from pathlib import Path

from edgevit_deploy.errors import UsageError, did_you_mean
from edgevit_deploy.measure.energy.table import SCALES, Table, unit_of
from edgevit_deploy.measure.energy.trace import Values
from edgevit_deploy.outside.text import shortened


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """What is said about a file: columns by name or number, with a unit after a colon if their names do not say it.

    Attributes:
        time: when each sample was taken.
        power: of the whole device, or of what is measured.
        current: beside a voltage.
        voltage: beside a current.
        counter: of energy since some time.
        volts: the voltage where no column has it.
        rate: samples a second, in place of times.
        wrap: the joules at which the counter begins anew.
        rails: names of Perfetto's rails to add up; or all.
    """

    time: str | None = None
    power: str | None = None
    current: str | None = None
    voltage: str | None = None
    counter: str | None = None
    volts: float | None = None
    rate: float | None = None
    wrap: float | None = None
    rails: tuple[str, ...] = ()


NOTHING_SAID = Columns()


@dataclass(slots=True, kw_only=True)
class Said:
    """The columns, and which of them a reader has asked for: what nobody asks for would have meant nothing."""

    columns: Columns
    asked: set[str] = field(default_factory=set)

    def column(self, name: str) -> str | None:
        """Return which column was named."""
        self.asked.add(name)
        value = getattr(self.columns, name)
        assert value is None or isinstance(value, str)
        return value

    def number(self, name: str) -> float | None:
        """Return a number that was given."""
        self.asked.add(name)
        value = getattr(self.columns, name)
        if value is not None and not 0 < value < 1e12:
            raise UsageError(f"--{name} {value:g}: give a number above 0")
        return None if value is None else float(value)

    def volts(self, path: Path) -> float:
        """Return the voltage of a file that has none."""
        volts = self.number("volts")
        if volts is None:
            raise UsageError(f"{path} has current and no voltage; give --volts V, or name the column with --voltage")
        return volts

    def rails(self) -> tuple[str, ...]:
        """Return the rails that were named."""
        self.asked.add("rails")
        return self.columns.rails

    def refuse_unasked(self, source: str) -> None:
        """Refuse what no reader has asked for.

        Raises:
            UsageError: naming it.
        """
        given = [entry.name for entry in fields(self.columns) if getattr(self.columns, entry.name) not in (None, ())]
        if unasked := [name for name in given if name not in self.asked]:
            raise UsageError(f"--{unasked[0]} means nothing for this file ({source}); drop it, or give --format columns")


def scaled(table: Table, wanted: dict[str, str]) -> dict[str, Values]:
    """Return columns in seconds, watts, amperes, volts and joules.

    Raises:
        UsageError: a column is not there, or neither it nor the user says its unit: a wrong guess is a thousand times off.
    """
    places, scales = [], []
    for kind, column in wanted.items():
        name, _, unit = column.rpartition(":")
        if not name or column in table.names:
            name, unit = column, ""
        places.append(table.place(name, f"--{kind}"))
        title = table.names[places[-1]] if table.names else ""
        unit = unit.replace("µ", "u") or unit_of(title, kind)
        if unit and unit not in SCALES[kind]:
            raise UsageError(f"--{kind} {column}: {did_you_mean(unit, SCALES[kind])}")
        if not unit:
            raise UsageError(
                f"{table.path}: nothing says the unit of {shortened(title or column)!r}; give --{kind} COLUMN:UNIT, where "
                f"UNIT is one of {', '.join(SCALES[kind])}"
            )
        scales.append(SCALES[kind][unit])
    numbers = table.numbers(places)
    return {kind: values * scale for kind, values, scale in zip(wanted, numbers, scales, strict=True)}
