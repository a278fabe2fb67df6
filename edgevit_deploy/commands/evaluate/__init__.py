"""`convert.py evaluate BUNDLE... --data DIR`: how often bundles are right, and what each has lost against its network.

Of detectors that is average precision, of segmenters mIoU, of everything else top-1.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from edgevit_deploy.commands.console import print_json, progress, say
from edgevit_deploy.commands.evaluate.detection import detect, report_detection
from edgevit_deploy.commands.evaluate.files import DOCUMENT_NAME, PAGE_NAME, write_files
from edgevit_deploy.commands.evaluate.flags import refuse_checkpoint_preprocess, refuse_given
from edgevit_deploy.commands.evaluate.segmentation import document as document_of
from edgevit_deploy.commands.evaluate.segmentation import gives_pixels_classes, print_segmentation
from edgevit_deploy.commands.evaluate.view import document, print_evaluation
from edgevit_deploy.commands.fleet import FleetFlags
from edgevit_deploy.commands.pages import check_folder
from edgevit_deploy.errors import MissingError

if TYPE_CHECKING:
    from edgevit_deploy.measure.accuracy import RunShards, Shard, ShardLogits


def evaluate_bundles(
    *bundles: Annotated[Path, Parameter(required=True)],
    data: Path,
    weights: Path | None = None,
    labels: Path | None = None,
    limit: int | None = None,
    seed: int = 0,
    min_agreement: float | None = None,
    max_drop: float | None = None,
    output: Path | None = None,
    preprocess: Literal["checkpoint", "bundle"] | None = None,
    reference: Literal["fp32", "fp64"] = "fp32",
    batch: int | None = None,
    threads: int | None = None,
    workers: int = 0,
    record: Annotated[bool, Parameter(negative="")] = False,
    strict: Annotated[bool, Parameter(negative="")] = False,
    fleet_flags: Annotated[FleetFlags, Parameter(name="*")] = FleetFlags(),  # noqa: B008 - frozen
    json: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Measure top-1 and top-5 of bundles on labelled pictures, paired with the network they were made from.

    Bundles of --task segment are measured in mIoU and pixel accuracy, on a folder with images/ and masks/; those of --task detect
    in average precision, on a folder in COCO's layout.

    Args:
        bundles: Folders written by a conversion. Each is re-hashed first.
        data: Folder of labelled pictures: one subfolder a class, or pictures beside labels.csv (file,label). For bundles of
            --task segment: images/NAME.jpg and masks/NAME.png with the class of each pixel, 255 for none. For bundles of
            --task detect: a folder in COCO's layout (annotations.json beside images), or its file of annotations.
        weights: The checkpoint that the bundles were made from: the network is evaluated too, and each bundle compared with it.
        labels: Text file with one class name a line, in class order, by which the folders are named. [default: the checkpoint's,
            else the bundles']
        limit: How many pictures, drawn by --seed with each class's share. [default: all]
        seed: Seed of the sample.
        min_agreement: Exit code 1 unless the lower end of the 95 % interval of the agreement with the network reaches this share.
        max_drop: Exit code 1 unless the upper end of the 95 % interval of the loss of top-1 (of detectors, of average precision)
            is at most this share.
        output: Folder for evaluation.json, evaluation.html, and finished shards: the same command goes on where it was. Of
            detectors for evaluation.json alone.
        preprocess: How the network's pictures are prepared: as its checkpoint says (a bundle's way where it does not), or as
            each bundle prepares its own, which is always done for --task segment and detect. [default: checkpoint]
        reference: Arithmetic of the network.
        batch: Pictures a run of the network and of bundles whose batch is free. [default: 32 (of detectors 8, of
            segmenters 1) and the smallest]
        threads: Threads of each runtime and of PyTorch. [default: their own]
        workers: Processes that decode pictures; 0 decodes in this one.
        record: Put the result into each bundle, as evaluation.json; `report` shows it.
        strict: Exit code 2 for files that are no good pictures; without it they are counted and named.
        fleet_flags: Which machines; the folder of --data must be the same, under the same path, on each.
        json: Print one JSON document on stdout and nothing else there.
    """
    from edgevit_deploy import api
    from edgevit_deploy.measure.accuracy import check_output
    from edgevit_deploy.measure.accuracy.record import check_recordable, record_in_bundles

    fleet_flags.check()
    check_folder(output)
    if gives_pixels_classes(bundles):
        refuse_given(
            {
                "min_agreement": min_agreement is not None,
                "max_drop": max_drop is not None,
                "output": output is not None,
                "workers": workers != 0,
                "record": record,
                "on": fleet_flags.on is not None,
            },
            "is for bundles that classify pictures, and these give each pixel a class",
        )
        refuse_checkpoint_preprocess(preprocess)
        segmentation = api.evaluate_segmentation(
            *bundles,
            data=data,
            weights=weights,
            labels=labels,
            limit=limit,
            seed=seed,
            reference=reference,
            batch=batch,
            threads=threads,
            strict=strict,
            progress=progress,
        )
        print_segmentation(segmentation)
        if json:
            print_json(document_of(segmentation))
        return _exit_code([row.status for row in segmentation.rows])
    if detect(bundles):
        refuse_given(
            {"min_agreement": min_agreement is not None, "record": record, "on": fleet_flags.on is not None},
            "is not for detectors",
        )
        refuse_checkpoint_preprocess(preprocess)
        check_output(output, [*bundles, data])
        found = api.evaluate_detection(
            *bundles,
            data=data,
            weights=weights,
            labels=labels,
            limit=limit,
            seed=seed,
            max_drop=max_drop,
            reference=reference,
            batch=batch,
            threads=threads,
            workers=workers,
            strict=strict,
            progress=progress,
        )
        return report_detection(found, output, json=json)
    if record:
        check_recordable(bundles)
    evaluation = api.evaluate(
        *bundles,
        data=data,
        weights=weights,
        labels=labels,
        limit=limit,
        seed=seed,
        output=output,
        min_agreement=min_agreement,
        max_drop=max_drop,
        preprocess=preprocess or "checkpoint",
        reference=reference,
        batch=batch,
        threads=threads,
        workers=workers,
        strict=strict,
        run_shards=_runner(fleet_flags),
        progress=progress,
    )
    print_evaluation(evaluation)
    if output is not None:
        write_files(evaluation, data, output)
        say(f"saved: {output}: {PAGE_NAME}, {DOCUMENT_NAME}")
    if json:
        print_json(document(evaluation))
    if record:  # last, so that a place that can no longer be written costs no result
        with progress("evaluate") as step:
            record_in_bundles(evaluation, data, step)
    if not all(gate.ok for row in evaluation.rows for gate in row.gates):
        return 1
    return _exit_code([row.status for row in evaluation.rows]) or (0 if evaluation.ok else 1)


def _exit_code(statuses: Sequence[str]) -> int:
    """Return 1 where something failed, what stands for missing where something did not run, else 0."""
    if "failed" in statuses:
        return 1
    return MissingError.exit_code if "not run" in statuses else 0


def _runner(flags: FleetFlags) -> "RunShards":
    """Return what runs shards: this process, or the workers of the scheduler that `--on` names, which is asked for no sooner."""
    from edgevit_deploy.measure.accuracy import run_in_turn

    def run_elsewhere(shards: "Sequence[Shard]") -> "Iterator[ShardLogits]":
        from edgevit_deploy.fleet.evaluate import shards_on

        if shards:
            with flags.cluster() as cluster:
                yield from shards_on(cluster, flags.wanted())(shards)

    return run_in_turn if flags.on is None else run_elsewhere
