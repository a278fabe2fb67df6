"""The files of a Core AI asset: what its metadata say, and bytes that depend on nothing but the model."""

import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from edgevit_deploy.errors import ExportError, first_line
from edgevit_deploy.exporter import ExportPlan
from edgevit_deploy.formats.coreai import ASSET_VERSION, HASH, LOADER_ERRORS, METADATA, PROGRAM, import_coreai
from edgevit_deploy.formats.coreai.description import CREATOR, LABELS, PREPROCESS, TAKES
from edgevit_deploy.spec import VERSION


def write_asset(program: Any, plan: ExportPlan[Any], asset: Path) -> None:
    """Write an asset; the same program and plan give the same bytes.

    The library's own metadata have the time of the conversion, and their entries are in no order.

    Args:
        program: what `convert` returned.
        plan: what is built.
        asset: where to write, ending in .aimodel; must not exist.

    Raises:
        ExportError: with the library's own words.
    """
    coreai = import_coreai()
    try:
        program.save_asset(asset, minimum_os=coreai.OSVersion[plan.options.minimum_os])
    except LOADER_ERRORS as error:
        raise ExportError(f"Core AI's library could not write {asset.name}: {first_line(error.__cause__ or error)}") from error
    producer = json.loads((asset / METADATA).read_bytes())["producer"]
    (asset / METADATA).write_text(json.dumps(said_of(plan, producer), indent=2, sort_keys=True) + "\n", encoding="utf-8")
    (asset / HASH).write_bytes(hashlib.sha256((asset / PROGRAM).read_bytes()).digest())


def said_of(plan: ExportPlan[Any], producer: str) -> dict[str, Any]:
    """Return the metadata of a plan's asset."""
    model = plan.spec
    return {
        "assetVersion": ASSET_VERSION,
        "producer": producer,
        "author": "EdgeViT: J. Pan et al., ECCV 2022 (arXiv 2205.03436); converted by edgevit-deploy",
        "license": "Network: Apache-2.0 (saic-fi/edgevit). The weights have the licence of whoever trained them.",
        "description": (
            f"EdgeViT ({model.variant}), {plan.returns} of an RGB image; {plan.precision}, depths {model.depths}, LayerNorm "
            f"epsilon {model.norm_eps:g} and {model.inner_norm_eps:g}"
        ),
        CREATOR: {
            "edgevit_deploy.version": VERSION,
            PREPROCESS: asdict(model.preprocess),
            TAKES: plan.takes,
            LABELS: list(plan.labels),
        },
    }
