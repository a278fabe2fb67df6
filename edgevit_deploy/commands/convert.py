"""`convert.py TARGET` and `convert.py all`: conversions, judged."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from edgevit_deploy.commands.console import print_json, progress, say
from edgevit_deploy.commands.flags import FileFlags, ModelFlags, NetworkFlags, PreprocessFlags, RoundingFlags
from edgevit_deploy.commands.fleet import FleetFlags
from edgevit_deploy.commands.networks import convert_networks, networks_of, titles_of
from edgevit_deploy.commands.pictures import photograph_notes, print_top5, say_passed_over
from edgevit_deploy.commands.rows import Row, print_rows, row_of, row_of_conversion
from edgevit_deploy.errors import MissingError, UsageError
from edgevit_deploy.host import check_target
from edgevit_deploy.registry import install_command
from edgevit_deploy.spec import PROGRAM, Precision

if TYPE_CHECKING:
    from edgevit_deploy.data.photographs import PictureFolder
    from edgevit_deploy.spec import Preprocess


def convert_one(
    target: str,
    model_flags: ModelFlags,
    preprocess_flags: PreprocessFlags,
    file_flags: FileFlags,
    rounding_flags: RoundingFlags,
    precision: Precision | None,
    options: Any,
) -> int:
    """Convert to one target, in one precision; the command line's `convert.py TARGET`."""
    from edgevit_deploy import api

    conversion = api.convert(
        target,
        model=model_flags.model,
        weights=model_flags.weights,
        num_classes=model_flags.num_classes,
        labels=model_flags.labels,
        seed=model_flags.seed,
        preprocess=preprocess_flags.choice(),
        image_size=file_flags.image_size,
        batch=file_flags.batch,
        precision=precision,
        graph=file_flags.graph,
        form=file_flags.form,
        input=file_flags.input,
        task=file_flags.task,
        options=options,
        calibration=rounding_flags.calibration_choice(),
        judge=rounding_flags.judge_choice(),
        images=file_flags.images,
        strict=file_flags.strict,
        output=file_flags.output,
        progress=progress,
    )
    row = row_of_conversion(conversion)
    document = _report([row], conversion.model_notes, conversion.photographs, conversion.manifest.preprocess)
    if file_flags.json:
        print_json(document)
    return 1 if row.status == "failed" else 0


def convert_all(
    *,
    network_flags: Annotated[NetworkFlags, Parameter(name="*")] = NetworkFlags(),  # noqa: B008 - frozen
    weights: Annotated[tuple[Path, ...], Parameter(consume_multiple=True, negative="")] = (),
    preprocess_flags: Annotated[PreprocessFlags, Parameter(name="*")] = PreprocessFlags(),  # noqa: B008 - frozen
    file_flags: Annotated[FileFlags, Parameter(name="*")] = FileFlags(),  # noqa: B008 - frozen
    rounding_flags: Annotated[RoundingFlags, Parameter(name="*")] = RoundingFlags(),  # noqa: B008 - frozen
    fleet_flags: Annotated[FleetFlags, Parameter(name="*")] = FleetFlags(),  # noqa: B008 - frozen
    precision: Precision | None = None,
    require: Annotated[tuple[str, ...], Parameter(consume_multiple=True)] = (),
) -> int:
    """Convert to every target that can run here and print what was done, skipped (and why) and failed.

    Args:
        network_flags: Which network.
        weights: Checkpoint (.pth, .pt, .bin, .safetensors); without it the weights are random. Of several, each has a folder of
            its own: OUTPUT/NAME/TARGET-PRECISION, where NAME is the file's without its suffix.
        preprocess_flags: How a picture becomes an input.
        file_flags: Which files.
        rounding_flags: How integers are rounded and judged.
        fleet_flags: Which machines.
        precision: Only this precision. [default: every precision of each target; quantised ones where there is a calibration]
        require: Targets that must not be skipped (comma separated); a skip is then exit code 3.
    """
    if file_flags.form is not None:
        raise UsageError(f"a form is for one target; use `{PROGRAM} TARGET --form {file_flags.form}`, or drop --form")
    required = [check_target("--require", name) for item in require for name in item.split(",") if name]
    fleet_flags.check()
    networks = networks_of(network_flags, weights, preprocess_flags.choice(), file_flags.output)
    everything = convert_networks(networks, file_flags.request(precision), file_flags, rounding_flags, fleet_flags)
    rows: list[Row] = []
    documents = []
    for title, attempts in zip(titles_of(networks), everything, strict=True):
        own = [row_of(attempt) for attempt in attempts.attempts]
        made = next((attempt.conversion for attempt in attempts.attempts if attempt.conversion), None)
        preprocess = made.manifest.preprocess if made else None
        documents.append(_report(own, attempts.model_notes, attempts.photographs, preprocess, title))
        rows += own
    if file_flags.json:
        several = {"networks": [{"weights": str(path), **each} for path, each in zip(weights, documents, strict=False)]}
        print_json(documents[0] if len(documents) == 1 else several)
    if any(row.status == "failed" for row in rows):
        return 1
    skipped = {row.target: row.detail for row in rows if row.status == "skipped" and row.target in required}
    if skipped:
        raise MissingError("--require: skipped: " + "; ".join(f"{target}: {reason}" for target, reason in skipped.items()))
    return 0


def _skipped(rows: Sequence[Row]) -> list[str]:
    """Say in one line which targets are not installed here, and in a line each why the others cannot do what was asked."""
    missing = {row.target: row.extra for row in rows if row.status == "skipped" and row.extra}
    refused = {(row.target, row.detail): None for row in rows if row.status == "skipped" and not row.extra}
    lines = [f"{target}, skipped: {reason}" for target, reason in refused]
    if missing:
        extras = ",".join(dict.fromkeys(missing.values()))
        lines.append(f"not installed: {', '.join(missing)}. {install_command(extras)} adds them; `{PROGRAM} doctor` says more")
    return lines


def _report(
    rows: Sequence[Row],
    model_notes: Sequence[str],
    photographs: "PictureFolder",
    preprocess: "Preprocess | None",
    title: str = "edgevit-deploy",
) -> dict[str, object]:
    """Print what became of one network, and return it as a JSON document."""
    notes = (*model_notes, *photograph_notes(photographs, preprocess))
    for note in notes:
        say(f"note: {note}")
    say_passed_over(photographs.passed_over)
    tried = [row for row in rows if row.status != "skipped"]
    left_out = print_rows(tried, title) if tried else ()
    for row in tried:
        if row.detail:
            say(f"{row.target} {row.precision}, {row.short_status}: {row.detail}")
    for line in _skipped(rows):
        say(line)
    if "bundle" in left_out:
        say(f"bundles: {', '.join(sorted({str(row.bundle.parent) for row in tried if row.bundle}))}/TARGET-PRECISION")
    bundles = [row.bundle for row in rows if row.bundle is not None and row.status != "failed"]
    seen = print_top5(bundles, photographs) if photographs.names else None
    top5 = {bundle: result.top5 for bundle, result in seen.items()} if seen is not None else None
    right = {bundle: result.right for bundle, result in seen.items()} if seen is not None else None
    return {"rows": rows, "notes": notes, "top5": top5, "right": right, "passed_over": photographs.passed_over}
