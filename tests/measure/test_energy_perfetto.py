"""Perfetto's traces, written byte by byte: field numbers are Perfetto's, not those of the reader's own table."""

import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from edgevit_deploy.errors import UsageError
from edgevit_deploy.measure.energy import perfetto
from edgevit_deploy.measure.energy.columns import Columns
from edgevit_deploy.measure.energy.result import read_energy
from edgevit_deploy.measure.energy.sources import read_trace
from tests.helpers.power_traces import Pulse, Scene, counter, scene

PACKET, POWER_RAILS, DESCRIPTOR, ENERGY_DATA = 1, 40, 1, 2
"""protos/perfetto/trace: Trace.packet, TracePacket.power_rails, PowerRails.rail_descriptor and .energy_data."""

COMPRESSED, ZSTD, TIMESTAMP, SEQUENCE, FTRACE = 50, 133, 8, 10, 1
BIG, LITTLE = "VDD_CPUCL2", "VDD_CPUCL0"
SHARES = {BIG: 0.7, LITTLE: 0.3}


def varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def number(field: int, value: int) -> bytes:
    return varint(field << 3) + varint(value)


def block(field: int, content: bytes) -> bytes:
    return varint(field << 3 | 2) + varint(len(content)) + content


def descriptor(index: int, name: str) -> bytes:
    content = number(1, index) + block(2, name.encode()) + block(3, b"S4M_CPU") + number(4, 1023)
    return block(PACKET, number(SEQUENCE, 3) + block(POWER_RAILS, block(DESCRIPTOR, content)))


def reading(index: int, time_s: float, energy_j: float, *, by_packet: bool = False) -> bytes:
    content = number(1, index) + number(3, round(1e6 * energy_j))
    stamp = number(TIMESTAMP, round(1e9 * time_s))
    if not by_packet:
        content = number(1, index) + number(2, round(1e3 * time_s)) + number(3, round(1e6 * energy_j))
        stamp = number(TIMESTAMP, 5)
    return block(PACKET, stamp + number(SEQUENCE, 3) + block(POWER_RAILS, block(ENERGY_DATA, content)))


OTHER = block(PACKET, number(TIMESTAMP, 77) + block(FTRACE, b"\x08\x01") + block(999, b"unknown"))


def trace_bytes(given: Scene, shares: Mapping[str, float], *, by_packet: bool = False) -> list[bytes]:
    """Return the packets of a trace, of whole milliseconds, as Perfetto's are."""
    packets = [descriptor(index, name) for index, name in enumerate(shares)]
    for index, share in enumerate(shares.values()):
        times_s, energy_j = counter(given, every_s=0.05, share=share)
        packets += [reading(index, *pair, by_packet=by_packet) for pair in zip(times_s.round(3), energy_j + 1234.5, strict=True)]
    return [OTHER, *packets, OTHER]


@pytest.fixture(scope="module")
def given() -> Scene:
    return scene(91_000, Pulse(length_s=0.4), pause_s=0.8, runs=6, ends_s=1.0)


def written(path: Path, packets: Sequence[bytes]) -> Path:
    path.write_bytes(b"".join(packets))
    return path


def mean_mj(path: Path, *rails: str) -> float:
    energy = read_energy(read_trace(path, columns=Columns(rails=rails)), runs=6).energy
    assert energy is not None
    return energy.mean_mj


@pytest.mark.parametrize("by_packet", [False, True])
def test_rails_are_added_up(given: Scene, tmp_path: Path, by_packet: bool) -> None:
    path = written(tmp_path / "t.pftrace", trace_bytes(given, SHARES, by_packet=by_packet))
    assert mean_mj(path, "all") == pytest.approx(given.mean_mj, rel=0.01)
    assert mean_mj(path, f"{BIG},{LITTLE}") == pytest.approx(given.mean_mj, rel=0.01)
    assert mean_mj(path, BIG) == pytest.approx(0.7 * given.mean_mj, rel=0.01)
    assert mean_mj(path, BIG, BIG) == pytest.approx(0.7 * given.mean_mj, rel=0.01)


