"""`edgevit_deploy.evaluate_segmentation`: an evaluation of segmenters as a function of plain arguments."""

from pathlib import Path

from edgevit_deploy.host import THIS_HOST
from edgevit_deploy.measure.accuracy import Sample, Way
from edgevit_deploy.measure.accuracy.shards import Reference
from edgevit_deploy.measure.segmentation import evaluate_segmenters
from edgevit_deploy.measure.segmentation.result import SegmentationEvaluation
from edgevit_deploy.outside.files import StrPath, optional_path
from edgevit_deploy.workbench.results import Progress, silent


def evaluate_segmentation(
    *bundles: StrPath,
    data: StrPath,
    weights: StrPath | None = None,
    labels: StrPath | None = None,
    limit: int | None = None,
    seed: int = 0,
    reference: Reference = "fp32",
    batch: int | None = None,
    threads: int | None = None,
    strict: bool = False,
    progress: Progress = silent,
) -> SegmentationEvaluation:
    """Measure mIoU and pixel accuracy of bundles on pictures with masks, paired with the network they were made from.

    Args:
        bundles: folders written by a conversion with `task="segment"`.
        data: folder with `images` and, of the same names, `masks`.
        weights: the checkpoint that the bundles were made from: the network is evaluated too, and each bundle compared with it.
        labels: text file with one class name a line, in class order; the checkpoint's, else the bundles' when None.
        limit: how many pictures, drawn by `seed`; all when None.
        seed: of the sample.
        reference: arithmetic of the network.
        batch: pictures a run of the network, and of bundles whose batch is free; 1 and the smallest when None.
        threads: of each runtime and of PyTorch; their own when None.
        strict: refuse files that cannot be used.
        progress: shows each step; nothing by default.

    Raises:
        UsageError: refused arguments, pictures, masks or weights that are not the bundles'.
        BundleError: a damaged bundle.
    """
    with progress("evaluate") as step:
        return evaluate_segmenters(
            [Path(bundle) for bundle in bundles],
            THIS_HOST,
            Path(data),
            weights=optional_path(weights),
            labels=optional_path(labels),
            sample=Sample(limit=limit, seed=seed),
            way=Way(reference=reference, preprocess="bundle", batch=batch, threads=threads),
            strict=strict,
            step=step,
        )
