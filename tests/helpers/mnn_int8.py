"""Small MNN files in integers, and faults that are put into a written one."""

import struct
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from flatbuffers.number_types import Int32Flags, Uint8Flags
from torch import nn

from edgevit_deploy.deploy.observe import observe
from edgevit_deploy.deploy.quantised import emulation, stored
from edgevit_deploy.deploy.rewrite import to_deploy_form
from edgevit_deploy.deploy.stored import Stored
from edgevit_deploy.exporter import ExportPlan
from edgevit_deploy.outside.flat_table import FlatTable
from export.mnn import MnnExporter, MnnOptions
from tests.helpers.mnn import SMALL
from tests.helpers.targets import NETWORK, images

INT8 = MnnExporter.quantised["int8"]


@cache
def graph() -> nn.Module:
    """The small network in the form of the target's int8 files."""
    return to_deploy_form(NETWORK, INT8.form).network.float()


@cache
def rounded_plan(*, dynamic_batch: bool = False, **choices: Any) -> ExportPlan[MnnOptions]:
    """A plan with ranges of drawn numbers."""
    batch = {"batch": 1, "dynamic_batch": dynamic_batch}
    plan = SMALL.plan_of(precision="int8", form=INT8.form, scheme=INT8.scheme_with(choices), **batch)
    return replace(plan, ranges=observe(graph(), lambda: [images(8)]))


def emulated(plan: ExportPlan[MnnOptions]) -> nn.Module:
    """What PyTorch runs of such a plan."""
    assert plan.scheme is not None
    return emulation(graph(), plan.scheme, plan.ranges)


def expected(plan: ExportPlan[MnnOptions]) -> Stored:
    """What must stand in a file of such a plan."""
    return stored(emulated(plan))


class Written:
    """The bytes of a file, and where the numbers of its rounded operators are."""

    def __init__(self, path: Path) -> None:
        self.content = bytearray(path.read_bytes())
        root = FlatTable.root(bytes(self.content))
        self.descriptions = {one.number(1, Int32Flags): one for one in root.children(1)}
        self.steps = {place: one.child(4) for place, one in self.descriptions.items()}
        self.operators = [op for op in root.children(3) if op.number(1, Uint8Flags) == 9 and op.child(2).has(4)]

    def save(self, folder: Path) -> Path:
        path = folder / "model.mnn"
        path.write_bytes(self.content)
        return path

    def put(self, table: FlatTable, field: int, kind: str, change: Callable[[Any], Any]) -> None:
        """Change one number of a table."""
        place = table.raw.Pos + table.raw.Offset(4 + 2 * field)
        struct.pack_into(kind, self.content, place, change(*struct.unpack_from(kind, self.content, place)))

    def scale_tensor(self, place: int, factor: float) -> None:
        """Change the step of a tensor, and what operators say of it."""
        self.put(self.steps[place], 0, "<f", lambda scale: np.float32(factor) * np.float32(scale))
        for parameters, field in self._that_say(place):
            self.put(parameters.child(3), 5 + field, "<f", lambda scale: np.float32(factor) * np.float32(scale))

    def shift_tensor(self, place: int, change: Callable[[int], int]) -> None:
        """Change the zero point of a tensor, and what operators say of it."""
        self.put(self.steps[place], 1, "<f", lambda zero: float(change(int(zero))))
        for parameters, field in self._that_say(place):
            self.put(parameters.child(4), 6 + field, "<b", change)

    def _that_say(self, place: int) -> Iterator[tuple[FlatTable, int]]:
        for op in self.operators:
            for field, places in enumerate((op.numbers(0), op.numbers(4))):
                if place in places:
                    yield op.child(2), field

    def weights(self, operator: int) -> tuple[np.ndarray, np.ndarray]:
        """The scales and the bytes of an operator's weights, to be written to."""
        table = self.operators[operator].child(2).child(3)
        found = []
        for field, dtype in ((1, "<f4"), (0, "u1")):
            array = table.array(field, dtype)
            start = bytes(self.content).index(array.tobytes())
            found.append(np.frombuffer(self.content, dtype, len(array), start))
        return found[0], found[1]


def half_a_step(file: Written) -> None:
    file.scale_tensor(file.operators[5].numbers(0)[0], 0.5)


def every_step_doubled(file: Written) -> None:
    for place in file.steps:
        file.scale_tensor(place, 2.0)


def zero_point_off_by_one(file: Written) -> None:
    file.shift_tensor(file.operators[5].numbers(4)[0], lambda zero: zero + 1 if zero < 0 else zero - 1)


def zero_points_swapped(file: Written) -> None:
    op = next(op for op in file.operators if file.steps[op.numbers(0)[0]].real(1) != file.steps[op.numbers(4)[0]].real(1))
    first, second = op.numbers(0)[0], op.numbers(4)[0]
    zeros = {place: int(file.steps[place].real(1)) for place in (first, second)}
    file.shift_tensor(first, lambda _: zeros[second])
    file.shift_tensor(second, lambda _: zeros[first])


def scales_of_channels_swapped(file: Written) -> None:
    scales, _ = file.weights(0)
    first, last = int(scales.argmin()), int(scales.argmax())
    scales[[first, last]] = scales[[last, first]]


def seven_bits(file: Written) -> None:
    _, places = file.weights(3)
    places[-64:] &= 0xFE


FAULTS: dict[Callable[[Written], None], str] = {
    half_a_step: r"1 of \d+ grids of activations are missing",
    zero_point_off_by_one: r"1 of \d+ grids of activations are missing",
    zero_points_swapped: r"2 of \d+ grids of activations are missing",
    scales_of_channels_swapped: "the weights of 1 of 84 operators are missing, and of 1 there are others",
    seven_bits: "the weights of 1 of 84 operators are missing, and of 1 there are others",
}
