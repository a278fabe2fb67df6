"""What every reference evaluation shares: values are rounded as declared, refused in another shape, and let go when read last."""

import pytest
import torch

from edgevit_deploy.dataflow import Declared, Program, Ref, Step, freed_after, not_implemented, threads
from edgevit_deploy.errors import RunError


def add(*, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return x + y


def doubled(dtype: str = "fp32", shape: tuple[int | None, ...] = (None,)) -> Program:
    step = Step(
        op="op add",
        function=add,
        operands={"x": Ref("a"), "y": Ref("a")},
        results=(Declared(name="b", dtype=dtype, shape=shape),),
        free=("a",),
    )
    return Program(inputs=(Declared(name="a", dtype="fp32", shape=(None,)),), outputs=("b",), steps=(step,), constants={})


@pytest.mark.parametrize(("dtype", "expected"), [("fp32", 2.0002), ("fp16", 2.0), ("int32", 2)])
def test_a_result_is_rounded_to_its_declared_type(dtype: str, expected: float) -> None:
    assert doubled(dtype).evaluate({"a": torch.tensor([1.0001])})["b"].item() == pytest.approx(expected, abs=1e-6)


def test_another_shape_than_the_declared_one_is_an_error() -> None:
    with pytest.raises(RunError, match=r"b: the program declares shape \(3,\), its operator gives \(2,\)"):
        doubled(shape=(3,)).evaluate({"a": torch.zeros(2)})


def test_what_an_operator_cannot_work_on_is_an_error_that_names_it() -> None:
    step = Step(op="op add", function=add, operands={"x": Ref("a"), "y": Ref("c")}, results=doubled().steps[0].results)
    with pytest.raises(RunError, match=r"op add \(b\) failed"):
        step.run({"a": torch.zeros(2), "c": torch.zeros(3)})


def test_a_value_goes_after_its_last_reader_unless_it_is_an_output() -> None:
    assert freed_after([["a"], ["a", "b"], ["b", "b", "c"]], kept=["c"]) == [(), ("a",), ("b",)]


def test_what_is_not_implemented_says_what_is() -> None:
    with pytest.raises(RunError, match="op add: mode='odd' is not implemented here; implemented: even"):
        not_implemented("op add", "mode", "odd", "even")


def test_threads_are_those_before_again_also_after_an_error() -> None:
    before = torch.get_num_threads()
    with pytest.raises(ValueError, match="stop"), threads(before + 1):
        raise ValueError("stop")
    assert torch.get_num_threads() == before
