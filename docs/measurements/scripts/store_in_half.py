"""Store a checkpoint in float16, half the size, with what stands beside its weights.

python docs/measurements/scripts/store_in_half.py best.safetensors half.safetensors
"""

import sys

import torch
from safetensors import safe_open
from safetensors.torch import save_file

source, target = sys.argv[1:]
with safe_open(source, "pt") as file:
    tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no mapping
    metadata = file.metadata()
halves = {name: tensor.half() if tensor.dtype == torch.float32 else tensor for name, tensor in tensors.items()}
save_file(halves, target, metadata=metadata)
