"""`convert.py energy TRACE`: millijoules of an inference, from the trace of a power meter."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from edgevit_deploy.commands.console import print_json, progress, say
from edgevit_deploy.commands.energy.plot import draw
from edgevit_deploy.commands.energy.view import Ran, Top1, document, lines, print_energy, summary, table
from edgevit_deploy.commands.pages import markdown_text, write_together
from edgevit_deploy.errors import UsageError
from edgevit_deploy.outside.text import json_bytes
from edgevit_deploy.spec import PROGRAM, task_of

if TYPE_CHECKING:
    from edgevit_deploy.measure.energy.columns import Columns
    from edgevit_deploy.measure.energy.result import Reading

PAGE_NAME, DOCUMENT_NAME, SVG_NAME, PNG_NAME = "energy.md", "energy.json", "energy.svg", "energy.png"


@dataclass(frozen=True, kw_only=True)
class ColumnFlags:
    """Which columns of the file hold what, by name or number from 1, with a unit after a colon if the name does not say it.

    Attributes:
        time: When each sample was taken: COLUMN:s, ms, us or ns.
        power: COLUMN:W, mW or uW.
        current: COLUMN:A, mA or uA; with --voltage or --volts.
        voltage: COLUMN:V, mV or uV.
        counter: Energy since some time: COLUMN:J, mJ, uJ, uWs, Wh or mWh.
        volts: The voltage, where no column has it.
        rate: Samples a second, where no column has times.
        wrap: The joules at which the counter begins anew.
        rails: Perfetto's rails to add up (comma separated); or all.
    """

    time: str | None = None
    power: str | None = None
    current: str | None = None
    voltage: str | None = None
    counter: str | None = None
    volts: float | None = None
    rate: float | None = None
    wrap: float | None = None
    rails: Annotated[tuple[str, ...], Parameter(consume_multiple=True, negative="")] = ()

    def columns(self) -> "Columns":
        """Return these flags as the reader's own type."""
        from edgevit_deploy.measure.energy.columns import Columns

        return Columns(
            time=self.time,
            power=self.power,
            current=self.current,
            voltage=self.voltage,
            counter=self.counter,
            volts=self.volts,
            rate=self.rate,
            wrap=self.wrap,
            rails=self.rails,
        )


