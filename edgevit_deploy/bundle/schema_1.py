"""Manifests of schema version 1, brought into the present form: what was flat and untyped there has fields of its own now."""

from typing import Any

COMMON_OPTIONS = ("batch", "image_size", "input", "precision", "form")
"""What stood among the target's own options and is recorded as the conversion now."""


def from_schema_1(document: dict[str, Any]) -> dict[str, Any]:
    """Return a manifest of schema 1 as one of schema 2; what it says is checked afterwards, as for any other.

    Raises:
        KeyError: a field is missing.
        TypeError: a field is of another kind; AttributeError, ValueError and IndexError likewise.
    """
    old = dict(document)
    takes, returns, graph = old.pop("input_form"), old.pop("output_form"), old.pop("graph")
    options, facts, golden, built_from = dict(old["options"]), dict(old["facts"]), old["golden"], old.pop("source")
    input_spec, output_spec = old["inputs"][0], old["outputs"][0]
    batch, _, height, width = input_spec["shape"]
    deploy = graph != "original"  # a manifest's own word was any text
    conversion = {
        "batch": batch if isinstance(batch, int) else "dynamic",
        "image_size": [height, width] if isinstance(height, int) else "dynamic",
        "takes": takes,
        "returns": returns,
        "graph": "deploy" if deploy else "original",
        "form": dict(options.get("form", {})) if deploy else None,
    }
    return {
        **old,
        "schema_version": 2,
        "golden": {
            "input": {"name": input_spec["name"], "path": golden["input_path"], "shape": golden["input_shape"]},
            "outputs": [{"name": output_spec["name"], "path": golden["output_path"], "shape": golden["output_shape"]}],
            "probes": golden["probes"],
        },
        "conversion": conversion,
        "options": {name: value for name, value in options.items() if name not in COMMON_OPTIONS},
        "parity": {
            **old["parity"],
            "diffs": [{"output": output_spec["name"], **diff} for diff in old["parity"]["diffs"]],
        },
        "operators": facts.pop("operators", {}),
        "placements": {},
        "facts": facts,
        "built_from": built_from,
    }
