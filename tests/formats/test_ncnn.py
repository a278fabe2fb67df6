"""ncnn models are counted before ncnn sees them: what holds is described, what does not is one clear line."""

from pathlib import Path

import pytest

from edgevit_deploy.errors import RunError
from edgevit_deploy.formats.ncnn import BIN_NAME, MAX_PARAM_BYTES, PARAM_NAME, ask_for_bf16_storage, read_ncnn_model
from tests.helpers.ncnn import FLOAT16_TAG, FLOAT32_TAG, HANDWRITTEN, write_handwritten

CONVOLUTION = "0=2 1=1 11=1 5=1 6=6"


def refused(folder: Path, message: str) -> None:
    with pytest.raises(RunError, match=message) as caught:
        read_ncnn_model(folder)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("tag", "storage"), [(FLOAT32_TAG, "float32"), (FLOAT16_TAG, "float16")])
def test_it_says_what_a_model_holds(tmp_path: Path, tag: bytes, storage: str) -> None:
    model = read_ncnn_model(write_handwritten(tmp_path, tag=tag))
    assert model.layer_counts() == {"BinaryOp": 1, "Convolution": 1, "Input": 1, "Split": 1}
    assert (model.tagged, model.raw) == ({storage: 6}, 2)
    assert model.ends() == (("in0",), ("out0",))
    assert model.layers[1].number(6) == 6


@pytest.mark.parametrize(
    ("settings", "tagged", "raw"),
    [
        ("Convolution c 1 1 in0 out0 0=3 6=9", 9, 0),
        ("DeconvolutionDepthWise c 1 1 in0 out0 0=3 5=1 6=12 7=3", 12, 3),
        ("InnerProduct c 1 1 in0 out0 0=4 1=1 2=12", 12, 4),
        ("Gemm c 1 1 in0 out0 10=4 2=0 3=1 4=0 5=1 6=1 7=16 8=4 9=3", 12 + 4, 0),
        ("Gemm c 1 1 in0 out0 10=-1 3=1 5=1 6=1 7=16 8=4 9=3", 12, 0),
        ("LayerNorm c 1 1 in0 out0 0=8 1=1.000000e-5 2=1", 0, 16),
        ("LayerNorm c 1 1 in0 out0 0=8 2=0", 0, 0),
        ("Reduction c 1 1 in0 out0 0=3 1=0 -23303=1,1 4=0 5=1", 0, 0),
    ],
)
def test_the_weights_of_each_kind_are_counted(tmp_path: Path, settings: str, tagged: int, raw: int) -> None:
    (tmp_path / PARAM_NAME).write_text(f"7767517\n2 2\nInput in0 0 1 in0\n{settings}\n")
    gemm_bias = 4 if "10=4" in settings else 0
    sizes = [tagged - gemm_bias, gemm_bias]
    (tmp_path / BIN_NAME).write_bytes(b"".join(FLOAT32_TAG + bytes(4 * size) for size in sizes if size) + bytes(4 * raw))
    model = read_ncnn_model(tmp_path)
    assert (sum(model.tagged.values()), model.raw) == (tagged, raw)


def test_a_model_asks_for_storage_in_bfloat16_by_the_name_of_its_input_layer(tmp_path: Path) -> None:
    write_handwritten(tmp_path)
    plain = read_ncnn_model(tmp_path)
    ask_for_bf16_storage(tmp_path / PARAM_NAME)
    asking = read_ncnn_model(tmp_path)
    assert (plain.bf16_storage, asking.bf16_storage) == (False, True)
    assert asking.ends() == plain.ends()
    assert asking.layers[1:] == plain.layers[1:]
    assert (asking.layers[0].kind, asking.layers[0].settings) == (plain.layers[0].kind, plain.layers[0].settings)


@pytest.mark.parametrize("inputs", [0, 2])
def test_a_model_without_one_input_cannot_ask(tmp_path: Path, inputs: int) -> None:
    line = next(line for line in HANDWRITTEN.splitlines(keepends=True) if line.startswith("Input"))
    text = HANDWRITTEN.replace(line, inputs * line)
    (tmp_path / PARAM_NAME).write_text(text)
    with pytest.raises(RunError, match=rf"model\.param has {inputs} inputs, expected 1; convert it again"):
        ask_for_bf16_storage(tmp_path / PARAM_NAME)
    assert (tmp_path / PARAM_NAME).read_text() == text


