"""`edgevit_deploy.evaluate`: an evaluation as a function of plain arguments."""

from pathlib import Path

from edgevit_deploy.host import THIS_HOST
from edgevit_deploy.measure.accuracy import Evaluation, Limits, RunShards, Sample, Way, run_in_turn
from edgevit_deploy.measure.accuracy import evaluate as evaluate_on
from edgevit_deploy.measure.accuracy.contestants import PreprocessOf
from edgevit_deploy.measure.accuracy.record import check_recordable, record_in_bundles
from edgevit_deploy.measure.accuracy.shards import Reference
from edgevit_deploy.outside.files import StrPath, optional_path
from edgevit_deploy.workbench.results import Progress, silent


def evaluate(
    *bundles: StrPath,
    data: StrPath,
    weights: StrPath | None = None,
    labels: StrPath | None = None,
    limit: int | None = None,
    seed: int = 0,
    output: StrPath | None = None,
    min_agreement: float | None = None,
    max_drop: float | None = None,
    preprocess: PreprocessOf = "checkpoint",
    reference: Reference = "fp32",
    batch: int | None = None,
    threads: int | None = None,
    workers: int = 0,
    record: bool = False,
    strict: bool = False,
    run_shards: RunShards = run_in_turn,
    progress: Progress = silent,
) -> Evaluation:
    """Find out how often bundles are right on labelled pictures and, with the weights, how they differ from their network.

    Args:
        bundles: folders written by a conversion.
        data: folder of labelled pictures: one subfolder a class, or pictures beside a table of labels.
        weights: the checkpoint that the bundles were made from: the network is evaluated too, and each bundle compared with it.
        labels: text file with one class name a line, in class order, by which the folders are named.
        limit: how many pictures, drawn by `seed` with each class's share; all when None.
        seed: of the sample.
        output: folder that keeps finished shards, which are not computed again.
        min_agreement: what the lower end of the 95 % interval of the agreement must reach.
        max_drop: what the upper end of the 95 % interval of the loss of top-1 must not exceed.
        preprocess: of the network's pictures: as its checkpoint says (a bundle's way where it does not), or as each
            bundle prepares them.
        reference: arithmetic of the network.
        batch: pictures a run of the network, and of bundles whose batch is free.
        threads: of each runtime and of PyTorch; their own when None.
        workers: processes that decode; 0 decodes in this one.
        record: put the result into each bundle that ran; whether each can be written is tried first.
        strict: refuse files that are no good pictures.
        run_shards: runs the shards; in this process, one after the other, by default.
        progress: shows each step; nothing by default.

    Raises:
        UsageError: refused arguments, pictures or weights that are not the bundles'.
        BundleError: a damaged bundle.
    """
    if record:
        check_recordable(map(Path, bundles))
    with progress("evaluate") as step:
        evaluation = evaluate_on(
            [Path(bundle) for bundle in bundles],
            THIS_HOST,
            Path(data),
            weights=optional_path(weights),
            labels=optional_path(labels),
            sample=Sample(limit=limit, seed=seed),
            way=Way(reference=reference, preprocess=preprocess, batch=batch, threads=threads, workers=workers),
            limits=Limits(min_agreement=min_agreement, max_drop=max_drop),
            output=optional_path(output),
            strict=strict,
            run_shards=run_shards,
            step=step,
        )
        if record:
            record_in_bundles(evaluation, Path(data), step)
        return evaluation
