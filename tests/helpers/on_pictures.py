"""Labelled pictures through a trained network: its truth and PyTorch's own error on them, and a bundle's."""

import gzip
import io
import subprocess
import tarfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from edgevit_deploy.bundle.folder import open_bundle
from edgevit_deploy.data.batches import PictureStream
from edgevit_deploy.data.image_folder import open_image_folder
from edgevit_deploy.data.preprocess import normalise
from edgevit_deploy.host import THIS_HOST
from edgevit_deploy.model.loading import LoadedModel, ModelOrigin, load_model
from edgevit_deploy.parity.gate import run_in_batches
from edgevit_deploy.parity.reference import Reference
from edgevit_deploy.verification.bundle import artifact_of
from tests.helpers.small import ends
from tests.helpers.trained import BORDER, LABELS, WEIGHTS

SIZE = (64, 64)


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """Pictures as inputs (n, 3, height, width), their float64 logits, and PyTorch's largest float32 error on each."""

    inputs: NDArray[np.float32]
    exact: NDArray[np.float64]
    noise: NDArray[np.float64]

    def errors_of(self, bundle: Path) -> NDArray[np.float64]:
        """Return the largest error on each picture, run one at a time."""
        artifact = artifact_of(bundle, open_bundle(bundle), THIS_HOST)
        session_type = THIS_HOST.find_session(artifact.target)
        assert session_type is not None
        with session_type(artifact.path, inputs=artifact.inputs, outputs=artifact.outputs) as session:
            return np.abs(run_in_batches(session, self.inputs, 1)["logits"] - self.exact).max(axis=1)


def trained_model() -> LoadedModel:
    return load_model(ModelOrigin(weights=WEIGHTS, image_size=SIZE))


def judged(folder: Path, model: LoadedModel) -> Judged:
    """Run every picture of a folder in float64, and in float32 as the noise of a bundle is taken: one at a time."""
    preprocess, pictures = model.spec.preprocess, open_image_folder(folder)
    stream = PictureStream(path=pictures.path, positions=np.arange(len(pictures)), preprocess=preprocess, batch=20)
    inputs = np.concatenate([normalise(batch.pixels, preprocess, "tensor") for batch in stream])
    reference = Reference(model.network, preprocess)
    in_double, in_single = reference.runner(ends(), "fp64"), reference.runner(ends(), "fp32")
    exact = np.concatenate([in_double(inputs[start : start + 20])["logits"] for start in range(0, len(inputs), 20)])
    own = np.concatenate([in_single(image[np.newaxis])["logits"] for image in inputs])
    return Judged(inputs=inputs, exact=exact, noise=np.abs(own - exact).max(axis=1))


def unpack_validation_set(package: Path, root: Path) -> Path:
    """Write all 10,000 pictures of the Debian package `dataset-fashion-mnist` as `trained.write_pictures` writes some."""
    packed = subprocess.run(["dpkg-deb", "--fsys-tarfile", package], capture_output=True, check=True).stdout
    with tarfile.open(fileobj=io.BytesIO(packed)) as files:
        members = {Path(member.name).name: member for member in files.getmembers() if "t10k" in member.name}
        pixels, targets = (_array(files, members[f"t10k-{what}-ubyte.gz"]) for what in ("images-idx3", "labels-idx1"))
    for label in LABELS:
        (root / label).mkdir(parents=True)
    for position, (picture, target) in enumerate(zip(pixels[16:].reshape(-1, 28, 28), targets[8:].tolist(), strict=True)):
        Image.fromarray(np.pad(picture, BORDER)).save(root / LABELS[target] / f"{position:05}.png")
    return root


def _array(files: tarfile.TarFile, member: tarfile.TarInfo) -> NDArray[np.uint8]:
    file = files.extractfile(member)
    assert file is not None
    return np.frombuffer(gzip.decompress(file.read()), np.uint8)
