"""Real engines, by TensorRT-RTX, which builds without a GPU; and what the exporter refuses, chooses and records."""

import dataclasses
import hashlib
import itertools

import pytest
import torch

from edgevit_deploy import create_model
from edgevit_deploy.errors import ExportError, MissingError, UsageError
from edgevit_deploy.formats.tensorrt import probe
from edgevit_deploy.formats.tensorrt.library import LIBRARIES, read_plan_header
from edgevit_deploy.formats.tensorrt.probe import Capability
from edgevit_deploy.model.ends import prepare
from edgevit_deploy.model.random_weights import randomise
from edgevit_deploy.model.variants import find_variant
from export import tensorrt
from export.tensorrt import TensorRTExporter, TensorRTOptions, choose_library
from export.tensorrt.engine import BuildSettings, build_engine
from tests.helpers import small

RTX = LIBRARIES["tensorrt-rtx"]
FIXED = BuildSettings(batches=None, workspace_mib=None, timing_cache=None)


def plan_for(variant="edgevit_xxs", size=64, **changes):
    spec = find_variant(variant).with_image_size((size, size))
    return small.plan_for(spec, changes.pop("options", TensorRTOptions(flavor="tensorrt-rtx")), **changes)


@pytest.fixture(scope="module")
def rtx():
    found = probe.capability("tensorrt-rtx")
    if not found.can_build:
        pytest.skip(f"TensorRT-RTX: {found.reason}; {RTX.install}")
    return found


@pytest.fixture(scope="module")
def export(rtx, tmp_path_factory):
    """Give a function that exports one plan, once."""
    made = {}

    def exported(**changes):
        key = tuple(sorted(changes.items()))
        if key not in made:
            plan = plan_for(**changes)
            network = create_model(plan.spec.variant)
            randomise(network, 0)
            module = prepare(network, plan.spec.preprocess, plan.takes, "logits", torch.float32)
            before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
            TensorRTExporter().refuse(plan)
            made[key] = TensorRTExporter().export(module, plan, tmp_path_factory.mktemp("engine"))
            assert all(torch.equal(tensor, before[name]) for name, tensor in module.state_dict().items()), "it was changed"
        return made[key]

    return exported


def compute_types(artifact):
    """The layers that compute, which is where a precision shows, by the type of their result."""
    kinds = artifact.facts["network_layer_types"]
    return {name: count for name, count in kinds.items() if not name.endswith(("INT64", "INT32", "BOOL"))}


def test_an_fp32_engine(export, rtx):
    artifact = export()
    assert artifact.target == "tensorrt"
    assert artifact.path.name == "model.engine"
    assert sorted(path.name for path in artifact.path.parent.iterdir())[-2:] == ["model.engine", "source.onnx"]
    assert read_plan_header(artifact.path).flavor == "tensorrt-rtx"
    assert read_plan_header(artifact.path).version == rtx.version == artifact.facts["engine_version"]
    assert artifact.facts["engine_bytes"] == artifact.path.stat().st_size > 16_000_000
    assert artifact.facts["network_inputs"] == [{"name": "input", "shape": [1, 3, 64, 64], "dtype": "float32"}]
    assert artifact.facts["network_outputs"] == [{"name": "logits", "shape": [1, 1000], "dtype": "float32"}]
    assert artifact.facts["tf32"] is False
    assert artifact.facts["builder_layers_before"] > artifact.facts["builder_layers_after"] >= 1
    assert artifact.facts["network_layers"] == sum(artifact.facts["network_layer_types"].values())
    assert not [name for name in compute_types(artifact) if name.endswith("HALF")]
    assert artifact.tools["tensorrt-rtx"] == rtx.version
    assert sum(artifact.operators.values()) < artifact.facts["network_layers"], "constants are not among them"
    assert TensorRTExporter().placements(artifact)["engine"].layers == artifact.facts["builder_layers_after"]


def test_the_source_is_the_onnx_that_it_was_built_from(export, tmp_path):
    artifact = export()
    source = artifact.built_from
    assert source.target == "onnx"
    assert source.path == artifact.path.with_name("source.onnx")
    assert (source.inputs, source.outputs) == (artifact.inputs, artifact.outputs)
    build_engine(RTX, source, FIXED, tmp_path / "again.engine")
    assert (tmp_path / "again.engine").read_bytes() == artifact.path.read_bytes()


def test_an_fp16_engine_computes_in_half_but_for_its_fp32_islands(export):
    half, full = export(precision="fp16"), export()
    assert half.facts["network_inputs"] == full.facts["network_inputs"]
    assert half.facts["network_outputs"] == full.facts["network_outputs"]
    assert half.path.stat().st_size < 0.8 * full.path.stat().st_size
    types, full_types = compute_types(half), compute_types(full)
    for kind in ("CONVOLUTION", "DECONVOLUTION", "MATRIX_MULTIPLY"):
        assert types[f"{kind} HALF"] == full_types[f"{kind} FLOAT"]
        assert f"{kind} FLOAT" not in types
    for kind in ("NORMALIZATION", "SOFTMAX"):
        assert types[f"{kind} FLOAT"] == full_types[f"{kind} FLOAT"]
        assert f"{kind} HALF" not in types