def energy(
    trace: Path,
    *,
    format: Literal["auto", "monsoon", "monsoon-api", "otii", "joulescope", "perfetto", "columns"] = "auto",  # noqa: A002
    runs: int = 50,
    column_flags: Annotated[ColumnFlags, Parameter(name="*")] = ColumnFlags(),
    start: float | None = None,
    end: float | None = None,
    pause_ms: float = 20.0,
    max_error: float = 0.01,
    uneven: Annotated[bool, Parameter(negative="")] = False,
    per_region: int = 1,
    accuracy: float | None = None,
    bundle: Path | None = None,
    name: str | None = None,
    device: str = "",
    output: Path | None = None,
    json: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Say what one inference takes, from a power trace of many with pauses between them (docs/platforms/energy.md).

    The background is subtracted, regions of higher power are found, and each must be one inference: another number of them than
    --runs is refused, and so is a trace whose mean may be wrong by more than --max-error.

    Args:
        trace: File of a power meter.
        format: What wrote it; auto finds out. monsoon: PowerTool's CSV; monsoon-api: of its Python API; otii: CSV with units in
            the names of its columns; joulescope: CSV without a header (give --rate); perfetto: power rails, a .pftrace or their
            table as CSV; columns: as the flags below say.
        runs: How many inferences were run.
        column_flags: What the columns are.
        start: Leave out what is before, in seconds of the file's own clock.
        end: Leave out what is after.
        pause_ms: Power that falls to the background for less than this is still the same inference.
        max_error: By how much the mean may be wrong, as a share of it, by what the trace itself shows.
        uneven: Let inferences differ by any factor; without it one that the scatter of the others does not explain is refused.
        per_region: Inferences that each region holds, where a program cannot pause between them; energies are divided by it.
        accuracy: Top-1 in percent, for top-1 per millijoule.
        bundle: The bundle that was run: its name, and its accuracy if `evaluate --record` has put it there.
        name: What the record calls it. [default: the bundle's folder, else the trace's]
        device: What ran it, for the record: phone, system, cores.
        output: Folder for energy.json, energy.md and the picture, energy.svg and energy.png; the picture is written also where
            the trace is refused.
        json: Print one JSON document on stdout and nothing else there.
    """
    from edgevit_deploy import api
    from edgevit_deploy.commands.bench.files import check_folder

    if output is not None:
        check_folder(output, [] if bundle is None else [bundle])
    identity, top1 = _what_ran(bundle, accuracy)
    called = name or (bundle.name if bundle is not None else trace.stem)
    reading = api.energy(
        trace,
        format=format,
        columns=column_flags.columns(),
        runs=runs,
        start=start,
        end=end,
        pause_ms=pause_ms,
        max_error=max_error,
        uneven=uneven,
        per_region=per_region,
        progress=progress,
    )
    if reading.energy is None:
        raise UsageError(f"{trace}: {reading.refusal}{_picture_of_refusal(reading, called, output)}")
    print_energy(reading, reading.energy, called, top1)
    ran = Ran(name=called, bundle=identity, device=device)
    made = document(reading, reading.energy, ran, top1)
    if output is not None:
        canvas = draw(reading, called, [summary(reading.energy)])
        page = [f"# Energy of {markdown_text(called)}\n", f"![power and regions]({SVG_NAME})\n"]
        page += [table(reading.energy, called, top1).markdown()]
        page += [f"- measured on {markdown_text(device)}"] if device else []
        page += [f"- {markdown_text(line)}" for line in lines(reading, reading.energy, top1)]
        contents = {DOCUMENT_NAME: json_bytes(made).decode(), PAGE_NAME: "\n".join([*page, ""])}
        write_together(output, {**contents, SVG_NAME: canvas.svg(), PNG_NAME: canvas.png()})
        say(f"saved: {output}: {PAGE_NAME}, {DOCUMENT_NAME}, {SVG_NAME}, {PNG_NAME}")
    if json:
        print_json(made)
    return 0


def _picture_of_refusal(reading: "Reading", called: str, output: Path | None) -> str:
    """Write the picture of a refused trace in place of all that an earlier one has left, and say where it is."""
    if output is None:
        return "; --output DIR draws what was found"
    canvas = draw(reading, called, [f"refused: {reading.refusal}"])
    for name in (DOCUMENT_NAME, PAGE_NAME):  # of an earlier trace: beside this picture they would pass for its figures
        try:
            (output / name).unlink(missing_ok=True)
        except OSError as error:
            raise UsageError(
                f"--output {output}: {name} of an earlier run cannot be removed ({error.strerror}); give another place"
            ) from error
    write_together(output, {SVG_NAME: canvas.svg(), PNG_NAME: canvas.png()})
    return f"; what was found is drawn in {output / PNG_NAME}"


def _what_ran(bundle: Path | None, accuracy: float | None) -> tuple[str, Top1 | None]:
    """Return the identity of the bundle that was run, and how often it is right, as far as they are known."""
    if accuracy is not None and not 0 < accuracy <= 100:
        raise UsageError(f"--accuracy {accuracy:g}: give top-1 in percent, above 0 and up to 100")
    given = None if accuracy is None else Top1(share=accuracy / 100, interval=None, source="--accuracy")
    if bundle is None:
        return "", given
    from edgevit_deploy.bundle.folder import open_bundle
    from edgevit_deploy.measure.accuracy.identity import identity_of
    from edgevit_deploy.measure.accuracy.record import read_record

    manifest = open_bundle(bundle)
    record = read_record(bundle, manifest)
    if record is None:
        if given is None and task_of(manifest.conversion.returns) == "classify":
            say(f"{bundle} has no accuracy in it; `{PROGRAM} evaluate {bundle} --data DIR --record` puts it there")
        return identity_of(manifest), given
    if given is not None:
        raise UsageError(f"--accuracy: {bundle} has its own, as evaluated on {record.data.name}; drop the flag")
    top1 = record.accuracy.top1
    return identity_of(manifest), Top1(
        share=top1.value, interval=top1.interval, source=f"{top1.of} pictures of {record.data.name}"
    )
