"""ONNX Runtime's mobile checker: what it says is left outside, and where."""

import warnings
from pathlib import Path

import pytest
import torch
from torch import nn

from edgevit_deploy.errors import ExportError
from export.onnx.mobile import check_mobile


def test_the_mobile_checker_names_a_transposed_convolution(tmp_path: Path) -> None:
    """Core ML's NeuralNetwork provider has none; in the part network and out of ONNX Runtime's own list."""
    found = {}
    for name, layer in (("transposed", nn.ConvTranspose2d(4, 4, 2, 2, groups=4)), ("plain", nn.Conv2d(4, 4, 1))):
        module = nn.Sequential(nn.Conv2d(3, 4, 1), layer, nn.Conv2d(4, 4, 1)).eval()
        path = tmp_path / f"{name}.onnx"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.onnx.export(module, (torch.zeros(1, 3, 8, 8),), str(path), dynamo=False, opset_version=17)
        found[name] = check_mobile(path)["Core ML NeuralNetwork"]
    assert (found["transposed"].outside, found["transposed"].partitions) == ({"ConvTranspose": 1}, 2)
    assert (found["plain"].outside, found["plain"].partitions) == ({}, 1)
    (tmp_path / "no.onnx").write_bytes(b"no model")
    with pytest.raises(ExportError, match="mobile checker cannot read"):
        check_mobile(tmp_path / "no.onnx")