def test_a_dynamic_batch_has_a_profile(export):
    artifact = export(dynamic_batch=True)
    assert artifact.facts["network_inputs"][0]["shape"] == [-1, 3, 64, 64]
    assert artifact.inputs[0].shape == ("batch", 3, 64, 64)
    notes = " ".join(artifact.notes)
    assert "Batch 1 to 8, tuned for 1" in notes
    assert "Not byte-identical on a rebuild" in notes


def test_the_profile_is_what_makes_a_dynamic_batch_build(export, tmp_path):
    """Negative control: the same source without a profile is refused, with the library's reason."""
    with pytest.raises(ExportError, match=r"could not build the engine: .*profile"):
        build_engine(RTX, export(dynamic_batch=True).built_from, FIXED, tmp_path / "e")


@pytest.mark.slow
def test_a_fixed_batch_is_byte_identical(export, tmp_path):
    for precision in ("fp32", "fp16"):
        artifact = export(precision=precision)
        digests = {hashlib.sha256(artifact.path.read_bytes()).hexdigest()}
        for number in range(3):
            build_engine(RTX, artifact.built_from, FIXED, tmp_path / f"{number}.engine")
            digests.add(hashlib.sha256((tmp_path / f"{number}.engine").read_bytes()).hexdigest())
        assert len(digests) == 1
        assert "byte-identical" not in " ".join(artifact.notes)


def test_notes_say_what_was_not_done(export, rtx):
    notes = " ".join(export().notes)
    assert f"TensorRT-RTX {rtx.version}" in notes
    assert "compute capability 8.0, 8.6, 8.9, 12.0 and later" in notes
    assert "load only engines from someone you trust" in notes
    if rtx.can_run:
        assert export().facts["engine_layers"] >= 1
    else:
        assert "nothing of it was executed" in notes
        assert export().facts["inspector"].startswith("not available, loading an engine needs a GPU: no NVIDIA driver")
        assert not export().path.with_name("inspector.json").exists()


def test_image_input_and_the_recorded_choice(export):
    if probe.capability("tensorrt").can_build:
        pytest.skip("the full TensorRT builds here and is taken")
    artifact = export(takes="image", options=TensorRTOptions())
    assert artifact.facts["network_inputs"][0]["dtype"] == "float32"
    assert artifact.facts["flavor"] == "tensorrt-rtx"
    assert artifact.facts["flavor_reason"] == f"--flavor auto; {probe.describe('tensorrt')}"


def test_a_file_optimised_by_onnx_runtime_is_refused(export, tmp_path):
    import onnxruntime

    source = export().built_from
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
    onnxruntime.InferenceSession(str(source.path), options, providers=["CPUExecutionProvider"])
    optimised = dataclasses.replace(source, path=tmp_path / "optimised.onnx")
    with pytest.raises(ExportError, match=r"cannot read optimised.onnx, \d+ errors: .*Plugin not found.*ONNX Runtime$") as caught:
        build_engine(RTX, optimised, FIXED, tmp_path / "e")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "e").exists()


def test_a_file_of_noise_that_the_parser_accepts_is_refused(export, tmp_path):
    """The parser reads these bytes as an empty network and reports success."""
    (tmp_path / "noise.onnx").write_bytes(b"hello" * 10)
    noise = dataclasses.replace(export().built_from, path=tmp_path / "noise.onnx")
    with pytest.raises(ExportError, match=r"TensorRT-RTX read inputs \[\] from noise.onnx, expected"):
        build_engine(RTX, noise, FIXED, tmp_path / "e")


def at_full_size():
    """Every variant, precision and kind of batch: every two of them in the half that CI takes, the other half at night."""
    variants, precisions = ("edgevit_xxs", "edgevit_xs", "edgevit_s"), ("fp32", "fp16")
    for variant, precision, dynamic_batch in itertools.product(range(3), range(2), range(2)):
        marks = pytest.mark.nightly if (variant + precision + dynamic_batch) % 2 else pytest.mark.slow
        yield pytest.param(variants[variant], precisions[precision], bool(dynamic_batch), marks=marks)


@pytest.mark.parametrize(("variant", "precision", "dynamic_batch"), list(at_full_size()))
def test_every_variant_at_full_size(export, variant, precision, dynamic_batch):
    artifact = export(variant=variant, size=224, precision=precision, dynamic_batch=dynamic_batch)
    parameters = sum(parameter.numel() for parameter in create_model(variant).parameters())
    assert artifact.path.stat().st_size > parameters * {"fp32": 4, "fp16": 2}[precision]
    assert artifact.facts["builder_layers_after"] >= 1


