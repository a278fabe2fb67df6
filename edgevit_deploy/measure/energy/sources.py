"""Files of power meters, each read as what its maker's program writes, or by the columns that the user names."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from edgevit_deploy.errors import UsageError, did_you_mean
from edgevit_deploy.measure.energy.columns import NOTHING_SAID, Columns, Said, scaled
from edgevit_deploy.measure.energy.perfetto import Rails, read_rails, refuse_many_rails
from edgevit_deploy.measure.energy.table import Table, read_bytes, read_table, unit_of
from edgevit_deploy.measure.energy.trace import Trace, of_counters, of_samples, product

Format = Literal["auto", "monsoon", "monsoon-api", "otii", "joulescope", "perfetto", "columns"]

MONSOON_HZ = 5000.0
MONSOON_CLOCK = 0.005
"""Share by which a Monsoon API file's own times may differ from its number of samples at the nominal rate."""

SHOWN_RAILS = 40
"""Twice as many as a phone has: whoever is to choose must see them all."""


def read_trace(path: Path, format: Format = "auto", columns: Columns = NOTHING_SAID) -> Trace:  # noqa: A002 - the flag's name
    """Read a trace.

    Args:
        path: the file.
        format: what wrote it; auto finds out by its header.
        columns: what its columns are, where the header does not say it.

    Raises:
        UsageError: it cannot be read, is not of that format, or lacks something.
    """
    said, data = Said(columns=columns), read_bytes(path)
    if format == "perfetto" or (format == "auto" and _is_binary(data)):
        trace = _perfetto(path, data, said)
    else:
        table = read_table(path, data)
        found = _format_of(table, columns) if format == "auto" else format
        trace = {"monsoon": _monsoon, "monsoon-api": _monsoon_api, "joulescope": _joulescope, "otii": _otii}.get(
            found, _by_names
        )(table, said)
    said.refuse_unasked(trace.source)
    return trace


def _is_binary(data: bytes) -> bool:
    start = data[:4096]
    return b"\0" in start or (start[:1] == b"\n" and any(byte < 9 or 13 < byte < 32 for byte in start))


def _format_of(table: Table, columns: Columns) -> Format:
    names = set(table.names)
    if any((columns.time, columns.power, columns.current, columns.voltage, columns.counter)):
        return "columns"
    if not names:
        return "joulescope"
    if "power_rail_name" in names:
        return "columns"
    if "Time(ms)" in names and "Main(mA)" in names:
        return "monsoon-api"
    return "monsoon" if any(name.startswith("Main Avg ") for name in names) else "columns"


def _monsoon(table: Table, said: Said) -> Trace:
    """PowerTool's CSV: which columns there are depends on what was ticked at the export."""
    names = {"power": "Main Avg Power (mW)", "current": "Main Avg Current (mA)", "voltage": "Main Avg Voltage (V)"}
    there = {kind: f"{name}" for kind, name in names.items() if name in table.names}
    wanted = {"time": "Time (s)", **there}
    if "power" in wanted:
        wanted.pop("voltage", None)
    return _samples(table, said, wanted, "Monsoon PowerTool")


def _monsoon_api(table: Table, said: Said) -> Trace:
    """The Python API's CSV: "Time(ms)" holds seconds, one for all samples of a packet, so they are laid on the nominal grid."""
    names = ("Time(ms)", "Main(mA)", "Main Voltage(V)")
    time_s, milliamperes, *voltage = table.numbers(
        [table.place(name, "--format monsoon-api") for name in names if name != names[2] or name in table.names]
    )
    rate_hz = said.number("rate") or MONSOON_HZ
    there = time_s[np.isfinite(time_s)]
    if not len(there):
        raise UsageError(f"{table.path}: no time in it is a number; record again, or name its columns with --format columns")
    lasts_s, seen_s = len(time_s) / rate_hz, float(there.max()) - float(there.min())
    if abs(seen_s - lasts_s) > MONSOON_CLOCK * lasts_s + 0.05:
        raise UsageError(
            f"{table.path}: {len(time_s)} samples at {rate_hz:g} Hz are {lasts_s:.2f} s, and its times say {seen_s:.2f} s: "
            "samples were dropped (the API does so with a granularity above 1); record again with granularity 1, or give "
            "--rate HZ"
        )
    current_a = milliamperes / 1000
    power_w = product(current_a, voltage[0] if voltage else said.volts(table.path))
    notes = (f"laid on a grid of {rate_hz:g} Hz: the API gives one time for all samples of a packet",)
    return of_samples(power_w, source="Monsoon API", readings=current_a, rate_hz=rate_hz, notes=notes)


def _joulescope(table: Table, said: Said) -> Trace:
    """`joulescope recording --export`: no header and no time; current in amperes, then voltage."""
    if table.names or table.columns != 2:
        raise UsageError(
            f"{table.path}: a Joulescope CSV has no header and two columns, current and voltage; give --format columns"
        )
    rate_hz = said.number("rate")
    if rate_hz is None:
        raise UsageError(f"{table.path} has no header and no times; give --rate HZ, as the .jls file or the recording says")
    current_a, volts = table.numbers((0, 1))
    return of_samples(product(current_a, volts), source="Joulescope", readings=current_a, rate_hz=rate_hz)


def _otii(table: Table, said: Said) -> Trace:
    """The desktop program's CSV: its times are seconds, which the name of their column does not say."""
    return _by_names(table, said, time_unit="s")


