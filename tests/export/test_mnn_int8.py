"""MNN in integers by our ranges: what stands in the file, what the CPU computes of it, and faults that must be found."""

import itertools
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import export.mnn
from edgevit_deploy.deploy.observe import observe
from edgevit_deploy.deploy.rewrite import to_deploy_form
from edgevit_deploy.deploy.stored import differences
from edgevit_deploy.errors import ExportError, RunError
from edgevit_deploy.exporter import Artifact
from edgevit_deploy.formats.mnn import read_mnn, read_stored
from edgevit_deploy.formats.mnn.integers import Grid, check_grids
from edgevit_deploy.session import Session
from tests.helpers.hosts import registered
from tests.helpers.mnn import SMALL
from tests.helpers.mnn_int8 import (
    FAULTS,
    INT8,
    Written,
    emulated,
    every_step_doubled,
    expected,
    rounded_plan,
)
from tests.helpers.small import truth_and_noise
from tests.helpers.targets import NETWORK, images

PICTURES = 24


@pytest.fixture(scope="module")
def rounded(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return SMALL.build(rounded_plan(), tmp_path_factory.mktemp("int8"))


def session(path: Path, artifact: Artifact) -> Session:
    return registered("mnn")(path, inputs=artifact.inputs, outputs=artifact.outputs, threads=1)


def times_emulation(path: Path, artifact: Artifact, **choices: Any) -> float:
    """The RMS error of a file over that of the emulation, against float64."""
    pictures = images(PICTURES)
    exact, _ = truth_and_noise(NETWORK, pictures)
    with torch.no_grad():
        own = emulated(rounded_plan(**choices))(torch.from_numpy(pictures)).numpy()
    with session(path, artifact) as opened:
        found = np.concatenate([opened.run({"input": picture[None]})["logits"] for picture in pictures])
    return float(np.sqrt(np.square(found - exact).mean() / np.square(own - exact).mean()))


def test_what_is_stored_is_what_was_rounded(rounded: Artifact) -> None:
    found = read_stored(rounded.path)
    assert len(found.weights) == 84
    assert len(found.activations) == 2 * 84
    assert differences(found, expected(rounded_plan())) == []
    assert differences(SMALL.exporter.stored(rounded), found) == []
    assert rounded.facts["weights_by_storage"]["int8"] == 84


def test_it_computes_what_the_emulation_does(rounded: Artifact, tmp_path: Path) -> None:
    assert times_emulation(rounded.path, rounded) <= INT8.bound.k
    file = Written(rounded.path)
    every_step_doubled(file)
    assert times_emulation(file.save(tmp_path), rounded) > INT8.bound.k, "negative control"


def test_the_cpu_computes_products_in_integers_and_nothing_else(rounded: Artifact) -> None:
    """MNN names the type of what it executes; layouts are changed in either."""
    with session(rounded.path, rounded) as opened:
        executed = opened.profile({"input": images()}, 1)
    integers = [op.kind.split(" ")[0] for op in executed if "DT_INT8" in op.kind]
    assert set(integers) == {"Convolution", "ConvolutionDepthwise", "FloatToInt8", "Raster"}
    assert integers.count("Convolution") + integers.count("ConvolutionDepthwise") == 84
    assert not [op for op in executed if op.kind.startswith("Convolution") and "DT_INT8" not in op.kind]


def test_where_steps_would_spread_it_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control of what keeps them apart: MNN would add residuals up in integers."""
    monkeypatch.setattr(export.mnn, "keep_apart", lambda _: None)
    with pytest.raises(ExportError, match=r"would compute \S*(Add|Norm)\S* in integers, which is to be in floating point"):
        SMALL.build(rounded_plan(), tmp_path)


def test_steps_spread_through_a_pool_too(tmp_path: Path) -> None:
    """With the residual folded into it, a rounded convolution is pooled by the sampler; MNN would do that in integers."""
    form = replace(rounded_plan().form, position="folded")
    plan = replace(rounded_plan(), form=form, ranges=observe(to_deploy_form(NETWORK, form).network.float(), lambda: [images(8)]))
    with pytest.raises(ExportError, match=r"would compute \S*Pool\S* in integers, which is to be in floating point"):
        SMALL.build(plan, tmp_path)


@pytest.mark.slow
def test_the_same_ranges_give_the_same_bytes(rounded: Artifact, tmp_path: Path) -> None:
    assert SMALL.build(rounded_plan(), tmp_path).path.read_bytes() == rounded.path.read_bytes()


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_what_is_stored_otherwise_is_found(rounded: Artifact, tmp_path: Path, fault: Callable[[Written], None]) -> None:
    file = Written(rounded.path)
    fault(file)
    (sentence,) = differences(read_stored(file.save(tmp_path)), expected(rounded_plan()))
    assert re.match(FAULTS[fault], sentence)


def test_a_rewritten_file_without_a_fault_is_the_same(rounded: Artifact, tmp_path: Path) -> None:
    assert differences(read_stored(Written(rounded.path).save(tmp_path)), expected(rounded_plan())) == []


@pytest.mark.parametrize(
    ("field", "kind", "value", "message"),
    [
        (0, "<f", 0.5, "has other steps than its tensors"),
        (0, "<f", 0.0, "a tensor has the scale 0"),
        (0, "<f", float("nan"), "a tensor has the scale nan"),
        (0, "<f", -1.0, "a tensor has the scale -1"),
        (1, "<f", 0.5, r"the zero point 0\.5"),
        (1, "<f", 300.0, "the zero point 300"),
        (1, "<f", float("nan"), "the zero point nan"),
        (4, "<i", 1, "is rounded to other numbers than -128 to 127"),
    ],
)
def test_steps_that_cannot_be_are_refused(
    rounded: Artifact, tmp_path: Path, field: int, kind: str, value: float, message: str
) -> None:
    file = Written(rounded.path)
    file.put(next(iter(file.steps.values())), field, kind, lambda _: value)
    with pytest.raises(RunError, match=rf"model\.mnn is no file of ours: .*{message}"):
        read_mnn(file.save(tmp_path))


@pytest.mark.parametrize(("field", "kind", "value"), [(5, "<i", 4), (6, "<b", 77), (7, "<b", 77), (8, "<b", 0), (4, "<b", 2)])
def test_an_operator_that_says_otherwise_is_refused(rounded: Artifact, tmp_path: Path, field: int, kind: str, value: int) -> None:
    file = Written(rounded.path)
    file.put(file.operators[7].child(2).child(4), field, kind, lambda _: value)
    with pytest.raises(RunError, match=r"has other steps than its tensors|is rounded in another way"):
        read_mnn(file.save(tmp_path))


def test_a_tensor_described_twice_or_for_nobody_is_refused(rounded: Artifact, tmp_path: Path) -> None:
    file = Written(rounded.path)
    first, second = list(file.descriptions)[:2]
    file.put(file.descriptions[first], 1, "<i", lambda _: second)
    with pytest.raises(RunError, match=rf"tensor {second} is described twice"):
        read_mnn(file.save(tmp_path))
    with pytest.raises(ValueError, match="tensor 3 is rounded, and no rounded operator reads or writes it"):
        check_grids({3: Grid(0.1, 0)}, [])


def test_no_altered_byte_gives_another_error(rounded: Artifact, tmp_path: Path) -> None:
    """Of the numbers that say steps: each is read as something or refused."""
    file, rng, refused = Written(rounded.path), np.random.default_rng(0), 0
    tables = [*file.descriptions.values(), *file.steps.values(), *(op.child(2).child(4) for op in file.operators)]
    for table in rng.permutation(len(tables))[:24]:
        damaged = Written(rounded.path)
        place = tables[table].raw.Pos + int(rng.integers(-12, 24))
        damaged.content[place] ^= int(rng.integers(1, 256))
        try:
            read_mnn(damaged.save(tmp_path))
        except RunError:
            refused += 1
    assert refused > 12


def test_operators_of_the_same_weights_are_refused(tmp_path: Path) -> None:
    module = SMALL.module_for(rounded_plan())
    weights = {name: weight for name, weight in module.named_parameters() if name.endswith("fc1.weight")}
    one, other = next((a, b) for a, b in itertools.combinations(weights.values(), 2) if a.shape == b.shape)
    other.data.copy_(one.data)
    with pytest.raises(ExportError, match=r"is 2 operators of MNN's file by its weights, and must be one; use --precision w8"):
        SMALL.build(rounded_plan(), tmp_path, module)


@pytest.mark.slow
@pytest.mark.parametrize("choices", [{"symmetric": True}, {"depthwise": False}, {"floating": ("head", "patch_embed1")}])
def test_what_may_be_rounded_otherwise_is_written_and_runs(tmp_path: Path, choices: dict[str, Any]) -> None:
    plan = rounded_plan(**choices)
    artifact = SMALL.build(plan, tmp_path)
    assert differences(read_stored(artifact.path), expected(plan)) == []
    assert differences(read_stored(artifact.path), expected(rounded_plan())) != []
    assert times_emulation(artifact.path, artifact, **choices) <= INT8.bound.k


@pytest.mark.slow
def test_a_free_batch_is_free(tmp_path: Path) -> None:
    artifact, pictures = SMALL.build(rounded_plan(dynamic_batch=True), tmp_path), images(3)
    with session(artifact.path, artifact) as opened:
        together = opened.run({"input": pictures})["logits"]
        alone = [opened.run({"input": picture[None]})["logits"] for picture in pictures]
    np.testing.assert_array_equal(together, np.concatenate(alone))


def test_notes_name_the_limits(rounded: Artifact) -> None:
    notes = " ".join(rounded.notes)
    for said in ("84 convolutions and linear maps in integers", "comparisons with the lowest number", "x86", "precision high"):
        assert said in notes
