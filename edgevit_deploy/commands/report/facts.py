"""What the page says of a bundle's model and interface, as names and what they stand for."""

from collections.abc import Mapping

import msgspec

from edgevit_deploy.bundle.manifest import Manifest
from edgevit_deploy.spec import INPUTS, PADDED, Size, TensorSpec

Pairs = tuple[tuple[str, str], ...]
"""Names and what they stand for, in the order of the page."""


def model_facts(manifest: Manifest) -> dict[str, object]:
    """Return what is known of the network."""
    model = manifest.model
    random = f"random, from seed {model.random_seed}: it classifies nothing"
    return {
        "variant": model.variant,
        "graph": manifest.conversion.graph,
        "weights": random if model.weights_sha256 is None else f"checkpoint with sha256 {model.weights_sha256}",
        "checkpoint dialect": model.dialect or "-",
        "parameters": f"{model.parameters:,}",
        "depths": model.depths,
        "channels": model.channels,
        "channels a head": model.head_dim,
        "classes": f"{model.num_classes}{', without bias' * (not model.head_bias)}",
        "class names": f"{manifest.labels.path}{', placeholders' * manifest.labels.placeholders}",
        "LayerNorm eps, outer and inner": f"{model.norm_eps:g}, {model.inner_norm_eps:g}",
        "image size": size_text(model.image_size),
    }


def interface_facts(manifest: Manifest) -> dict[str, object]:
    """Return what an app feeds and gets."""
    preprocess = manifest.preprocess
    holds = INPUTS[manifest.conversion.takes].holds
    facts: dict[str, object] = {f"input {spec.name!r}": f"{_tensor(spec)}, {holds}" for spec in manifest.inputs}
    facts |= {f"output {spec.name!r}": f"{_tensor(spec)}, {manifest.conversion.returns}" for spec in manifest.outputs}
    return {
        **facts,
        "colour order": preprocess.color_order,
        "resize": f"{preprocess.interpolation}, antialiased, {preprocess.fit} {size_text(preprocess.resize)}",
        **(
            {"padding": f"{preprocess.padding()}, as the fit says"}
            if preprocess.fit in PADDED
            else {"centre crop": size_text(preprocess.crop)}
        ),
        "value range": preprocess.value_range,
        "mean": preprocess.mean,
        "standard deviation": preprocess.std,
    }


def pairs(facts: Mapping[str, object]) -> Pairs:
    """Return facts as text, in their order."""
    return tuple((name, _text(value)) for name, value in facts.items())


def _text(value: object) -> str:
    if isinstance(value, dict):
        return "; ".join(f"{name}: {_plain(part)}" for name, part in value.items())
    return _plain(value)


def _plain(value: object) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode().replace(",", ", ")


def size_text(size: Size) -> str:
    """Return a size for people."""
    return f"{size[0]} x {size[1]}"


def _tensor(spec: TensorSpec) -> str:
    return f"{spec.dtype} ({', '.join(map(str, spec.shape))})"
