"""The files of a Core ML package: what a person reads in its description, and bytes that depend on nothing but the model."""

import json
import shutil
import uuid
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from edgevit_deploy.exporter import ExportPlan
from edgevit_deploy.formats.coreml import DATA_FOLDER, MODEL_PATH, PACKAGE_MANIFEST, PREPROCESS, WEIGHTS_PATH
from edgevit_deploy.spec import INPUT_NAME, VERSION, InputKind, OutputKind

CONVERSION_DATE = "com.github.apple.coremltools.conversion_date"

PREVIEW, PREVIEW_OF_CLASSIFIERS = "com.apple.coreml.model.preview.type", "imageClassifier"
LABEL_OUTPUT, PROBABILITIES_OUTPUT = "classLabel", "classLabel_probs"
"""What coremltools calls the outputs of a classifier."""

INPUT_MEANING: dict[InputKind, str] = {
    "tensor": "RGB image, normalised: (value / 255 - mean) / std, channel by channel",
    "image": "RGB image, 0 to 255; the model normalises it",
}
OUTPUT_MEANING: dict[OutputKind, str] = {
    "logits": "One logit for each class, in the order of the labels",
    "probabilities": "Probability of each class",
    "features": "Feature map that this stage ends with",
    "class_maps": "One logit for each class and pixel, classes in the order of the labels",
    "detections": "Raw numbers for each anchor: logits (classes in the order of the labels) or dx, dy, dw, dh",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """What Xcode and `MLModel` show of a package, beside the types of its input and outputs.

    Attributes:
        texts: field of the metadata -> its text.
        own: what no field is for, by its key; Xcode knows one of them, for its preview.
        ends: name of an input or output -> what it holds.
    """

    texts: dict[str, str]
    own: dict[str, str]
    ends: dict[str, str]


def shown_by(spec: Any) -> Shown:
    """Return what a package's specification has to be shown."""
    description, fields = spec.description, ("shortDescription", "author", "license", "versionString")
    return Shown(
        texts={field: getattr(description.metadata, field) for field in fields},
        own=dict(description.metadata.userDefined),
        ends={feature.name: feature.shortDescription for feature in (*description.input, *description.output)},
    )


def to_be_shown(plan: ExportPlan[Any]) -> Shown:
    """Return what is to be shown of the package of a plan.

    Xcode's preview gives pictures to a classifier, so that only a classifier that takes pictures is announced to it.
    """
    model = plan.spec
    own = {
        "edgevit_deploy.variant": model.variant,
        "edgevit_deploy.precision": plan.precision,
        PREPROCESS: json.dumps(asdict(model.preprocess), sort_keys=True),
    }
    if plan.options.classifier and plan.takes == "image":
        own[PREVIEW] = PREVIEW_OF_CLASSIFIERS
    meaning = OUTPUT_MEANING[plan.returns]
    classifier = {LABEL_OUTPUT: "The most probable class", PROBABILITIES_OUTPUT: meaning}
    return Shown(
        texts={
            "shortDescription": (
                f"EdgeViT ({model.variant}): {plan.purpose()}; {plan.precision}, "
                f"depths {model.depths}, LayerNorm epsilon {model.norm_eps:g} and {model.inner_norm_eps:g}"
            ),
            "author": "EdgeViT: J. Pan et al., ECCV 2022 (arXiv 2205.03436); converted by edgevit-deploy",
            "license": "Network: Apache-2.0 (saic-fi/edgevit). The weights have the licence of whoever trained them.",
            "versionString": VERSION,
        },
        own=own,
        ends={INPUT_NAME: INPUT_MEANING[plan.takes]}
        | (classifier if plan.options.classifier else {spec.name: meaning for spec in plan.outputs}),
    )


def describe(spec: Any, shown: Shown) -> None:
    """Fill in the description of a package, and drop what coremltools says of itself there: the date of conversion changes.

    Args:
        spec: the package's specification; changed in place.
        shown: what is to be said.
    """
    metadata = spec.description.metadata
    for field, text in shown.texts.items():
        setattr(metadata, field, text)
    metadata.userDefined.pop(CONVERSION_DATE, None)
    metadata.userDefined.update(shown.own)
    for feature in (*spec.description.input, *spec.description.output):
        feature.shortDescription = shown.ends[feature.name]


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
