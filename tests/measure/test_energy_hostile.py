"""Damaged and hostile traces: a figure, a refusal, or an error in one line; never a traceback or a warning of a library."""

import warnings
from pathlib import Path
from random import Random

import numpy as np
import pytest

from edgevit_deploy.errors import UsageError
from edgevit_deploy.measure.energy import levels
from edgevit_deploy.measure.energy.columns import Columns
from edgevit_deploy.measure.energy.result import read_energy
from edgevit_deploy.measure.energy.sources import Format, read_trace
from tests.helpers.power_traces import averaged, scene

TRACES = 400
WORDS = (
    b"nan",
    b"inf",
    b"1e308",
    b"-1e308",
    b"1e-320",
    b"",
    b'"',
    b"\0",
    b"\xff",
    b"\n",
    b",",
    b";",
    b"\t",
    b"9" * 400,
    b"Time (s)",
)
FORMATS: tuple[Format, ...] = ("auto", "auto", "auto", "columns", "monsoon", "monsoon-api", "joulescope", "perfetto")
SAID = (
    Columns(),
    Columns(),
    Columns(rate=500.0),
    Columns(power="2:mW", time="1:s"),
    Columns(counter="2:J", time="1:s", wrap=5.0),
    Columns(current="2:A", volts=4.0, rate=1e-300),
    Columns(rails=("all",)),
)


@pytest.fixture(scope="module")
def files() -> list[bytes]:
    power_w = averaged(scene(61_000, runs=6), rate_hz=500)
    rows = [f"{place / 500:.4f},{250 * power:.3f},4.0" for place, power in enumerate(power_w)]
    energy = np.cumsum(power_w) / 500
    texts = (
        "Time (s),Main Avg Current (mA),Main Avg Voltage (V)\n" + "\n".join(rows),
        "Time(ms),Main(mA),Main Voltage(V),\n" + ",\n".join(rows),
        "\n".join(row.partition(",")[2] for row in rows),
        '"ts","dur","power_rail_name","energy_since_boot"\n'
        + "\n".join(f'{place * 2_000_000},0,"A",{1e6 * joules:.0f}' for place, joules in enumerate(energy)),
    )
    return [text.encode() for text in texts]


def damaged(random: Random, data: bytes) -> bytes:
    out = bytearray(data[: random.randrange(len(data))] if random.random() < 0.3 else data)
    for _ in range(random.choice((0, 1, 2, 5, 30))):
        at = random.randrange(len(out) + 1)
        out[at : at + random.choice((0, 1, 3, 8, 200))] = random.choice(WORDS)
    return bytes(out)


def try_all(files: list[bytes], path: Path) -> set[str]:
    """Return what became of them."""
    ends, random = set(), Random(7)
    for _ in range(TRACES):
        path.write_bytes(damaged(random, random.choice(files)))
        try:
            trace = read_trace(path, random.choice(FORMATS), random.choice(SAID))
            if random.random() < 0.3:
                trace = trace.between(random.choice((None, -1e300, 0.5)), random.choice((None, 1.0, 1e11)))
            reading = read_energy(trace, runs=random.choice((5, 6, 50, 10_000)), max_error=0.5, uneven=True)
        except UsageError as error:
            ends.add("error" if "\n" not in str(error) else "lines")
            continue
        ends.add("measured" if reading.energy is not None else "refused")
        assert reading.energy is None or np.isfinite([reading.energy.mean_mj, *reading.energy.interval_mj]).all()
    return ends


def test_nothing_else_comes_of_them(files: list[bytes], tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert try_all(files, tmp_path / "trace") == {"error", "refused", "measured"}


def test_a_fault_is_found(files: list[bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The negative control: blocks of a trace in which there is nothing."""
    monkeypatch.setattr(levels, "MIN_PERIOD", 0.0)
    with pytest.raises(IndexError):
        try_all(files, tmp_path / "trace")
