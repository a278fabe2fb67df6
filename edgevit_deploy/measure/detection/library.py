"""`edgevit_deploy.evaluate_detection`: an evaluation of detectors as a function of plain arguments."""

from pathlib import Path

from edgevit_deploy.host import THIS_HOST
from edgevit_deploy.measure.accuracy import Sample, Way
from edgevit_deploy.measure.accuracy.shards import Reference
from edgevit_deploy.measure.detection.evaluate import evaluate_detectors
from edgevit_deploy.measure.detection.result import DetectionEvaluation
from edgevit_deploy.outside.files import StrPath, optional_path
from edgevit_deploy.workbench.results import Progress, silent


def evaluate_detection(
    *bundles: StrPath,
    data: StrPath,
    weights: StrPath | None = None,
    labels: StrPath | None = None,
    limit: int | None = None,
    seed: int = 0,
    max_drop: float | None = None,
    reference: Reference = "fp32",
    batch: int | None = None,
    threads: int | None = None,
    workers: int = 0,
    strict: bool = False,
    progress: Progress = silent,
) -> DetectionEvaluation:
    """Find out how well bundles of detectors find what is in pictures and, with the weights, how much less than their network.

    Args:
        bundles: folders written by a conversion with the task `detect`.
        data: a folder in COCO's layout, or its file of annotations.
        weights: the checkpoint that the bundles were made from: the network is evaluated too, and each bundle compared with it.
        labels: text file with one class name a line, in class order, by which the categories are named.
        limit: how many pictures, drawn by `seed`; all when None.
        seed: of the sample.
        max_drop: what the upper end of the 95 % interval of the loss of average precision must not exceed.
        reference: arithmetic of the network.
        batch: pictures a run of the network, and of bundles whose batch is free.
        threads: of each runtime and of PyTorch; their own when None.
        workers: processes that decode; 0 decodes in this one.
        strict: refuse pictures that cannot be used.
        progress: shows each step; nothing by default.

    Raises:
        UsageError: refused arguments, annotations or weights that are not the bundles', or no picture that can be used.
        MissingError: pycocotools is not installed.
        BundleError: a damaged bundle.
    """
    with progress("evaluate") as step:
        return evaluate_detectors(
            [Path(bundle) for bundle in bundles],
            THIS_HOST,
            Path(data),
            weights=optional_path(weights),
            labels=optional_path(labels),
            sample=Sample(limit=limit, seed=seed),
            way=Way(reference=reference, batch=batch, threads=threads, workers=workers),
            max_drop=max_drop,
            strict=strict,
            step=step,
        )
