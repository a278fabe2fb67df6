"""Files of power meters: one inference pattern written as each of them writes it, and read back to the same energy."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from edgevit_deploy.errors import UsageError
from edgevit_deploy.measure.energy.columns import Columns
from edgevit_deploy.measure.energy.result import read_energy
from edgevit_deploy.measure.energy.sources import Format, read_trace
from edgevit_deploy.measure.energy.trace import Trace
from tests.helpers.power_traces import Pulse, Scene, Values, averaged, counter, scene

HZ = 5000
VOLTS = 3.9


@pytest.fixture(scope="module")
def given() -> Scene:
    return scene(81_000, runs=6)


@pytest.fixture(scope="module")
def power_w(given: Scene) -> Values:
    return averaged(given, noise_w=0.05)


def write(path: Path, header: str, *columns: object, line: str = ",", end: str = "\n", form: str = "%.7g") -> Path:
    rows = np.column_stack([np.asarray(column, float) for column in columns])
    text = "".join(line.join(form % value for value in row) + end for row in rows)
    path.write_text((header + "\n" if header else "") + text)
    return path


def mean_mj(trace: Trace) -> float:
    energy = read_energy(trace, runs=6, max_error=0.05).energy
    assert energy is not None
    return energy.mean_mj


Write = Callable[[Path, Values], Path]


def times(power: Values, hz: float = HZ) -> Values:
    return np.arange(len(power)) / hz


def packets(power: Values) -> Values:
    return times(power)[np.arange(len(power)) // 40 * 40]


def with_commas(path: Path) -> Path:
    """As programs write it where the decimal point is a comma."""
    path.write_text(path.read_text().replace(",", ";").replace(".", ","))
    return path


FILES: dict[str, tuple[Format, Columns, Write]] = {
    "PowerTool, current and voltage": (
        "auto",
        Columns(),
        lambda path, p: write(
            path,
            "Time (s),Main Avg Current (mA),Main Avg Voltage (V),Main Max Current (mA)",
            times(p),
            1000 * p / VOLTS,
            VOLTS + 0 * p,
            9999 + 0 * p,
        ),
    ),
    "PowerTool, power": (
        "monsoon",
        Columns(),
        lambda path, p: write(
            path, "Time (s),Main Avg Power (mW),Main Avg Current (mA)", times(p), 1000 * p, 1000 * p / VOLTS, form="%.9g"
        ),
    ),
    "Monsoon API": (
        "auto",
        Columns(),
        lambda path, p: write(
            path,
            "Time(ms),Main(mA),Main Voltage(V),",
            packets(p),
            1000 * p / VOLTS,
            VOLTS + 0 * p,
            end=",\n",
        ),
    ),
    "Monsoon API without a voltage": (
        "monsoon-api",
        Columns(volts=VOLTS),
        lambda path, p: write(path, "Time(ms),Main(mA),", packets(p), 1000 * p / VOLTS, end=",\n"),
    ),
    "Otii": (
        "otii",
        Columns(),
        lambda path, p: write(path, "Timestamp,Main current (A),Main voltage (V)", times(p), p / VOLTS, VOLTS + 0 * p),
    ),
    "Joulescope": ("auto", Columns(rate=HZ), lambda path, p: write(path, "", p / VOLTS, VOLTS + 0 * p, form="%.5g")),
    "semicolons and decimal commas": (
        "auto",
        Columns(time="Zeit:s", power="x:W"),
        lambda path, p: with_commas(write(path, "Zeit;x", times(p), p)),
    ),
    "by names": (
        "columns",
        Columns(time="t:ms", power="draw:uW"),
        lambda path, p: write(path, "t,other,draw", 1000 * times(p), 0 * p, 1e6 * p),
    ),
    "by numbers": (
        "columns",
        Columns(time="1:us", current="3:uA", voltage="2:mV"),
        lambda path, p: write(path, "", 1e6 * times(p), 1000 * VOLTS + 0 * p, 1e6 * p / VOLTS, form="%.10g"),
    ),
    "tabs, a rate and volts": (
        "auto",
        Columns(current="I [mA]", rate=HZ, volts=VOLTS),
        lambda path, p: write(path, "n\tI [mA]", times(p), 1000 * p / VOLTS, line="\t"),
    ),
}


class TestEachFormat:
    @pytest.mark.parametrize("name", FILES)
    def test_gives_the_same_energy(self, name: str, given: Scene, power_w: Values, tmp_path: Path) -> None:
        format_, columns, write_file = FILES[name]
        trace = read_trace(write_file(tmp_path / "trace.csv", power_w), format_, columns)
        assert trace.cell_s == pytest.approx(1 / HZ, rel=1e-3)
        assert trace.power_w == pytest.approx(power_w, abs=2e-3)
        assert mean_mj(trace) == pytest.approx(given.mean_mj, rel=0.01)

    def test_a_wrong_unit_is_seen(self, power_w: Values, given: Scene, tmp_path: Path) -> None:
        path = write(tmp_path / "t.csv", "t,p", times(power_w), power_w)
        trace = read_trace(path, "columns", Columns(time="t:s", power="p:mW"))
        assert mean_mj(trace) == pytest.approx(given.mean_mj / 1000, rel=0.01)

    @pytest.mark.parametrize(
        ("name", "factor"), [("time_ms", 1e3), ("timestamp_us", 1e6), ("Time ns", 1e9), ("time.s", 1), ("Timestamp [µs]", 1e6)]
    )
    def test_a_unit_of_time_in_a_name(self, name: str, factor: float, given: Scene, power_w: Values, tmp_path: Path) -> None:
        path = write(tmp_path / "t.csv", f"{name},power (mW)", factor * times(power_w), 1000 * power_w, form="%.12g")
        assert mean_mj(read_trace(path)) == pytest.approx(given.mean_mj, rel=0.01)

    def test_milliseconds_that_hold_seconds(self, power_w: Values, tmp_path: Path) -> None:
        """The Monsoon API's header says ms; believed, the trace would last milliseconds."""
        path = write(
            tmp_path / "t.csv", "Time(ms),Main(mA),Main Voltage(V),", packets(power_w), 1000 * power_w, 1 + 0 * power_w, end=",\n"
        )
        assert read_trace(path).duration_s == pytest.approx(len(power_w) / HZ)

    def test_a_counter_in_a_table(self, given: Scene, tmp_path: Path) -> None:
        slow = scene(82_000, Pulse(length_s=0.3), pause_s=0.6, runs=6, ends_s=1.0)
        times_s, energy_j = counter(slow, every_s=0.02)
        wrap = float(energy_j[-1]) / 2.5
        path = write(tmp_path / "t.csv", "t,e", times_s, 1e6 * (energy_j % wrap), form="%.12g")
        columns = Columns(time="t:s", counter="e:uWs", wrap=wrap)
        trace = read_trace(path, "columns", columns)
        assert any("2 times" in note for note in trace.notes)
        assert mean_mj(trace) == pytest.approx(slow.mean_mj, rel=0.01)

    def test_samples_that_are_missing_are_no_zeros(self, given: Scene, power_w: Values, tmp_path: Path) -> None:
        rows = [f"{time:.4f},{power:.5f}" for time, power in zip(times(power_w), power_w, strict=True)]
        for place in range(50, 80):
            rows[place] = f"{times(power_w)[place]:.4f},"
        path = tmp_path / "t.csv"
        path.write_text("Time (s),Power (W)\n" + "\n".join(rows) + "\n")
        trace = read_trace(path)
        assert int((~trace.known).sum()) == pytest.approx(30, abs=1)
        assert mean_mj(trace) == pytest.approx(given.mean_mj, rel=0.01)


