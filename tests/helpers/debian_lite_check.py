"""Run by an older PyTorch's own interpreter, on nothing but torch and the standard library.

`debian_lite_check.py run FILE INPUT OUTPUT BATCH HEIGHT WIDTH` loads a lite-interpreter file, feeds it raw float32
(batch, 3, height, width) and writes the raw float32 result. `debian_lite_check.py schemas` prints, as JSON, how many arguments
each operator of this PyTorch takes.
"""

import array
import json
import sys
from pathlib import Path

import torch
from torch.jit.mobile import _load_for_lite_interpreter


def run(path: str, source: str, destination: str, *shape: str) -> None:
    values = array.array("f")
    values.frombytes(Path(source).read_bytes())
    batch, height, width = (int(size) for size in shape)
    images = torch.tensor(values.tolist(), dtype=torch.float32).reshape(batch, 3, height, width)
    with torch.no_grad():
        outputs = _load_for_lite_interpreter(path)(images)
    Path(destination).write_bytes(array.array("f", outputs.flatten().tolist()).tobytes())


def schemas() -> None:
    found = {}
    for schema in torch._C._jit_get_all_schemas():
        found[f"{schema.name}.{schema.overload_name}".rstrip(".")] = len(schema.arguments)
    print(json.dumps(found))


if __name__ == "__main__":
    {"run": run, "schemas": schemas}[sys.argv[1]](*sys.argv[2:])
