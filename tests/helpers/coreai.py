"""Small Core AI assets for tests: conversions of a seeded XXS, and copies of them with one thing changed."""

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("coreai_torch", reason="Core AI's library has no wheel for this machine")

from edgevit_deploy.formats.coreai import HASH, PROGRAM, import_coreai
from export.coreai import CoreAIExporter, CoreAIOptions
from tests.helpers.targets import SmallTarget

LABELS = ("zebra", "ant", "bee", "cat", "dog", "eel", "fox", "gnu", "hen", "ibis")

SMALL: SmallTarget[CoreAIOptions] = SmallTarget(exporter=CoreAIExporter(), defaults={"graph": "deploy", "labels": LABELS})


def rehash(asset: Path) -> Path:
    """Let the hash be that of the program."""
    (asset / HASH).write_bytes(hashlib.sha256((asset / PROGRAM).read_bytes()).digest())
    return asset


def changed(asset: Path, destination: Path, change: Callable[[Any], None]) -> Path:
    """Copy an asset and change its program through MLIR, as a faulty converter would have written it; its hash is right."""
    copy = Path(shutil.copytree(asset, destination / asset.name))
    program = import_coreai().AIModelAsset.load(asset).program
    module = program._module._mlir_module
    with module.context:
        change(module)
    saved = destination / "saved.aimodel"
    program.save_asset(saved)
    shutil.copy(saved / PROGRAM, copy / PROGRAM)
    return rehash(copy)


def operations(module: Any, kind: str, graph: str = "") -> list[Any]:
    """The operations of a kind, in graphs whose name begins so."""
    found = []
    for one in module.body.operations:
        if one.operation.attributes["sym_name"].value.startswith(graph):
            found += [
                op.operation for op in one.operation.regions[0].blocks[0].operations if op.operation.name == f"coreai.{kind}"
            ]
    return found


def set_constant(operation: Any, array: np.ndarray) -> None:
    from coreai._compiler.ir import DenseElementsAttr

    operation.attributes["value"] = DenseElementsAttr.get(array, type=operation.results[0].type)


def raise_an_epsilon(module: Any) -> None:
    """One LayerNorm's epsilon, body and declaration, ten times as large as PyTorch's default."""
    from coreai._compiler.ir import Attribute

    (graph, *_) = [one.operation for one in module.body.operations if "layer_norm" in one.operation.attributes["sym_name"].value]
    said = str(graph.attributes["composite_decl"])
    eps = said.split("eps = ")[1].split(" ")[0]
    graph.attributes["composite_decl"] = Attribute.parse(said.replace(eps, "1.000000e-03"))
    (constant,) = [op for op in _of(graph) if op.name == "coreai.constant" and str(op.results[0].type) == "tensor<f32>"]
    set_constant(constant, np.array(1e-3, np.float32))


def declare_another_epsilon(module: Any) -> None:
    """One LayerNorm declared with another epsilon than its body has: a device may compute either."""
    from coreai._compiler.ir import Attribute

    (graph, *_) = [one.operation for one in module.body.operations if "layer_norm" in one.operation.attributes["sym_name"].value]
    said = str(graph.attributes["composite_decl"])
    eps = said.split("eps = ")[1].split(" ")[0]
    graph.attributes["composite_decl"] = Attribute.parse(said.replace(eps, "1.000000e-03"))


def swap_pads(module: Any) -> None:
    """A padding of one side only: the picture moves by a pixel."""
    (pads,) = {str(pad.operands[1].owner.attributes["value"]): pad for pad in operations(module, "pad")[:1]}.values()
    constant = pads.operands[1].owner
    amounts = np.array(constant.attributes["value"])
    amounts[4], amounts[5] = 0, amounts[4] + amounts[5]
    set_constant(constant, amounts)


def approximate_a_gelu(module: Any) -> None:
    """One GELU in its tanh form."""
    from coreai._compiler.ir import Attribute

    operations(module, "gelu")[5].attributes["approximate"] = Attribute.parse("#coreai.approximate<tanh>")


def _of(graph: Any) -> list[Any]:
    return [op.operation for op in graph.regions[0].blocks[0].operations]
