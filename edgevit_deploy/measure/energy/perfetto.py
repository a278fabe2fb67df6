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

MAX_INFLATED_BYTES = 2**30

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
    "Trace": (("packet", 1, "*TracePacket"),),
}
"""Message -> name, number and type of each field; a star is for repeated ones. Energy is in microwatt-seconds since boot."""


def read_rails(path: Path, data: bytes) -> Rails:
    """Read the counters of all rails.

    Raises:
        UsageError: it is no Perfetto trace, or has no rails.
    """
    names: dict[tuple[int, int], str] = {}
    values: dict[tuple[int, int], dict[int, int]] = {}
    for packet in _packets(path, data, _trace_type()):
        sequence = packet.trusted_packet_sequence_id
        for rail in packet.power_rails.rail_descriptor:
            names[sequence, rail.index] = rail.rail_name or f"rail {rail.index}"
        for reading in packet.power_rails.energy_data:
            time_ns = 1_000_000 * reading.timestamp_ms or packet.timestamp
            values.setdefault((sequence, reading.index), {})[time_ns] = reading.energy
    if not values:
        raise UsageError(
            f"{path} has no power rails; record with the data source android.power and collect_power_rails: true, on a phone "
            "that measures them (Pixel 6 or newer)"
        )
    rails: Rails = {}
    for (sequence, index), readings in values.items():
        times = np.array(sorted(readings))
        name = names.get((sequence, index), f"rail {index}")
        if name in rails:
            raise UsageError(f"{path} has two rails named {name!r}; record with one session only")
        rails[name] = (times / 1e9, np.array([readings[time] for time in times.tolist()]) / 1e6)
    return rails


def _packets(path: Path, data: bytes, trace_type: Any) -> Iterator[Any]:
    from google.protobuf.message import DecodeError

    left, waiting = MAX_INFLATED_BYTES, [data]
    while waiting:
        trace = trace_type()
        try:
            trace.ParseFromString(waiting.pop(0))
        except DecodeError as error:
            raise UsageError(f"{path} is no Perfetto trace, or was cut off; give the file that perfetto -o wrote") from error
        for packet in trace.packet:
            if packet.zstd_compressed_packets:
                raise UsageError(
                    f"{path} is compressed by zstd, which is not read; record with COMPRESSION_TYPE_DEFLATE or without"
                )
            if packet.compressed_packets:
                waiting.append(_inflated(path, packet.compressed_packets, left))
                left -= len(waiting[-1])
            else:
                yield packet


def _inflated(path: Path, data: bytes, most: int) -> bytes:
    inflater = zlib.decompressobj()
    try:
        inflated = inflater.decompress(data, most + 1)
    except zlib.error as error:
        raise UsageError(f"{path} has compressed packets that are damaged; copy it from the phone again") from error
    if len(inflated) > most:
        raise UsageError(f"{path} has more than {MAX_INFLATED_BYTES} bytes when inflated; record less beside the power rails")
    return inflated


def _trace_type() -> Any:
    """Return the message type of a trace, made of MESSAGES alone."""
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
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{file.package}.Trace"))