def _by_names(table: Table, said: Said, time_unit: str = "") -> Trace:
    """Any table: by what the user says, else by the units in the names of its columns (Otii, and many others)."""
    if "power_rail_name" in table.names and not any((said.columns.power, said.columns.current, said.columns.counter)):
        return _rails_of_table(table, said)
    wanted: dict[str, str] = {}
    for kind in ("time", "power", "current", "voltage", "counter"):
        if (column := said.column(kind)) is not None:
            wanted[kind] = column
    _refuse_pairs(table, said, set(wanted))
    if not set(wanted) & {"power", "current", "counter"}:
        wanted |= _units_in_names(table, wanted)
    if "time" not in wanted and said.columns.rate is None:
        times = [name for name in table.names if name.lower().startswith("time")]
        if len(times) != 1:
            raise UsageError(f"{table.path}: which column is the time? give --time COLUMN:UNIT, or --rate HZ")
        wanted["time"] = times[0] if unit_of(times[0], "time") or not time_unit else f"{times[0]}:{time_unit}"
    if "counter" in wanted:
        return _counter_of_table(table, said, wanted)
    return _samples(table, said, wanted, "table")


def _units_in_names(table: Table, wanted: dict[str, str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for kind in ("power", "current", "voltage"):
        names = [name for name in table.names if unit_of(name, kind)]
        if len(names) > 1:
            raise UsageError(f"{table.path} has several columns of {kind}: {', '.join(names)}; choose with --{kind} COLUMN")
        if names and kind not in wanted:
            found[kind] = names[0]
    if not set(found) & {"power", "current"}:
        raise UsageError(
            f"{table.path}: which column is the power? its header ({', '.join(table.names[:8]) or 'there is none'}) does not "
            "say; give --power COLUMN:UNIT, --current COLUMN:UNIT with --voltage or --volts, or --counter COLUMN:UNIT"
        )
    if "power" in found and "voltage" in wanted:
        raise UsageError(f"{table.path} has power already ({found['power']}); drop --voltage, or name the current with --current")
    if "power" in found:
        found.pop("voltage", None)
    return found


def _refuse_pairs(table: Table, said: Said, named: set[str]) -> None:
    """Refuse two flags of which one would have to be passed over."""
    given = named | ({"rate"} if said.columns.rate is not None else set())
    pairs = (("time", "rate"), ("power", "current"), ("power", "voltage"))
    for first, second in pairs:
        if {first, second} <= given and "counter" not in given:
            raise UsageError(f"{table.path}: --{first} and --{second} say the same twice; drop one of them")


def _samples(table: Table, said: Said, wanted: dict[str, str], source: str) -> Trace:
    rate_hz = said.number("rate")
    if rate_hz is not None:
        wanted = {kind: column for kind, column in wanted.items() if kind != "time"}
    values = scaled(table, wanted)
    if "power" in values:
        power_w = values["power"]
    elif "current" not in values:
        raise UsageError(f"{table.path} has neither power nor current; export that too, or give --format columns")
    else:
        power_w = product(values["current"], values["voltage"] if "voltage" in values else said.volts(table.path))
    readings = values.get("current", power_w)
    return of_samples(power_w, source=source, readings=readings, rate_hz=rate_hz, times_s=values.get("time"))


def _counter_of_table(table: Table, said: Said, wanted: dict[str, str]) -> Trace:
    if "time" not in wanted:
        raise UsageError("--counter needs the times of its values; give --time COLUMN:UNIT")
    if mixed := sorted({"power", "current", "voltage"} & set(wanted)):
        raise UsageError(f"--counter holds energy already; drop --{mixed[0]}")
    values = scaled(table, wanted)
    there = np.isfinite(values["time"]) & np.isfinite(values["counter"])
    rail = values["time"][there], values["counter"][there]
    return of_counters([rail], source="counter of energy", wrap_j=said.number("wrap"))


def _rails_of_table(table: Table, said: Said) -> Trace:
    """The table android_power_rails_counters of Perfetto, saved as CSV: ts in ns, energy_since_boot in microwatt-seconds."""
    time_ns, energy = table.numbers([table.place(name, "--format perfetto") for name in ("ts", "energy_since_boot")])
    names = table.words(table.place("power_rail_name", "--format perfetto"))
    if len(names) != len(energy):
        raise UsageError(f"{table.path} has rows that are no rows of its header; save the table again")
    places = {name: place for place, name in enumerate(dict.fromkeys(names))}
    refuse_many_rails(table.path, len(places))
    numbers = np.array([places[name] for name in names])  # an array of names would give each the room of the longest
    rails: Rails = {}
    for name, place in places.items():
        here = (numbers == place) & np.isfinite(energy)
        order = np.argsort(time_ns[here], kind="stable")
        rails[name] = (time_ns[here][order] / 1e9, energy[here][order] / 1e6)
    return _of_rails(rails, said, table.path)


def _perfetto(path: Path, data: bytes, said: Said) -> Trace:
    if not _is_binary(data):
        return _rails_of_table(read_table(path, data), said)
    return _of_rails(read_rails(path, data), said, path)


def _of_rails(rails: Rails, said: Said, path: Path) -> Trace:
    asked: Sequence[str] = [name for item in said.rails() for name in item.split(",") if name]
    if asked == ["all"] or (not asked and len(rails) == 1):
        asked = list(rails)
    names = list(rails)
    if not asked:
        shown = ", ".join(names[:SHOWN_RAILS]) + (", ..." if len(names) > SHOWN_RAILS else "")
        raise UsageError(
            f"{path} has {len(rails)} rails: {shown}; add up those of the chip with --rails NAME,..., or, where none contains "
            "another, --rails all"
        )
    for name in asked:
        if name not in rails:
            raise UsageError(f"--rails: {path} has no rail {name!r}; {did_you_mean(name, names)}")
    chosen = [rails[name] for name in dict.fromkeys(asked)]
    notes = (f"rails: {', '.join(dict.fromkeys(asked))}",)
    return of_counters(chosen, source="Perfetto power rails", wrap_j=None, may_wrap=False, notes=notes)
