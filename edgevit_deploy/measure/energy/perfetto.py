"""Power rails of a Perfetto trace, by the few fields of its protobuf messages that hold them.

Field numbers are those of Perfetto's `trace.proto`, `trace_packet.proto` and `power_rails.proto`; whatever else is in a trace is
passed over. On Android they come from the data source `android.power` with `collect_power_rails: true`.
"""

import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from edgevit_deploy.errors import UsageError
from edgevit_deploy.measure.energy.trace import Values

Rails = dict[str, tuple[Values, Values]]
"""Name of a rail -> times in seconds, and what its counter showed, in joules."""

MAX_INFLATED_BYTES = 2**28
MAX_PACKETS = 1_000_000
MAX_PACKET_BYTES = 2**22
MAX_READINGS = 1_000_000
"""Twenty rails, read ten times a second for more than an hour."""

MAX_RAILS = 256
LAST_NS = 2**63
"""Times beyond three hundred years are of no clock."""

WIRE_VARINT, WIRE_BLOCK = 0, 2
WIRE_FIXED_BYTES = {1: 8, 5: 4}
WIRE_KINDS = {WIRE_VARINT, WIRE_BLOCK, *WIRE_FIXED_BYTES}
PACKET_TAG = 1 << 3 | WIRE_BLOCK
"""Of `packet`, field 1 of a trace."""

MAX_VARINT_BYTES = 10

MESSAGES: dict[str, tuple[tuple[str, int, str], ...]] = {
    "RailDescriptor": (("index", 1, "uint32"), ("rail_name", 2, "string"), ("subsys_name", 3, "string")),
    "EnergyData": (("index", 1, "uint32"), ("timestamp_ms", 2, "uint64"), ("energy", 3, "uint64")),
    "PowerRails": (("rail_descriptor", 1, "*RailDescriptor"), ("energy_data", 2, "*EnergyData")),
    "TracePacket": (
        ("timestamp", 8, "uint64"),
        ("trusted_packet_sequence_id", 10, "uint32"),
        ("power_rails", 40, "PowerRails"),
        ("compressed_packets", 50, "bytes"),
        ("zstd_compressed_packets", 133, "bytes"),
    ),
}
"""Message -> name, number and type of each field; a star is for repeated ones. Energy is in microwatt-seconds since boot."""


def read_rails(path: Path, data: bytes) -> Rails:
    """Read the counters of all rails.

    Raises:
        UsageError: it is no Perfetto trace, or has no rails.
    """
    names: dict[tuple[int, int], str] = {}
    values: dict[tuple[int, int], dict[int, int]] = {}
    count = 0
    for packet in _packets(path, data, _packet_type()):
        sequence = packet.trusted_packet_sequence_id
        for rail in packet.power_rails.rail_descriptor:
            names[sequence, rail.index] = rail.rail_name or f"rail {rail.index}"
        for reading in packet.power_rails.energy_data:
            time_ns = 1_000_000 * reading.timestamp_ms or packet.timestamp
            if time_ns >= LAST_NS:
                raise UsageError(f"{path} has a power rail at {time_ns / 1e9:.3g} s, which no clock shows; record again")
            values.setdefault((sequence, reading.index), {})[time_ns] = reading.energy
        count += len(packet.power_rails.energy_data)
        if count > MAX_READINGS:
            raise UsageError(f"{path} has more than {MAX_READINGS} readings of power rails; record for a shorter time")
        refuse_many_rails(path, max(len(values), len(names)))
    if not values:
        raise UsageError(
            f"{path} has no power rails; record with the data source android.power and collect_power_rails: true, on a phone "
            "that measures them (Pixel 6 or newer)"
        )
    rails: Rails = {}
    for (sequence, index), readings in values.items():
        times = sorted(readings)
        name = names.get((sequence, index), f"rail {index}")
        if name in rails:
            raise UsageError(f"{path} has two rails named {name!r}; record with one session only")
        rails[name] = (np.array(times, np.float64) / 1e9, np.array([readings[time] for time in times], np.float64) / 1e6)
    return rails


