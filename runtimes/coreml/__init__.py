"""Core ML itself, on macOS, on the CPU, where it computes in the precision that the file states."""

import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from edgevit_deploy.errors import RunError
from edgevit_deploy.formats.coreml import class_labels, import_coremltools, read_package
from edgevit_deploy.registry import Availability, requires
from edgevit_deploy.session import Array, Session
from edgevit_deploy.spec import TensorSpec


class CoreMLSession(Session):
    """Runs an .mlpackage; images and label dictionaries become arrays on the way."""

    name = "Core ML (CPU)"
    packages = ("coremltools",)
    memory_limited = False

    _model: Any = None
    _images: frozenset[str] | None = None
    _labels: tuple[str, ...] | None = None
    _probabilities: str | None = None

    @classmethod
    def probe(cls) -> Availability:
        """Say whether this is a Mac with coremltools."""
        if platform.system() != "Darwin":
            fix = "copy the bundle to a Mac and run there: edgevit-deploy verify BUNDLE"
            return Availability(ok=False, detail="Core ML needs macOS", fix=fix)
        return requires("coremltools")

    def _load(self) -> None:
        self.threads = None  # Core ML chooses its own number
        spec = read_package(self.path)
        check_types(spec.description, self.inputs)
        try:
            self._model = load_model(self.path)
        except Exception as error:  # coremltools raises Exception itself
            raise RunError(f"{self.name} cannot load {self.path.name}: {error}") from error
        self._images = frozenset(feature.name for feature in spec.description.input if feature.type.HasField("imageType"))
        self._labels = class_labels(spec)
        self._probabilities = spec.description.predictedProbabilitiesName

    def _run(self, feeds: Mapping[str, Array]) -> Mapping[str, Array]:
        assert self._images is not None
        data = {name: _as_picture(name, array) if name in self._images else array for name, array in feeds.items()}
        try:
            outputs = self._model.predict(data)
        except Exception as error:  # coremltools raises Exception itself
            raise RunError(f"{self.name} cannot run {self.path.name}: {error}") from error
        if not self._labels:
            return {name: np.asarray(value, dtype=np.float32) for name, value in outputs.items()}
        probabilities = outputs[self._probabilities]
        return {self.outputs[0].name: np.array([[probabilities[label] for label in self._labels]], dtype=np.float32)}

    def _unload(self) -> None:
        self._model = self._images = self._labels = self._probabilities = None


def check_types(description: Any, expected: tuple[TensorSpec, ...]) -> None:
    """Compare the types of a description's inputs with what the manifest says; a picture is fed from floats.

    Raises:
        RunError: naming an input of another type.
    """
    for feature in description.input:
        array = feature.type.multiArrayType
        picture = feature.type.HasField("imageType")
        found = "float32" if picture or array.dataType == array.FLOAT32 else array.ArrayDataType.Name(array.dataType)
        for spec in expected:
            if spec.name == feature.name and spec.dtype != found:
                raise RunError(f"its input {spec.name!r} holds {found}, the manifest says {spec.dtype}; convert again")


def load_model(package: Path) -> Any:
    """Load a package into Core ML on the CPU: the GPU and the Neural Engine compute in half precision as they see fit."""
    ct = import_coremltools()
    return ct.models.MLModel(str(package), compute_units=ct.ComputeUnit.CPU_ONLY)


def _as_picture(name: str, array: Array) -> Any:
    """Return a batch of one image, (1, 3, height, width) from 0 to 255, as a Pillow image."""
    from PIL import Image

    pixels = array.astype(np.uint8)
    if not np.array_equal(pixels, array):
        raise RunError(f"input {name!r} is a picture, which holds whole numbers from 0 to 255 only")
    return Image.fromarray(pixels[0].transpose(1, 2, 0))
