"""MIL reference evaluation: the program of a saved Core ML package, walked operator by operator in PyTorch on any platform.

This is never Core ML: no compiler and no device of Apple's takes part. The saved package is read back through coremltools' own
MIL loader, which infers every type again and refuses a program that contradicts itself; arithmetic is float32, and every
result is rounded to the type that the program declares for it, which is the whole emulation of half precision.
"""

import sys
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from edgevit_deploy.dataflow import Program, threads
from edgevit_deploy.errors import RunError
from edgevit_deploy.formats.coreml import read_package
from edgevit_deploy.registry import Availability, requires
from edgevit_deploy.session import Array, Session
from runtimes.coreml import check_types
from runtimes.coreml.mil.program import load_program

Ranges = list[tuple[int, int]]
"""The lowest and highest extent of every axis."""


class MilReferenceSession(Session):
    """Evaluates a saved .mlpackage; right numbers, no device's own arithmetic, no claim about latency."""

    name = "MIL reference evaluation"
    packages = ("coremltools",)
    executes_target = False

    _program: Program | None = None
    _accepted: dict[str, list[Ranges]] | None = None
    _probabilities: str | None = None

    @classmethod
    def probe(cls) -> Availability:
        """Say whether coremltools, which reads the package, is installed."""
        return requires("coremltools")

    def _load(self) -> None:
        spec = read_package(self.path)
        program = load_program(spec, self.path)
        accepted = {feature.name: accepted_shapes(feature) for feature in spec.description.input}
        taken = {declared.name for declared in program.inputs}
        if not taken == set(accepted) == {expected.name for expected in self.inputs}:
            raise RunError(
                f"{self.path.name}: the program takes {sorted(taken)}, its description {sorted(accepted)}, "
                f"expected {[expected.name for expected in self.inputs]}; convert again"
            )
        check_types(spec.description, self.inputs)
        if other := sorted({declared.dtype for declared in program.inputs} - {"fp32"}):
            raise RunError(f"{self.path.name}: the program takes {', '.join(other)}, expected fp32; convert again")
        self._program, self._accepted = program, accepted
        self._probabilities = spec.description.predictedProbabilitiesName

    def _run(self, feeds: Mapping[str, Array]) -> Mapping[str, Array]:
        assert self._program is not None
        assert self._accepted is not None
        for name, array in feeds.items():
            if not any(_fits(array.shape, ranges) for ranges in self._accepted[name]):
                raise RunError(
                    f"{self.path.name}: its description does not allow {name!r} to have shape {array.shape}; "
                    "convert again with another --batch, --max-batch, --image-size or --max-side"
                )
        with threads(self.threads):
            values = self._program.evaluate({name: torch.tensor(array) for name, array in feeds.items()})
        # A classifier's probabilities have a name of Core ML's own; an artifact calls them by what they hold.
        renamed = {self._probabilities: self.outputs[0].name}
        return {renamed.get(name, name): value.numpy() for name, value in values.items() if isinstance(value, Tensor)}

    def _unload(self) -> None:
        self._program = self._accepted = self._probabilities = None


def accepted_shapes(feature: Any) -> list[Ranges]:
    """Read from a model description which shapes Core ML takes for an input.

    Returns:
        Alternatives.

    Raises:
        RunError: the input is neither an array nor an RGB image.
    """
    kind = feature.type.WhichOneof("Type")
    if kind == "multiArrayType":
        array = feature.type.multiArrayType
        if array.WhichOneof("ShapeFlexibility") == "shapeRange":
            return [[_range(axis) for axis in array.shapeRange.sizeRanges]]
        shapes = [choice.shape for choice in array.enumeratedShapes.shapes] or [array.shape]
        return [[(size, size) for size in shape] for shape in shapes]
    image = feature.type.imageType
    if kind != "imageType" or image.colorSpace != image.RGB:
        raise RunError(f"input {feature.name!r} is neither an array nor an RGB image; convert again")
    if image.WhichOneof("SizeFlexibility") == "imageSizeRange":
        sides = [(_range(image.imageSizeRange.heightRange), _range(image.imageSizeRange.widthRange))]
    else:
        sizes = image.enumeratedSizes.sizes or [image]
        sides = [((size.height, size.height), (size.width, size.width)) for size in sizes]
    return [[(1, 1), (3, 3), height, width] for height, width in sides]


def _range(axis: Any) -> tuple[int, int]:
    """Return an axis' lowest and highest extent; the format writes "no limit" as a negative number."""
    return int(axis.lowerBound), int(axis.upperBound) if axis.upperBound >= 0 else sys.maxsize


def _fits(shape: tuple[int, ...], ranges: Ranges) -> bool:
    return len(shape) == len(ranges) and all(low <= size <= high for size, (low, high) in zip(shape, ranges, strict=True))
