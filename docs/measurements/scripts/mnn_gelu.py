"""The published graph by MNN's converter as it comes, with GELU by a tanh, and told to be exact; and our file of its weights.

    python docs/measurements/scripts/mnn_gelu.py FOLDER [VARIANT]

writes tanh.mnn, exact.mnn and deploy.mnn, and prints the largest error of each on four drawn images, in units of PyTorch's own
error in float32. No session of ours loads the first: `time_files.py mnn 224 FILE...` times them.
"""

import copy
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import MNN
import numpy as np
import torch

from edgevit_deploy.host import THIS_HOST
from edgevit_deploy.model.loading import ModelOrigin, load_model
from edgevit_deploy.workbench import open_workbench
from export.mnn import traced
from export.mnn.converter import EXACT_GELU, convert, write_source


def logits(path: Path, images: np.ndarray) -> Iterator[np.ndarray]:
    interpreter = MNN.Interpreter(str(path))
    session = interpreter.createSession({"backend": "CPU", "precision": 1, "numThread": 1})
    for position in range(len(images)):
        image = np.ascontiguousarray(images[position : position + 1])
        tensor = MNN.Tensor(image.shape, MNN.Halide_Type_Float, image, MNN.Tensor_DimensionType_Caffe)
        interpreter.getSessionInput(session, "input").copyFrom(tensor)
        interpreter.runSession(session)
        yield np.array(interpreter.getSessionOutput(session, "logits").getNumpyData()).reshape(-1)


@torch.no_grad()
def main(folder: Path, variant: str = "edgevit_xxs") -> None:
    model = load_model(ModelOrigin(model=variant, seed=0))
    exporter = THIS_HOST.find_exporter("mnn")
    folder.mkdir(parents=True)
    with open_workbench(model, THIS_HOST) as bench:
        plan = exporter.plan(model.spec, precision="fp32")
        (folder / "deploy.mnn").write_bytes(bench.build(plan).path.read_bytes())
        published = replace(plan, graph="original")
        source = write_source(traced(bench.module(published, model.network), published), folder)
    for name, flags in {"exact": EXACT_GELU, "tanh": ()}.items():
        convert(source, folder / name, *flags).rename(folder / f"{name}.mnn")
    images = np.random.default_rng(0).standard_normal((4, 3, *model.spec.image_size)).astype(np.float32)
    network = model.network.eval()
    exact = copy.deepcopy(network).double()(torch.from_numpy(images).double()).numpy()
    noise = np.abs(network(torch.from_numpy(images)).numpy() - exact).max()
    for name in ("deploy", "exact", "tanh"):
        error = np.abs(np.stack(list(logits(folder / f"{name}.mnn", images))) - exact).max()
        print(f"{name}.mnn: largest error {error:.2g}, {error / noise:.3g} x noise")


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
