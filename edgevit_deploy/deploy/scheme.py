"""How a target rounds a network to eight bits: which operators, which of their values, and in which steps."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from edgevit_deploy.errors import UsageError, did_you_mean

Weights = Literal["s8", "e4m3", "palette8"]
Activations = Literal["u8", "s8", "e4m3", "each run", "none"]
WrittenBy = Literal["core", "vendor"]
Dialect = Literal["trace", "export"]

Choice = str | bool | tuple[str, ...]
RoundingChoices = Mapping[str, Choice]
"""What of a scheme is otherwise than the target's own: field -> its value, fields of `CHOOSABLE` alone."""

CHOOSABLE = ("activations", "symmetric", "outputs", "depthwise", "floating")
"""What of a scheme may be chosen where a target can write it; the rest is the target's and the precision's."""

LARGEST_WEIGHT = 127
"""Weights are -127 to 127: -128 would make the grid wider on one side, and some kernels add such products up wrongly."""

LARGEST_E4M3 = 448.0
"""Of the numbers of the type; it has no infinity."""

WORDS: dict[str, str] = {
    "s8": "signed 8-bit integers",
    "u8": "unsigned 8-bit integers",
    "e4m3": "8-bit floating-point numbers (E4M3)",
    "palette8": "places in a table of 256 values",
    "each run": "signed 8-bit integers by the range of each run",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Scheme:
    """What of a network is rounded, and how; the emulation in PyTorch and the file both follow it.

    Everything else stays in floating point: normalisations, softmax, GELU, products of attention, LocalProp, residual sums.

    Attributes:
        weights: s8: integers of -127 to 127 times a scale for each output channel; e4m3: E4M3 numbers up to 448 times such a
            scale; palette8: one of 256 values a tensor.
        activations: u8 or s8 integers, or E4M3 numbers, by observed ranges; `each run`: s8 by the range that the value has in
            that run; none: as they are.
        symmetric: activations have the zero point 0, so that ranges are as wide below zero as above.
        outputs: an operator's output is rounded too, not its input alone.
        half: the file computes in half precision what it does not round, so that every scale, and every value of a table, is a
            half-precision number, here and in the emulation.
        depthwise: depthwise convolutions are among the operators.
        fewest_channels: that an operator takes (a convolution in each group) and gives, to be among them.
        floating: paths in the network, of an operator or of a part of it with all its operators, that are left in floating
            point.
        written_by: core: the exporter is given the rounded network; vendor: it is given the float network and the ranges, and its
            own tool rounds.
        dialect: how the rounded network is written: as `torch.fake_quantize_*` for a trace, or as `quantized_decomposed`
            operators for `torch.export`.
    """

    weights: Weights = "s8"
    activations: Activations = "s8"
    symmetric: bool = False
    outputs: bool = False
    half: bool = False
    depthwise: bool = True
    fewest_channels: int = 1
    floating: tuple[str, ...] = ()
    written_by: WrittenBy = "core"
    dialect: Dialect = "trace"

    def __post_init__(self) -> None:
        """Refuse what cannot be.

        Raises:
            UsageError: unsigned integers with the zero point 0, which would have no negative values.
        """
        if self.symmetric and self.activations == "u8":
            raise UsageError("symmetric activations have values below zero, and u8 has none; use s8")

    def differences(self, other: "Scheme") -> dict[str, Choice]:
        """Return what may be chosen of this scheme and another one does not share."""
        return {part: getattr(self, part) for part in CHOOSABLE if getattr(self, part) != getattr(other, part)}

    def leaves(self, path: str) -> bool:
        """Say whether an operator is left in floating point by its name, or by that of a part of the network that it is in."""
        return any(path == name or path.startswith(f"{name}.") for name in self.floating)

    def operators(self) -> str:
        """Say which operators are rounded."""
        what = "convolutions and linear maps" if self.depthwise else "linear maps and convolutions that are not depthwise"
        if self.fewest_channels > 1:
            what = f"{what} of {self.fewest_channels} channels or more, in and out,"
        return f"{what} (but for {' and '.join(self.floating)})" if self.floating else what

    def sentence(self) -> str:
        """Say what is rounded, for the manifest and the reader."""
        what = self.operators()
        if self.activations == "none":
            return f"Weights of {what} are {WORDS[self.weights]}; arithmetic is in floating point."
        ends = "inputs and outputs" if self.outputs else "inputs"
        zero = ", zero point 0" if self.symmetric else ""
        rounded = f"weights that are {WORDS[self.weights]} and {ends} that are {WORDS[self.activations]}{zero}"
        return f"{what[0].upper()}{what[1:]} have {rounded}; nothing else is rounded."

    @property
    def rest(self) -> Literal["fp32", "fp16"]:
        """In which a file computes what it does not round."""
        return "fp16" if self.half else "fp32"

    @property
    def calibrated(self) -> bool:
        """Whether activations are rounded by ranges that pictures must show."""
        return self.activations not in ("each run", "none")


def read_choices(name: str, table: object) -> RoundingChoices:
    """Read what of a scheme is chosen from a table of a file; `name` is what the file calls it.

    Raises:
        UsageError: no table, or something in it that cannot be chosen, or not so.
    """
    if not isinstance(table, dict):
        raise UsageError(f"{name} must be a table, [{name}] with lines like `outputs = false`")
    return {part: _read_choice(name, part, choice) for part, choice in table.items()}


def _read_choice(name: str, part: str, choice: object) -> Choice:
    if part not in CHOOSABLE:
        raise UsageError(f"no {part!r} in [{name}]; {did_you_mean(part, CHOOSABLE)}")
    if part == "floating":
        if not isinstance(choice, list) or not all(isinstance(path, str) for path in choice):
            raise UsageError(f'[{name}] {part} must be a list of operators, for example ["head"]')
        return tuple(sorted(set(choice)))
    if part == "activations":
        if choice not in ("u8", "s8"):
            raise UsageError(f'[{name}] {part} must be "u8" or "s8"')
        return str(choice)
    if not isinstance(choice, bool):
        raise UsageError(f"[{name}] {part} must be true or false")
    return choice
