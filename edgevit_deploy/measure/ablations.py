"""The paper's ablations as one thing to measure: what each replaces and costs, and files of all of them beside a bundle's.

Every ablation is the small published network with other blocks, as deep as costs the same (`model.variants`). What is timed of
them has random weights, on which no latency depends.
"""

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from edgevit_deploy.bundle.manifest import Manifest
from edgevit_deploy.deploy.form import Form
from edgevit_deploy.errors import UsageError
from edgevit_deploy.exporter import Exporter
from edgevit_deploy.host import ThisHost
from edgevit_deploy.measure.baselines import Baseline, Rejected
from edgevit_deploy.measure.profile import macs_by_stage
from edgevit_deploy.model.loading import DEFAULT_SEED, ModelOrigin, load_model
from edgevit_deploy.model.variants import ABLATIONS, BASELINE
from edgevit_deploy.spec import PUBLISHED_BLOCK, QUANTISED, BlockSpec, ModelSpec, task_of
from edgevit_deploy.verification.replan import plan_of
from edgevit_deploy.workbench import Refused, Step, Workbench

UNABLATED = "nothing"
"""What is replaced in the network that the others are compared with."""

ABBREVIATIONS = (
    "LA is LocalAgg, GSA GlobalSparseAttn, LP LocalProp, LSA locally-grouped self-attention (Twins), SRA spatial-reduction "
    "attention (PVT)"
)
"""What `replaced` is written in."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkFacts:
    """What tells one ablation from another before anything is measured.

    Attributes:
        variant: its registered name.
        replaced: what it has in place of what, in the words of `ABBREVIATIONS`.
        depths: blocks of each stage.
        macs: multiply-accumulates of one image, as PyTorch counts them on the network's own modules; the paper calls them FLOPs.
        parameters: of the network.
    """

    variant: str
    replaced: str
    depths: tuple[int, ...]
    macs: int
    parameters: int


def facts_of(spec: ModelSpec, *, classifies: bool = True) -> NetworkFacts:
    """Count a network at its own image size and number of classes, or its four stages alone; its weights are not needed."""
    import torch

    from edgevit_deploy.model.edgevit import EdgeViT

    with torch.device("meta"):
        named = dict(EdgeViT(spec).named_parameters())
    counted = [tensor for name, tensor in named.items() if classifies or not name.startswith(("norm.", "head."))]
    macs = macs_by_stage(spec, spec.image_size)
    return NetworkFacts(
        variant=spec.variant,
        replaced=what_is_replaced(spec.block),
        depths=spec.depths,
        macs=sum(count for stage, count in macs.items() if classifies or stage != "head"),
        parameters=sum(tensor.numel() for tensor in counted),
    )


def what_is_replaced(block: BlockSpec) -> str:
    """Say what a block has that the published one has not, in the words of `ABBREVIATIONS`."""
    return ", ".join(_replacements(block)) or UNABLATED


def _replacements(block: BlockSpec) -> Iterator[str]:
    reduced = block.attention == "reduced"
    if block.local == "none":
        yield "w/o LA: SRA alone" if reduced else "w/o LA"
    elif block.local == "grouped":
        yield "LSA for LA"
    if reduced:
        if block.local != "none":
            yield "w/o LP: SRA for GSA and LP"
        return
    if block.sampler != PUBLISHED_BLOCK.sampler:
        yield f"{block.sampler} sampler"
    if block.spread != PUBLISHED_BLOCK.spread:
        yield f"{block.spread} LP"


def check_unablated(bundle: str, manifest: Manifest) -> None:
    """Refuse a bundle beside which the ablations say nothing.

    Args:
        bundle: what to call it.
        manifest: of the bundle.

    Raises:
        UsageError: it is of another network than the ablations are of, or rounded to integers.
    """
    record = manifest.model
    if (record.depths, record.channels, record.block) != (BASELINE.depths, BASELINE.channels, BASELINE.block) or record.head:
        raise UsageError(
            f"--against ablations: {bundle} is {record.variant}{' with a head for maps' if record.head else ''}, and the "
            f"ablations are of the classifier {BASELINE.variant}; give a bundle of that"
        )
    if manifest.precision in QUANTISED:
        raise UsageError(
            f"--against ablations: {bundle} is {manifest.precision}, and the ablations have no ranges to be rounded by; give a "
            "bundle in floating point"
        )


def facts_beside(manifest: Manifest) -> NetworkFacts:
    """Return the facts of a bundle's own network, one that `check_unablated` takes."""
    record = manifest.model
    spec = replace(BASELINE, num_classes=record.num_classes, head_bias=record.head_bias)
    return facts_of(spec.with_image_size(record.image_size), classifies=_classifies(manifest))


def _classifies(manifest: Manifest) -> bool:
    return task_of(manifest.conversion.returns) == "classify"


def ablations(
    manifest: Manifest, batch: int, host: ThisHost, scratch: Path, step: Step
) -> list[tuple[Baseline | Rejected, NetworkFacts]]:
    """Convert every ablation as a bundle was converted, and judge each file by the gate of any conversion.

    Args:
        manifest: of the bundle: its target, precision, graph, form, sizes and classes are theirs.
        batch: images a run.
        host: finds exporters and runtimes.
        scratch: space for the files; needed as long as they run.
        step: told what is being done.

    Returns:
        For each a file, or why there is none, by the name of the variant; and its facts.

    Raises:
        MissingError: the target's converter is not installed.
    """
    made = []
    for name in ABLATIONS:
        step(f"converting {name}")
        made.append(_ablation(name, manifest, batch, host, scratch / name, step))
    return made


def _ablation(
    name: str, manifest: Manifest, batch: int, host: ThisHost, scratch: Path, step: Step
) -> tuple[Baseline | Rejected, NetworkFacts]:
    origin = replace(ModelOrigin.of(manifest.model, manifest.preprocess, seed=DEFAULT_SEED), model=name)
    model = load_model(origin)
    facts = facts_of(model.spec, classifies=_classifies(manifest))
    exporter = host.require_exporter(manifest.target)
    try:
        plan = plan_of(manifest, model, exporter, batch)
        plan = replace(plan, form=_form_for(model.spec, plan.form, exporter))
        result = Workbench(model, host, scratch, step).attempt(plan)
    except UsageError as error:  # a rewriting that the bundle has, and this network cannot have
        return Rejected(label=name, reason=str(error)), facts
    if isinstance(result, Refused):
        return Rejected(label=name, reason=result.reason), facts
    return Baseline(label=name, given=f"{plan.graph} graph", artifact=result.artifact, noise_ratio=result.noise_ratio), facts


def _form_for(spec: ModelSpec, form: Form, exporter: Exporter[Any]) -> Form:
    """Return a bundle's form, but for what the target itself does otherwise for an ablation than for the published network."""
    own, other = exporter.form_of(BASELINE), exporter.form_of(spec)
    for part in fields(Form):
        if getattr(own, part.name) != getattr(other, part.name):
            form = form.change(part.name, getattr(other, part.name))
    return form
