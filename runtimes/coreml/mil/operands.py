"""What the functions of the MIL operators share: the kinds of operands, and the refusal of what is not implemented."""

from typing import NoReturn

from torch import Tensor

from edgevit_deploy.dataflow import ints as ints
from edgevit_deploy.dataflow import not_implemented

Number = int | float
Operand = Tensor | Number


def refuse(op: str, attribute: str, value: object, known: str) -> NoReturn:
    """Refuse an attribute's value.

    Raises:
        RunError: naming operator, attribute, value and what is implemented.
    """
    not_implemented(f"MIL op {op}", attribute, value, known)
