"""The files of a Core ML package: what a person reads in its description, and bytes that depend on nothing but the model."""

import json
import shutil
import uuid
from dataclasses import asdict
from pathlib import Path
from typing import Any

from edgevit_deploy.exporter import ExportPlan
from edgevit_deploy.formats.coreml import DATA_FOLDER, MODEL_PATH, PACKAGE_MANIFEST, WEIGHTS_PATH
from edgevit_deploy.spec import VERSION, InputKind, OutputKind

CONVERSION_DATE = "com.github.apple.coremltools.conversion_date"

INPUT_MEANING: dict[InputKind, str] = {
    "tensor": "RGB image, normalised: (value / 255 - mean) / std, channel by channel",
    "image": "RGB image, 0 to 255; the model normalises it",
}
OUTPUT_MEANING: dict[OutputKind, str] = {
    "logits": "One logit for each class, in the order of the labels",
    "probabilities": "Probability of each class",
}


def describe(spec: Any, plan: ExportPlan[Any], returns: OutputKind) -> None:
    """Fill in the description that Xcode and `MLModel` show, and drop the date of conversion.

    Args:
        spec: the package's specification; changed in place.
        plan: what was built.
        returns: what the output holds.
    """
    model = plan.spec
    metadata = spec.description.metadata
    metadata.shortDescription = (
        f"EdgeViT ({model.variant}): classifies an RGB image into {model.num_classes} classes; {plan.precision}, "
        f"depths {model.depths}, LayerNorm epsilon {model.norm_eps:g} and {model.inner_norm_eps:g}"
    )
    metadata.author = "EdgeViT: J. Pan et al., ECCV 2022 (arXiv 2205.03436); converted by edgevit-deploy"
    metadata.license = "Network: Apache-2.0 (saic-fi/edgevit). The weights have the licence of whoever trained them."
    metadata.versionString = VERSION
    metadata.userDefined.pop(CONVERSION_DATE, None)
    metadata.userDefined["edgevit_deploy.variant"] = model.variant
    metadata.userDefined["edgevit_deploy.precision"] = plan.precision
    metadata.userDefined["edgevit_deploy.preprocess"] = json.dumps(asdict(model.preprocess), sort_keys=True)
    for feature in spec.description.input:
        feature.shortDescription = INPUT_MEANING[plan.takes]
    for feature in spec.description.output:
        is_label = feature.name == spec.description.predictedFeatureName
        feature.shortDescription = "The most probable class" if is_label else OUTPUT_MEANING[returns]


def write_package(spec: Any, weights: Path, package: Path) -> None:
    """Write a package; the same specification and weights give the same bytes.

    coremltools' own writer draws two random identifiers for the manifest, serialises maps in the order of a salted hash, and
    copies whatever else a frontend left beside the model.

    Args:
        spec: the specification, as described.
        weights: folder with weight.bin.
        package: where to write; must not exist.
    """
    model_path, weights_path = package / DATA_FOLDER / MODEL_PATH, package / DATA_FOLDER / WEIGHTS_PATH
    weights_path.mkdir(parents=True)
    model_path.write_bytes(spec.SerializeToString(deterministic=True))
    shutil.copyfile(weights / "weight.bin", weights_path / "weight.bin")
    entries = {
        _identifier(MODEL_PATH): {
            "author": "com.apple.CoreML",
            "description": "CoreML Model Specification",
            "name": "model.mlmodel",
            "path": MODEL_PATH,
        },
        _identifier(WEIGHTS_PATH): {
            "author": "com.apple.CoreML",
            "description": "CoreML Model Weights",
            "name": "weights",
            "path": WEIGHTS_PATH,
        },
    }
    manifest = {"fileFormatVersion": "1.0.0", "itemInfoEntries": entries, "rootModelIdentifier": _identifier(MODEL_PATH)}
    (package / PACKAGE_MANIFEST).write_text(json.dumps(manifest, indent=4) + "\n", encoding="utf-8")


def _identifier(path: str) -> str:
    """Identifiers need only differ within one manifest, so each follows from the path that it stands for."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, path))
