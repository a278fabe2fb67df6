"""Every variant, target, precision, batch, graph, input form and size passes its own gate.

In CI every two settings of an fp32 file of the quicker converters together; each night all pairs, and all combinations.
Small images: the same mathematics.
"""

import itertools
import json
from pathlib import Path
from typing import Any

import pytest

from edgevit_deploy.bundle.manifest import Manifest, read_manifest
from edgevit_deploy.cli import run
from edgevit_deploy.exporter import Exporter
from edgevit_deploy.spec import Precision
from export import TARGETS
from tests.helpers.cells import PAIRS, VARIANTS, Cell, all_cells, pairwise, two_by_two
from tests.helpers.hosts import runs_here
from tests.helpers.tiers import slow_or_nightly

ALL_CELLS = all_cells()
PAIRWISE = pairwise(ALL_CELLS)


def batches(exporter: type[Exporter[Any]]) -> tuple[str, ...]:
    if exporter.one_image:
        return ("1",)
    return ("1", "2", "dynamic") if exporter.dynamic_batch else ("1", "2")


CELLS = [(*pair, batch) for pair in PAIRS for batch in batches(TARGETS[pair[0]].load())]
"""Refusing the other batches is tested with the target's other refusals."""


def convert(folder: Path, target: str, precision: Precision, *tokens: str) -> Manifest:
    if not TARGETS[target].load().probe().ok:
        pytest.skip(f"{target}: {TARGETS[target].load().probe().detail}")
    assert run([target, "--precision", precision, "--output", str(folder), *tokens]) == 0
    manifest = read_manifest(folder / f"{target}-{precision}")
    assert manifest.parity.status == ("passed" if runs_here(target, precision) else "built, not run")
    assert manifest.parity.diffs, "something must have run: the file or its source"
    return manifest


def check(manifest: Manifest, precision: str, batch: str) -> None:
    assert {diff.batch for diff in manifest.parity.diffs} == ({1, 3} if batch == "dynamic" else {int(batch)})
    for diff in manifest.parity.diffs:
        assert diff.ok
        assert diff.cosine > 0.999
    if precision == "fp32":
        assert manifest.parity.worst is not None
        assert manifest.parity.worst.top1_agreement == 1


@pytest.mark.parametrize("cell", [pytest.param(cell, id=cell.name(), marks=slow_or_nightly(*cell.pair)) for cell in PAIRWISE])
def test_two_settings_together(tmp_path: Path, cell: Cell) -> None:
    manifest = convert(tmp_path, cell.target, cell.precision, *cell.flags())
    check(manifest, cell.precision, cell.batch)
    assert (manifest.model.variant, manifest.conversion.graph, manifest.conversion.takes) == (
        cell.variant,
        cell.graph,
        cell.takes,
    )
    assert manifest.inputs[0].shape == ("batch" if cell.batch == "dynamic" else int(cell.batch), 3, *cell.size)
    assert any("rewritten" in note for note in manifest.notes) == (cell.graph == "deploy")


def test_every_two_settings_that_can_be_built_are_in_one_of_these() -> None:
    """And far fewer than all combinations are tried: no target more than nine times a precision."""
    covered = set().union(*map(two_by_two, PAIRWISE))
    assert all(two_by_two(cell) <= covered for cell in ALL_CELLS)
    assert max(sum(cell.pair == pair for cell in PAIRWISE) for pair in PAIRS) <= 9
    for pair, variant in itertools.product(PAIRS, VARIANTS):
        assert any((cell.pair, cell.variant) == (pair, variant) for cell in PAIRWISE), (pair, variant)


def test_a_choice_of_cells_that_leaves_something_out_is_seen() -> None:
    """Negative control of the count."""
    covered = set().union(*map(two_by_two, PAIRWISE[:-1]))
    assert not all(two_by_two(cell) <= covered for cell in ALL_CELLS)


@pytest.mark.nightly
@pytest.mark.parametrize(("target", "precision", "batch"), CELLS)
@pytest.mark.parametrize("variant", VARIANTS)
def test_cell(tmp_path: Path, variant: str, target: str, precision: str, batch: str) -> None:
    manifest = convert(tmp_path, target, precision, "--model", variant, "--image-size", "64", "--batch", batch)
    check(manifest, precision, batch)


@pytest.mark.nightly
@pytest.mark.parametrize(("target", "precision"), [pair for pair in PAIRS if "original" in TARGETS[pair[0]].load().graphs])
@pytest.mark.parametrize("variant", VARIANTS)
def test_original_graph(tmp_path: Path, variant: str, target: str, precision: str) -> None:
    """The published graph as it is, with a free batch where the format has one; all else here converts the rewritten one."""
    batch = "dynamic" if TARGETS[target].load().dynamic_batch else "1"
    tokens = ("--model", variant, "--image-size", "64", "--batch", batch, "--graph", "original")
    manifest = convert(tmp_path, target, precision, *tokens)
    assert manifest.conversion.graph == "original"
    assert not any("rewritten" in note for note in manifest.notes)


@pytest.mark.nightly
@pytest.mark.parametrize(
    ("takes", "target", "precision"),
    [
        (takes, *pair)
        for takes in ("image", "uint8")
        for pair in PAIRS
        if takes not in TARGETS[pair[0]].load()().refused_inputs(pair[1])
    ],
)
def test_pixels_as_input(tmp_path: Path, takes: str, target: str, precision: str) -> None:
    manifest = convert(tmp_path, target, precision, "--model", "edgevit_xxs", "--image-size", "64", "--input", takes)
    assert manifest.conversion.takes == takes


@pytest.mark.nightly
@pytest.mark.parametrize(("target", "precision"), PAIRS)
def test_rectangular_size(tmp_path: Path, target: str, precision: str) -> None:
    manifest = convert(tmp_path, target, precision, "--model", "edgevit_xxs", "--image-size", "64x160")
    assert manifest.inputs[0].shape == (1, 3, 64, 160)


@pytest.mark.slow
@pytest.mark.parametrize("target", [name for name, entry in TARGETS.items() if entry.load().dynamic_size])
def test_dynamic_size_works_at_a_second_size(tmp_path: Path, target: str) -> None:
    manifest = convert(tmp_path, target, "fp32", "--model", "edgevit_xxs", "--image-size", "dynamic", "--batch", "dynamic")
    assert {diff.image_size for diff in manifest.parity.diffs} == {(224, 224), (256, 320)}
    assert manifest.inputs[0].shape == ("batch", 3, "height", "width")


@pytest.mark.parametrize("target", [pytest.param(target, marks=slow_or_nightly(target)) for target in TARGETS])
def test_few_classes_and_the_papers_depths(tmp_path: Path, target: str) -> None:
    """Two classes, Table 1's depths for XS, and attention over one token, where the target can: unusual shapes."""
    size = str(TARGETS[target].load().smallest_side)
    manifest = convert(tmp_path, target, "fp32", "--model", "edgevit_xs_table1", "--image-size", size, "--num-classes", "2")
    assert manifest.model.depths == (1, 1, 2, 2)
    assert json.loads(json.dumps(manifest.outputs[0].shape)) == [1, 2]