def test_an_odd_number_of_halves_is_padded(tmp_path: Path) -> None:
    (tmp_path / PARAM_NAME).write_text("7767517\n2 2\nInput in0 0 1 in0\nConvolution c 1 1 in0 out0 0=3 6=9\n")
    (tmp_path / BIN_NAME).write_bytes(FLOAT16_TAG + bytes(20))
    assert read_ncnn_model(tmp_path).tagged == {"float16": 9}


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("7767517", "7767516", r"starts with '7767516', ncnn's text format with 7767517"),
        ("4 5", "4 6", "announces 4 layers and 6 blobs, it has 4 and 5"),
        ("4 5", "2000000000 5", "announces 2000000000 layers and 5 blobs"),
        ("4 5", "many", "is not ncnn's text format"),
        ("BinaryOp  ", "MyPlugin  ", "has a layer 'MyPlugin', which is not among those known"),
        ("BinaryOp  ", "Tensor.reshape  ", "has a layer 'Tensor.reshape'"),
        ("2 1 b c out0", "2 1 b b out0", "reads 'b', which no layer before it makes for it"),
        ("2 1 b c out0", "2 1 b z out0", "reads 'z', which no layer before it makes for it"),
        ("1 2 a b c", "1 2 a b b", "makes 'b' a second time"),
        ("1 2 a b c", "1 -2 a b c", "has a line that is no layer"),
        ("2 1 b c out0", "9 9 b c out0", "has a line that is no layer"),
        ("add_0", "x" * 300, "has a line that is no layer"),
        (CONVOLUTION, "0=2 1=1,7 5=1 6=6", "has a line that is no layer"),
        (CONVOLUTION, "0=2 -23301=3,1,1 5=1 6=6", "has a line that is no layer"),
        (CONVOLUTION, "0=2 1=1 5=1 6=six", "has a line that is no layer"),
        (CONVOLUTION, "0=2 1=1 5=1 6=6.5", "has 6=6.5, expected a whole number"),
        ("1=1", "1=100000", "has 1=100000, expected 0 to 1024"),
        ("1=1", "1=-1", "has 1=-1, expected 0 to 1024"),
        ("6=6", "6=6 8=1", "has 8-bit or computed weights"),
        ("6=6", "6=2000000000", "asks for 2000000000 weights, which model.bin does not hold"),
        ("6=6", "6=-6", "asks for -6 weights"),
        ("6=6", "6=7", r"model\.bin has 36 bytes, its layers need 40"),
        ("5=1", "5=0", r"model\.bin has 36 bytes, its layers need 28"),
    ],
)
def test_a_param_file_that_does_not_hold_is_refused(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in HANDWRITTEN
    refused(write_handwritten(tmp_path, HANDWRITTEN.replace(old, new, 1)), message)


@pytest.mark.parametrize(
    ("tag", "extra", "message"),
    [
        (FLOAT32_TAG, b"\0", r"model\.bin has 37 bytes, its layers need 36"),
        (b"\x38\x4b\x0d\x00", b"", "neither float32 nor float16"),
        (b"\x01\x00\x00\x00", b"", "neither float32 nor float16"),
    ],
)
def test_weights_that_do_not_hold_are_refused(tmp_path: Path, tag: bytes, extra: bytes, message: str) -> None:
    refused(write_handwritten(tmp_path, tag=tag, extra=extra), message)


def test_missing_large_and_binary_files_are_refused(tmp_path: Path) -> None:
    refused(tmp_path, r"model\.param cannot be read \(No such file")
    write_handwritten(tmp_path)
    (tmp_path / BIN_NAME).unlink()
    refused(tmp_path, r"model\.bin cannot be read \(No such file")
    (tmp_path / PARAM_NAME).write_bytes(b"\xff\xfe" * 100)
    refused(tmp_path, "is not ncnn's text format")
    (tmp_path / PARAM_NAME).write_bytes(b"")
    refused(tmp_path, "is not ncnn's text format")
    (tmp_path / PARAM_NAME).write_bytes(b"7" * (MAX_PARAM_BYTES + 1))
    refused(tmp_path, "so it is no EdgeViT")
    refused(tmp_path / PARAM_NAME, "cannot be read")