def test_compressed_packets(given: Scene, tmp_path: Path) -> None:
    packets = trace_bytes(given, {BIG: 1.0})
    halves = [packets[: len(packets) // 2], packets[len(packets) // 2 :]]
    path = written(tmp_path / "t", [block(PACKET, block(COMPRESSED, zlib.compress(b"".join(half)))) for half in halves])
    assert mean_mj(path) == pytest.approx(given.mean_mj, rel=0.01)


def test_one_must_choose_among_rails(given: Scene, tmp_path: Path) -> None:
    path = written(tmp_path / "t", trace_bytes(given, SHARES))
    with pytest.raises(UsageError, match=f"2 rails: {BIG}, {LITTLE}; .*--rails"):
        read_trace(path)
    with pytest.raises(UsageError, match=f"no rail 'VDD_CPUCL1'; did you mean '{LITTLE}|{BIG}'"):
        read_trace(path, columns=Columns(rails=("VDD_CPUCL1",)))


def test_all_rails_of_a_phone_are_listed(given: Scene, tmp_path: Path) -> None:
    names = [f"S{number}M_VDD" for number in range(20)]
    path = written(tmp_path / "t", trace_bytes(given, dict.fromkeys(names, 0.05)))
    with pytest.raises(UsageError, match=f"20 rails: {', '.join(names)}; .*where none contains another, --rails all"):
        read_trace(path)


def test_the_table_of_the_trace_processor(given: Scene, tmp_path: Path) -> None:
    rows = []
    for name, share in SHARES.items():
        times_s, energy_j = counter(given, every_s=0.05, share=share)
        rows += [
            (round(1e9 * t), f'{round(1e9 * t)},0,"{name}",{1e6 * e:.0f},1,2') for t, e in zip(times_s, energy_j, strict=True)
        ]
    path = tmp_path / "rails.csv"
    header = '"ts","dur","power_rail_name","energy_since_boot","energy_delta","average_power"\n'
    path.write_text(header + "\n".join(row for _, row in sorted(rows)) + "\n")
    assert mean_mj(path, "all") == pytest.approx(given.mean_mj, rel=0.01)
    assert mean_mj(path, LITTLE) == pytest.approx(0.3 * given.mean_mj, rel=0.01)


REFUSED = {
    "no rails": ([OTHER] * 3, "no power rails"),
    "cut off": ([OTHER, block(PACKET, b"\0" * 50)[:20]], "cut off"),
    "zstd": ([block(PACKET, block(ZSTD, b"\x28\xb5\x2f\xfd"))], "zstd"),
    "damaged": ([block(PACKET, block(COMPRESSED, b"\x78\x9c\0\0\0"))], "no power rails|damaged"),
    "not zlib": ([block(PACKET, block(COMPRESSED, b"\0abc"))], "damaged"),
    "two of one name": (
        [descriptor(0, BIG), descriptor(1, BIG), reading(0, 1, 1), reading(1, 1, 1)],
        "two rails named",
    ),
    "a time of no clock": ([descriptor(0, BIG), *(reading(0, 2e10 + n, n) for n in range(30))], "which no clock shows"),
    "no field": ([OTHER, b"\x02\x00"], "no Perfetto trace"),
    "a number without an end": ([OTHER, b"\x0a" + b"\xff" * 12], "no Perfetto trace"),
    "many rails": ([reading(index, 1, 1) for index in range(perfetto.MAX_RAILS + 1)], "257 rails"),
    "a counter that falls": (
        [descriptor(0, BIG), *(reading(0, 1 + n, 100 - n) for n in range(30))],
        "falls from 100 J to 99 J at 2.000 s: record without a restart$",
    ),
    "one value": ([descriptor(0, BIG), reading(0, 1, 1)], "1 values"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_in_one_line(name: str, tmp_path: Path) -> None:
    packets, says = REFUSED[name]
    with pytest.raises(UsageError, match=says) as refusal:
        read_trace(written(tmp_path / "t", packets), "perfetto")
    assert "\n" not in str(refusal.value)


def test_what_inflates_without_end_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(perfetto, "MAX_INFLATED_BYTES", 10_000)
    inner = block(COMPRESSED, zlib.compress(bytes(20_000)))
    with pytest.raises(UsageError, match="when inflated"):
        read_trace(written(tmp_path / "t", [block(PACKET, inner)]), "perfetto")


def test_another_field_number_reads_nothing(given: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path / "t", trace_bytes(given, {BIG: 1.0}))
    wrong = tuple((name, 41 if name == "power_rails" else field, kind) for name, field, kind in perfetto.MESSAGES["TracePacket"])
    monkeypatch.setitem(perfetto.MESSAGES, "TracePacket", wrong)
    with pytest.raises(UsageError, match="no power rails"):
        read_trace(path)
