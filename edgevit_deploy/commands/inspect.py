"""`convert.py inspect FILE`: what a checkpoint or a bundle is, without converting anything."""

from pathlib import Path
from typing import Annotated, Any

import msgspec
from cyclopts import Parameter

from edgevit_deploy.commands.console import print_json, print_table, progress, say
from edgevit_deploy.errors import UsageError
from edgevit_deploy.outside.text import figure
from edgevit_deploy.request import read_image_size
from edgevit_deploy.spec import PADDED, BlockSpec, ModelSpec, Preprocess, Size

COST_COLUMNS = ("stage", "blocks", "h x w", "C", "k", "r", "million MACs", "counted")


def inspect(
    file: Path,
    /,
    *,
    image_size: str | None = None,
    json: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Describe a checkpoint (variant, dialect, depths, classes, eps, parameters, cost) or a bundle (after re-hashing it).

    Args:
        file: A checkpoint file or a bundle's folder.
        image_size: Side or HEIGHTxWIDTH at which a checkpoint is used; multiples of 32. [default: the checkpoint's, else 224]
        json: Print one JSON document on stdout and nothing else there.
    """
    size = None if image_size is None else read_image_size(image_size)
    if file.is_dir() and size is not None:
        raise UsageError(f"{file}: a bundle has the image size that it was made for; drop --image-size")
    facts = _bundle_facts(file) if file.is_dir() else _checkpoint_facts(file, size)
    print_table(str(file), ("", ""), [[name, str(value)] for name, value in facts.items() if name != "cost"])
    if "cost" in facts:
        _print_cost(facts["cost"])
    if json:
        print_json(facts)
    return 0


def _checkpoint_facts(file: Path, size: Size | None) -> dict[str, Any]:
    from edgevit_deploy.model.checkpoint import load_network, read_checkpoint
    from edgevit_deploy.model.preprocessing import settle
    from edgevit_deploy.model.variants import PAPER_PARAMETERS_MILLION

    checkpoint = read_checkpoint(file)
    spec, notes = settle(checkpoint.spec, checkpoint.told, size, None)
    parameters = sum(parameter.numel() for parameter in load_network(checkpoint).parameters())
    with progress(str(file)) as step:
        step("counting multiply-accumulates")
        cost = cost_document(spec)
    return {
        "kind": "checkpoint",
        "variant": spec.variant,
        "dialect": checkpoint.dialect,
        "depths": spec.depths,
        "channels": spec.channels,
        "head_dim": spec.head_dim,
        "num_classes": spec.num_classes,
        "head_bias": spec.head_bias,
        "head": None if spec.head is None else msgspec.to_builtins(spec.head),
        "norm_eps": spec.norm_eps,
        "inner_norm_eps": spec.inner_norm_eps,
        "image_size": spec.image_size,
        "pictures": in_words(spec.preprocess),
        "preprocess": msgspec.to_builtins(spec.preprocess),
        "parameters": parameters,
        "paper_parameters_million": PAPER_PARAMETERS_MILLION.get(spec.variant),
        "labels": len(checkpoint.labels) if checkpoint.labels else None,
        "sha256": checkpoint.sha256,
        "notes": (*checkpoint.reading_notes, *checkpoint.open_notes, *notes),
        "cost": cost,
    }


def cost_document(spec: ModelSpec) -> dict[str, Any]:
    """Return what a network costs at its image size, stage by stage: by formula, counted, and with positions mixed otherwise."""
    from edgevit_deploy.measure.cost import MIXINGS, network_cost
    from edgevit_deploy.measure.profile import macs_by_stage

    cost, counted = network_cost(spec, spec.image_size), macs_by_stage(spec, spec.image_size)
    stages = [
        {
            "stage": number,
            "blocks": stage.blocks,
            **msgspec.to_builtins(stage.block),
            "macs": stage.macs,
            "counted_macs": counted[f"stage {number}"],
            "own_mixing_macs": stage.own_mixing_macs,
            "mixing_macs": {name: stage.mixing_macs(name) for name in MIXINGS},
            "embedding_macs": stage.embedding,
            "terms_of_a_block": msgspec.to_builtins((*stage.own_mixing, *stage.besides)),
        }
        for number, stage in enumerate(cost.stages, start=1)
    ]
    return {
        "image_size": spec.image_size,
        "block": msgspec.to_builtins(spec.block),
        "macs": cost.macs,
        "counted_macs": sum(counted.values()),
        "head_macs": cost.head,
        "stages": stages,
    }


def _print_cost(cost: dict[str, Any]) -> None:
    from edgevit_deploy.measure.cost import MIXINGS

    def millions(macs: int) -> str:
        return f"{macs / 1e6:.1f}"

    rows = [
        [
            str(stage["stage"]),
            str(stage["blocks"]),
            f"{stage['height']} x {stage['width']}",
            *(str(stage[name]) for name in ("channels", "kernel", "sample_rate")),
            *(millions(stage[name]) for name in ("macs", "counted_macs")),
            *map(millions, stage["mixing_macs"].values()),
        ]
        for stage in cost["stages"]
    ]
    sums = [millions(sum(stage["mixing_macs"][name] for stage in cost["stages"])) for name in MIXINGS]
    total = [*[""] * (len(COST_COLUMNS) - 3), millions(cost["macs"]), millions(cost["counted_macs"]), *sums]
    rows.append(["all, and head", *total])
    height, width = cost["image_size"]
    title = f"cost at {height} x {width}: by formula, as PyTorch counts it, and million MACs of mixing positions alone"
    print_table(title, (*COST_COLUMNS, *MIXINGS), rows)
    words = " ".join(BlockSpec(**cost["block"]).words())
    own = millions(sum(stage["own_mixing_macs"] for stage in cost["stages"]))
    say(
        (f"The network is an ablation ({words}), whose own mixing costs {own}. " if words else "LGL is what the network has. ")
        + "In place of LGL: LSA, locally grouped attention for LocalAgg; SRA, spatial-reduction attention for sparse attention "
        "and LocalProp, or for all three; MHSA, attention among all. --json has every term."
    )


def _bundle_facts(folder: Path) -> dict[str, Any]:
    from edgevit_deploy.bundle.folder import open_bundle
    from edgevit_deploy.commands.report.accuracy import accuracy_line
    from edgevit_deploy.measure.accuracy.record import read_record

    manifest = open_bundle(folder)
    evaluation = read_record(folder, manifest)
    document: dict[str, Any] = msgspec.to_builtins(manifest)
    parity = document.pop("parity")
    files = document.pop("files")
    worst = manifest.parity.worst
    return {
        "kind": "bundle",
        "pictures": in_words(manifest.preprocess),
        **document,
        "files": f"{len(files)} files, {sum(record['bytes'] for record in files)} bytes, all hashes match",
        "parity": f"{manifest.verdict} on {parity['runtime']}" + (f", {figure(worst.noise_ratio)} x noise" if worst else ""),
        "accuracy": "not recorded" if evaluation is None else accuracy_line(evaluation),
    }


def in_words(preprocess: Preprocess) -> str:
    """Say what becomes of a picture, in the order in which it does."""
    (height, width), (shown_height, shown_width) = preprocess.resize, preprocess.crop
    shape = {
        "cover": "so that they just cover it",
        "stretch": "whatever their shape",
        "letterbox": f"so that they just fit into it, in the middle of the colour {preprocess.padding()}",
        "pad": f"so that they just fit into it, at the top left of the colour {preprocess.padding()}",
    }[preprocess.fit]
    whole = preprocess.fit in PADDED or (preprocess.fit == "stretch" and preprocess.resize == preprocess.crop)
    cut = "nothing cut off" if whole else "the middle"
    low, high = preprocess.value_range
    return (
        f"resized to {height} x {width} ({preprocess.interpolation}), {shape}; {cut}, {shown_height} x {shown_width}, is used; "
        f"values from {low:g} to {high:g}, less {preprocess.mean}, divided by {preprocess.std} (R, G, B)"
    )
