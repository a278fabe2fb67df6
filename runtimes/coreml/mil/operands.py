"""What the functions of the MIL operators share: the kinds of operands, and the refusal of what is not implemented."""

from typing import NoReturn

from torch import Tensor

from edgevit_deploy.errors import RunError

Number = int | float
Operand = Tensor | Number


def refuse(op: str, attribute: str, value: object, known: str) -> NoReturn:
    """Refuse an attribute's value.

    Raises:
        RunError: naming operator, attribute, value and what is implemented.
    """
    raise RunError(f"MIL op {op}: {attribute}={value!r} is not implemented here; implemented: {known}")


def ints(values: Tensor) -> list[int]:
    """Return a vector of integers as a list."""
    return [int(value) for value in values.tolist()]
