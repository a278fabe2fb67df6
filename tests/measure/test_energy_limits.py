"""Small files that would take much memory or time: refused before they do."""

import tracemalloc
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from edgevit_deploy.errors import UsageError
from edgevit_deploy.measure.energy import perfetto, table
from edgevit_deploy.measure.energy.columns import Columns
from edgevit_deploy.measure.energy.sources import read_trace
from tests.measure.test_energy_perfetto import COMPRESSED, OTHER, PACKET, block, descriptor, reading

MOST_BYTES = table.MAX_TRACE_BYTES + 100_000_000
"""Reading asks for the room of the largest file first, and gives back what the file does not fill."""


def refused(path: Path, columns: Columns | None = None) -> str:
    """Return why a file is refused, after which little memory must have been taken."""
    tracemalloc.start()
    try:
        with pytest.raises(UsageError) as refusal:
            read_trace(path, columns=columns or Columns())
        assert tracemalloc.get_traced_memory()[1] < MOST_BYTES
    finally:
        tracemalloc.stop()
    assert "\n" not in str(refusal.value)
    return str(refusal.value)


def jumping(last_s: float, samples: int = 21) -> list[float]:
    return [0.001 * sample for sample in range(samples - 1)] + [last_s]


class TestTimesThatJump:
    def test_of_samples(self, tmp_path: Path) -> None:
        path = tmp_path / "t.csv"
        path.write_text("Time (s),Power (W)\n" + "".join(f"{time},1\n" for time in jumping(40_000)))
        assert "times jump" in refused(path)

    def test_of_counters(self, tmp_path: Path) -> None:
        path = tmp_path / "t.csv"
        path.write_text("Time (s),e\n" + "".join(f"{time},{number}\n" for number, time in enumerate(jumping(40_000))))
        assert "times jump" in refused(path, Columns(counter="e:J"))

    def test_of_rails(self, tmp_path: Path) -> None:
        path = tmp_path / "t.pftrace"
        path.write_bytes(OTHER + b"".join(reading(0, time, number) for number, time in enumerate(jumping(40_000, 40), start=1)))
        assert "times jump" in refused(path)

    def test_a_gap_is_none(self, tmp_path: Path) -> None:
        path = tmp_path / "t.csv"
        path.write_text("Time (s),Power (W)\n" + "".join(f"{time},1\n" for time in jumping(3)))
        assert len(read_trace(path).power_w) == pytest.approx(3000, abs=5)


@pytest.mark.parametrize(
    "text",
    ["," * 200_000 + "\n1,2\n", "Time (s),Power (W)\n" + "1," * 100_000, "x" * 100_000 + "\nTime (s),Power (W)\n1,2\n"],
)
def test_lines_that_are_too_long(text: str, tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text(text)
    assert f"more than {table.MAX_LINE_BYTES} bytes" in refused(path)


def test_rows_that_are_too_many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "t.csv"
    path.write_text("Time (s),Power (W)\n" + "".join(f"{row},1\n" for row in range(200)))
    assert read_trace(path).duration_s == pytest.approx(200)
    monkeypatch.setattr(table, "MAX_ROWS", 100)
    assert "more than 100 rows" in refused(path)


def rails_table(path: Path, names: Callable[[int], str], rows: int) -> Path:
    lines = "".join(f"{row},{names(row)},{row}\n" for row in range(rows))
    path.write_text("ts,power_rail_name,energy_since_boot\n" + lines)
    return path


def test_a_long_name_takes_its_room_once(tmp_path: Path) -> None:
    """An array of names would give each row the room of the longest: 1.2 GB of a file of 0.1 MB."""
    path = rails_table(tmp_path / "t.csv", lambda row: "x" * 60_000 if row == 5 else "A", 5000)
    assert "2 rails" in refused(path)


def test_a_table_of_many_rails(tmp_path: Path) -> None:
    assert "300 rails" in refused(rails_table(tmp_path / "t.csv", lambda row: f"rail {row}", 300))


EMPTY = b"\x0a\0"
"""A packet of nothing."""


class TestPerfetto:
    @pytest.mark.parametrize("field", [EMPTY, b"\x10\0"])
    def test_fields_without_end(self, field: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(perfetto, "MAX_PACKETS", 20_000)
        path = tmp_path / "t.pftrace"
        inner = zlib.compress(field * (perfetto.MAX_PACKETS + 1))
        path.write_bytes(block(PACKET, block(COMPRESSED, inner)))
        assert path.stat().st_size < 500
        assert f"more than {perfetto.MAX_PACKETS} packets" in refused(path)

    def test_a_plain_file_of_them(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(perfetto, "MAX_PACKETS", 1000)
        path = tmp_path / "t.pftrace"
        path.write_bytes(EMPTY * 1001)
        assert "more than 1000 packets" in refused(path)
        path.write_bytes(EMPTY * 1000)
        assert "no power rails" in refused(path)

    def test_a_packet_that_is_too_large(self, tmp_path: Path) -> None:
        path = tmp_path / "t.pftrace"
        path.write_bytes(block(PACKET, bytes(perfetto.MAX_PACKET_BYTES + 1)))
        assert f"more than {perfetto.MAX_PACKET_BYTES} bytes" in refused(path)

    def test_readings_that_are_too_many(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        path = tmp_path / "t.pftrace"
        path.write_bytes(descriptor(0, "A") + b"".join(reading(0, second, second) for second in range(1, 100)))
        assert read_trace(path).exact
        monkeypatch.setattr(perfetto, "MAX_READINGS", 50)
        assert "more than 50 readings" in refused(path)

    def test_compressed_packets_within_compressed_ones_share_the_limit(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(perfetto, "MAX_INFLATED_BYTES", 50_000)
        path, large = tmp_path / "t.pftrace", block(PACKET, block(999, bytes(30_000)))
        once = block(PACKET, block(COMPRESSED, zlib.compress(large)))
        path.write_bytes(once)
        assert "no power rails" in refused(path)
        path.write_bytes(block(PACKET, block(COMPRESSED, zlib.compress(large + once))))
        assert "when inflated" in refused(path)