ROWS = "\n".join(f"{0.001 * row:.3f},{row % 7 + 1},{row % 5 + 1}" for row in range(40))

REFUSED: dict[str, tuple[str, tuple[str, ...], Format, Columns]] = {
    "no numbers": ("a,b\nc,d\n" * 30, ("expected numbers", "line 2"), "columns", Columns(time="a:s", power="b:W")),
    "no table": ("hello\nworld\n", ("no columns",), "auto", Columns()),
    "empty": ("", ("no columns",), "auto", Columns()),
    "a header alone": ("Time (s),Power (W)\n", ("no rows",), "auto", Columns()),
    "no power": (f"time (s),b,c\n{ROWS}", ("which column is the power", "--power"), "auto", Columns()),
    "several powers": (f"time (s),b (W),c (mW)\n{ROWS}", ("several columns of power", "--power"), "auto", Columns()),
    "no time": (f"a,b (W),c\n{ROWS}", ("which column is the time", "--time", "--rate"), "auto", Columns()),
    "no voltage": (f"time (s),b (A),c\n{ROWS}", ("no voltage", "--volts"), "auto", Columns()),
    "no rate": ("0.5,3.9\n" * 40, ("--rate",), "auto", Columns()),
    "three columns without names": (ROWS, ("two columns", "--format columns"), "auto", Columns(rate=1)),
    "unknown column": (f"time (s),b,c\n{ROWS}", ("no column 'd'",), "auto", Columns(power="d:W")),
    "unknown unit": (f"time (s),b,c\n{ROWS}", ("--power b:kW",), "auto", Columns(power="b:kW")),
    "number out of range": (f"{ROWS}", ("1 to 3",), "columns", Columns(power="4:W", time="1:s")),
    "times go back": (f"time (s),b (W),c\n{ROWS}\n0.001,1,1\n", ("do not increase", "--rate"), "auto", Columns()),
    "a flag that means nothing": (f"time (s),b (W),c\n{ROWS}", ("--volts", "means nothing"), "auto", Columns(volts=3.7)),
    "a rate of nothing": (f"time (s),b (W),c\n{ROWS}", ("--rate", "above 0"), "auto", Columns(rate=-1)),
    "few samples": ("time (s),b (W)\n0,1\n1,2\n", ("2 samples",), "auto", Columns()),
    "a counter that falls": (
        f"t,e\n{chr(10).join(f'{row},{row % 9}' for row in range(40))}",
        ("falls", "--wrap"),
        "columns",
        Columns(time="t:s", counter="e:J"),
    ),
    "a time without a unit": (f"time,b (W),c\n{ROWS}", ("unit of 'time'", "--time COLUMN:UNIT", "ms"), "auto", Columns()),
    "a timestamp without a unit": (f"timestamp,b (W),c\n{ROWS}", ("unit of 'timestamp'",), "auto", Columns()),
    "a time in an unknown unit": (f"Time (min),b (W),c\n{ROWS}", ("unit of 'Time (min)'",), "auto", Columns()),
    "a named power without a unit": (f"time (s),b,c\n{ROWS}", ("unit of 'b'", "mW"), "auto", Columns(power="b")),
    "a numbered current without a unit": (ROWS, ("unit of '2'", "mA"), "columns", Columns(time="1:s", current="2", volts=4)),
    "a counter without a unit": (f"time (s),b,c\n{ROWS}", ("unit of 'b'", "mJ"), "auto", Columns(counter="b")),
    "a time and a rate": (f"a,b,c\n{ROWS}", ("--time and --rate",), "auto", Columns(time="a:s", power="b:W", rate=1000)),
    "a power and a current": (f"a,b,c\n{ROWS}", ("--power and --current",), "auto", Columns(power="b:W", current="c:A", rate=9)),
    "a power and a voltage": (f"a,b,c\n{ROWS}", ("--power and --voltage",), "auto", Columns(power="b:W", voltage="c:V", rate=9)),
    "a power in the header and a voltage": (f"a,b (W),c\n{ROWS}", ("--voltage",), "auto", Columns(voltage="c:V", rate=9)),
    "times that are no numbers": (
        "Time(ms),Main(mA),Main Voltage(V),\n" + "\n".join(f"nan,{row},4," for row in range(400)),
        ("no time", "--format columns"),
        "auto",
        Columns(),
    ),
    "dropped samples": (
        "Time(ms),Main(mA),Main Voltage(V),\n" + "\n".join(f"{row / 500},{row},4," for row in range(400)),
        ("samples were dropped", "granularity"),
        "auto",
        Columns(),
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_in_one_line(name: str, tmp_path: Path) -> None:
    text, says, format_, columns = REFUSED[name]
    path = tmp_path / "trace.csv"
    path.write_text(text)
    with pytest.raises(UsageError) as refusal:
        read_trace(path, format_, columns)
    assert "\n" not in str(refusal.value)
    for words in says:
        assert words in str(refusal.value)


def test_bytes_are_refused(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes(b"a,b\n\xff\xfe,1\n")
    with pytest.raises(UsageError, match="no text"):
        read_trace(tmp_path / "t.csv")
    with pytest.raises(UsageError, match="cannot be read"):
        read_trace(tmp_path / "nothing")
