"""Small ncnn models for tests: converted ones, and one written by hand."""

import struct
from pathlib import Path

from edgevit_deploy.formats.ncnn import BIN_NAME, PARAM_NAME
from export.ncnn import NcnnExporter, NcnnOptions
from tests.helpers.targets import SmallTarget

SMALL: SmallTarget[NcnnOptions] = SmallTarget(exporter=NcnnExporter(), defaults={"graph": "deploy"})

FLOAT32_TAG, FLOAT16_TAG = struct.pack("<I", 0), struct.pack("<I", 0x01306B47)

HANDWRITTEN = """\
7767517
4 5
Input                    in0                      0 1 in0
Convolution              conv_0                   1 1 in0 a 0=2 1=1 11=1 5=1 6=6
Split                    split_0                  1 2 a b c
BinaryOp                 add_0                    2 1 b c out0 0=0
"""


def write_handwritten(folder: Path, param: str = HANDWRITTEN, tag: bytes = FLOAT32_TAG, extra: bytes = b"") -> Path:
    """A 1x1 convolution of 3 channels into 2 (6 weights, 2 biases) and x + x, with the number format that the tag announces."""
    item = {FLOAT32_TAG: "f", FLOAT16_TAG: "e"}.get(tag, "f")
    (folder / PARAM_NAME).write_text(param)
    (folder / BIN_NAME).write_bytes(tag + struct.pack(f"<6{item}2f", *range(8)) + extra)
    return folder