class TestRefusals:
    @pytest.mark.parametrize(("tuned", "large"), [(0, 8), (9, 8), (-1, 3)])
    def test_a_profile_out_of_order(self, tuned, large):
        options = TensorRTOptions(opt_batch=tuned, max_batch=large)
        with pytest.raises(UsageError, match=f"--opt-batch {tuned} must lie between 1 and --max-batch, which is {large}"):
            TensorRTExporter().refuse(plan_for(dynamic_batch=True, options=options))

    def test_a_profile_that_leaves_out_what_is_proven(self):
        with pytest.raises(UsageError, match="--max-batch 2 is too small; use 3 or more"):
            TensorRTExporter().refuse(plan_for(dynamic_batch=True, options=TensorRTOptions(max_batch=2)))

    @pytest.mark.usefixtures("rtx")
    def test_attention_over_one_token(self):
        """TensorRT-RTX 1.7.1 dies of it in its compiler, so it is refused before any work."""
        with pytest.raises(UsageError, match=r"cannot build EdgeViT at 32x32.*use --image-size 64"):
            TensorRTExporter().refuse(plan_for(size=32))

    def test_a_profile_without_a_dynamic_batch(self):
        with pytest.raises(UsageError, match="add --batch dynamic"):
            TensorRTExporter().refuse(plan_for(options=TensorRTOptions(max_batch=16)))

    def test_no_workspace(self):
        with pytest.raises(UsageError, match="--workspace-mib 0 is not a positive number of MiB"):
            TensorRTExporter().refuse(plan_for(options=TensorRTOptions(workspace_mib=0)))

    def test_an_opset_that_is_not_on_offer(self):
        with pytest.raises(UsageError, match="--opset"):
            TensorRTExporter().refuse(plan_for(options=TensorRTOptions(opset=9)))

    def test_a_dynamic_size_and_an_unknown_precision(self):
        with pytest.raises(UsageError, match="tensorrt cannot have a dynamic image size; use --image-size"):
            TensorRTExporter().refuse(plan_for(dynamic_size=True))
        with pytest.raises(UsageError, match="tensorrt has no precision 'bf16'; use --precision fp32 or fp16 or int8"):
            TensorRTExporter().refuse(plan_for(precision="bf16"))

    @pytest.mark.parametrize("flavor", ["auto", "tensorrt-rtx"])
    def test_options_of_the_full_tensorrt_on_rtx(self, answers, tmp_path, flavor):
        answers["tensorrt-rtx"] = Capability(can_import=True, can_build=True)
        for wish in ({"workspace_mib": 64}, {"timing_cache": tmp_path / "timings"}):
            with pytest.raises(UsageError, match="TensorRT-RTX has neither --timing-cache nor --workspace-mib"):
                TensorRTExporter().refuse(plan_for(options=TensorRTOptions(flavor=flavor, **wish)))

    def test_a_timing_cache_without_a_folder(self, answers, tmp_path):
        answers["tensorrt"] = Capability(can_import=True, can_build=True)
        options = TensorRTOptions(timing_cache=tmp_path / "nowhere" / "timings")
        with pytest.raises(UsageError, match=r"nowhere is no folder; give another --timing-cache"):
            TensorRTExporter().refuse(plan_for(options=options))


@pytest.fixture
def answers(monkeypatch):
    """Capabilities to be set by a test; nothing is installed at first."""
    found = {"tensorrt": Capability(reason="not installed"), "tensorrt-rtx": Capability(reason="not installed")}
    monkeypatch.setattr(tensorrt, "capability", found.__getitem__)
    monkeypatch.setattr(probe, "capability", found.__getitem__)
    return found


class TestChoice:
    BUILDS = Capability(can_import=True, can_build=True, version="11.4.0", reason="no NVIDIA driver")

    def test_auto_prefers_the_full_tensorrt(self, answers):
        answers.update({"tensorrt": self.BUILDS, "tensorrt-rtx": self.BUILDS})
        choice = choose_library("auto")
        assert (choice.library.flavor, choice.reason) == ("tensorrt", "--flavor auto")

    def test_auto_takes_rtx_and_says_why(self, answers):
        answers.update({"tensorrt": Capability(can_import=True, reason="error 35"), "tensorrt-rtx": self.BUILDS})
        choice = choose_library("auto")
        assert choice.library.flavor == "tensorrt-rtx"
        assert choice.reason == "--flavor auto; TensorRT unavailable: error 35"

    def test_what_was_asked_for_is_not_replaced(self, answers):
        answers["tensorrt-rtx"] = self.BUILDS
        with pytest.raises(MissingError, match=r"no engine can be built here: TensorRT unavailable: not installed; pip install"):
            choose_library("tensorrt")

    def test_nothing_is_there(self, answers):
        with pytest.raises(MissingError, match=r"TensorRT unavailable: not installed; TensorRT-RTX unavailable: not installed"):
            choose_library("auto")
        found = TensorRTExporter.probe()
        assert not found.ok
        assert "pip install -e '.[tensorrt-rtx]'" in found.fix
        assert "NVIDIA's own package index" in found.fix

    def test_the_probe_tells_of_both(self, answers):
        answers["tensorrt-rtx"] = self.BUILDS
        found = TensorRTExporter.probe()
        assert found.ok
        assert found.detail == "TensorRT unavailable: not installed; TensorRT-RTX 11.4.0 builds, cannot run: no NVIDIA driver"