def refuse_many_rails(path: Path, rails: int) -> None:
    """Refuse more rails than a phone has.

    Raises:
        UsageError: saying how many there are.
    """
    if rails > MAX_RAILS:
        raise UsageError(f"{path} has {rails} rails or more, expected {MAX_RAILS} at most; record the power rails of one phone")


def _packets(path: Path, data: bytes, packet_type: Any) -> Iterator[Any]:
    """Yield packets one by one: taken apart all at once, empty ones of two bytes would take dozens each."""
    from google.protobuf.message import DecodeError

    left, seen = MAX_INFLATED_BYTES, 0
    inflated, waiting = data, list[bytes]()
    while True:
        try:
            for begin, end in _blocks(inflated):
                seen += 1
                if seen > MAX_PACKETS or end - begin > MAX_PACKET_BYTES:
                    raise UsageError(
                        f"{path} has more than {MAX_PACKETS} packets, or one of more than {MAX_PACKET_BYTES} bytes; record less "
                        "beside the power rails"
                    )
                if begin == end:
                    continue
                packet = packet_type.FromString(inflated[begin:end])
                if packet.zstd_compressed_packets:
                    raise UsageError(
                        f"{path} is compressed by zstd, which is not read; record with COMPRESSION_TYPE_DEFLATE or without"
                    )
                if packet.compressed_packets:
                    waiting.append(packet.compressed_packets)
                else:
                    yield packet
        except DecodeError as error:
            raise UsageError(f"{path} is no Perfetto trace, or was cut off; give the file that perfetto -o wrote") from error
        if not waiting:
            return
        inflated = _inflated(path, waiting.pop(0), left)
        left -= len(inflated)


def _blocks(data: bytes) -> Iterator[tuple[int, int]]:
    """Yield where each packet of a trace begins and ends, by protobuf's wire format; other fields count as empty packets.

    Raises:
        DecodeError: it is no message, or was cut off.
    """
    from google.protobuf.message import DecodeError

    place, size = 0, len(data)
    while place < size:
        tag, place = _varint(data, place)
        length = WIRE_FIXED_BYTES.get(tag & 7, 0)
        if not length:
            number, place = _varint(data, place)
            length = number if tag & 7 == WIRE_BLOCK else 0
        if tag & 7 not in WIRE_KINDS or not tag >> 3 or place + length > size:
            raise DecodeError("no message")
        yield (place, place + length) if tag == PACKET_TAG else (place, place)
        place += length


def _varint(data: bytes, place: int) -> tuple[int, int]:
    """Return a number, and where it ends."""
    from google.protobuf.message import DecodeError

    value = 0
    for count, byte in enumerate(data[place : place + MAX_VARINT_BYTES]):
        value |= (byte & 127) << 7 * count
        if byte < 128:
            return value, place + count + 1
    raise DecodeError("a number without an end")


def _inflated(path: Path, data: bytes, most: int) -> bytes:
    inflater = zlib.decompressobj()
    try:
        inflated = inflater.decompress(data, most + 1)
    except zlib.error as error:
        raise UsageError(f"{path} has compressed packets that are damaged; copy it from the phone again") from error
    if len(inflated) > most:
        raise UsageError(f"{path} has more than {MAX_INFLATED_BYTES} bytes when inflated; record less beside the power rails")
    return inflated


def _packet_type() -> Any:
    """Return the message type of a trace's packets, made of MESSAGES alone."""
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    field_type = descriptor_pb2.FieldDescriptorProto
    types = {"uint32": field_type.TYPE_UINT32, "uint64": field_type.TYPE_UINT64, "string": field_type.TYPE_STRING}
    types["bytes"] = field_type.TYPE_BYTES
    file = descriptor_pb2.FileDescriptorProto(
        name="edgevit_deploy/power_rails.proto", package="edgevit_deploy.power", syntax="proto2"
    )
    for name, fields in MESSAGES.items():
        message = file.message_type.add(name=name)
        for field_name, number, kind in fields:
            label = field_type.LABEL_REPEATED if kind[0] == "*" else field_type.LABEL_OPTIONAL
            field = message.field.add(name=field_name, number=number, label=label)
            if kind in types:
                field.type = types[kind]
            else:
                field.type, field.type_name = field_type.TYPE_MESSAGE, f".{file.package}.{kind.lstrip('*')}"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{file.package}.TracePacket"))
