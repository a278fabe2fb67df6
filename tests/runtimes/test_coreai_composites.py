"""Declarations of composites are read whole, and must be those that Core AI's library writes: a device may compute by them."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from edgevit_deploy.errors import RunError
from edgevit_deploy.formats.coreai import Program, load_program
from edgevit_deploy.formats.coreai.program import Composite, read_composite
from runtimes.coreai.evaluation.composites import avg_pool_2d, batch_norm
from runtimes.coreai.evaluation.program import compile_program
from tests.helpers.coreai import SMALL

LAYER_NORM = (
    '#coreai.composite_declaration<"layer_norm" = {input_names = ["input", "gamma", "beta"], op_attrs = {axes = [3 : si64], '
    'eps = 9.99999997E-7 : f32, version = 1 : si64}, output_names = ["output"]}>'
)
READ = Composite(
    kind="layer_norm",
    input_names=("input", "gamma", "beta"),
    attributes={"axes": [3], "eps": 9.99999997e-7, "version": 1},
    output_names=("output",),
)


@pytest.mark.parametrize(
    ("old", "new", "changes"),
    [
        ("", "", {}),
        ("[3 : si64]", "[2 : si64, -1]", {"axes": [2, -1]}),
        ("[3 : si64]", "[]", {"axes": []}),
        ("axes", "gain = -2.5E+1 : f32, axes", {"gain": -25}),
    ],
)
def test_a_declaration_is_read(old: str, new: str, changes: dict[str, Any]) -> None:
    assert read_composite(LAYER_NORM.replace(old, new, 1)) == replace(READ, attributes={**READ.attributes, **changes})


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("axes", "rms = true, axes"),
        ("version", 'mode = "fast", version'),
        ("version", "mode = #coreai.mode<fast>, version"),
        ("version", "nested = {a = 1}, version"),
        ("version", "more = [true], version"),
        ("version", "unit, version"),
        ("9.99999997E-7", "0x7F800000"),
        ("version = 1 : si64", "version = 1 : si64, "),
        ("output_names", "more = 1, output_names"),
        ('["output"]}', '["output"], more = 1}'),
        ("input_names", "more = 1, input_names"),
        ("input_names", "inputs"),
        ("composite_declaration", "another_declaration"),
    ],
)
def test_what_is_left_over_is_refused(old: str, new: str) -> None:
    with pytest.raises(RunError, match="which is not read here"):
        read_composite(LAYER_NORM.replace(old, new, 1))


@pytest.fixture(scope="module")
def program() -> Program:
    return load_program(SMALL.shared().path)


def declared(program: Program, **changes: Any) -> Program:
    """A program of which one LayerNorm is declared otherwise."""
    name, graph = next((name, graph) for name, graph in program.graphs.items() if name.startswith("layer_norm"))
    assert graph.composite is not None
    if "attributes" in changes:
        changes["attributes"] = {**graph.composite.attributes, **changes["attributes"]}
    return replace(program, graphs={**program.graphs, name: replace(graph, composite=replace(graph.composite, **changes))})


def test_the_control_what_the_library_writes_is_accepted(program: Program) -> None:
    compile_program(declared(program))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"input_names": ("input", "beta", "gamma")}, "composite layer_norm: names="),
        ({"input_names": ("gamma", "input", "beta")}, "composite layer_norm: names="),
        ({"input_names": ()}, "composite layer_norm: names="),
        ({"output_names": ("input",)}, "composite layer_norm: names="),
        ({"output_names": ("output", "output")}, "composite layer_norm: names="),
        ({"attributes": {"version": 2}}, "version=2 is not implemented here; implemented: 1"),
        ({"attributes": {"gain": 2.0}}, r"op_attrs=\['axes', 'eps', 'gain'\] is not implemented here; implemented: axes, eps"),
        ({"attributes": {"axes": [7]}}, "cannot be computed of its inputs"),
        ({"attributes": {"axes": 3.0}}, "cannot be computed of its inputs"),
        ({"attributes": {"eps": [1e-6]}}, "cannot be computed of its inputs"),
        ({"kind": "rms_norm"}, "kind='rms_norm'"),
        ({"kind": "pixel_shuffle"}, "composite pixel_shuffle: op_attrs="),
    ],
)
def test_another_declaration_is_refused(program: Program, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(RunError, match=message):
        compile_program(declared(program, **changes))


def test_a_graph_that_calls_its_values_otherwise_is_refused(program: Program) -> None:
    """The order of the declaration, and another of the graph: which of the two a compiler goes by nobody says."""
    name, graph = next((name, graph) for name, graph in program.graphs.items() if len(graph.input_names) == 3)
    swapped = replace(graph, input_names=("input", "beta", "gamma"))
    with pytest.raises(RunError, match="composite layer_norm: inputs of its graph="):
        compile_program(replace(program, graphs={**program.graphs, name: swapped}))


def test_what_composites_of_the_published_graph_compute() -> None:
    x, one = torch.arange(16.0).reshape(1, 1, 4, 4), torch.ones(1)
    pooled = avg_pool_2d(x, *map(torch.tensor, ([2, 2], [2, 2], [0, 0], False, True, 0)))
    assert pooled.flatten().tolist() == [2.5, 4.5, 10.5, 12.5]
    assert batch_norm(x, 2 * one, 3 * one, one, 3 * one, eps=1.0).flatten().tolist()[:3] == [2, 3, 4]
