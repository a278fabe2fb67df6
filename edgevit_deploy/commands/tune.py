"""`convert.py tune TARGET`: which form of the deploy graph, and which rounding of it, this host's runtime runs fastest."""

import math
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter
from rich.text import Text

from edgevit_deploy.commands.bench.contests import VERDICT_STYLES
from edgevit_deploy.commands.console import print_json, print_table, progress, say
from edgevit_deploy.commands.flags import ModelFlags, RangeFlags, typed
from edgevit_deploy.commands.pages import check_folder, write_together
from edgevit_deploy.deploy.form import ROUNDING, ChosenForm, Form, as_toml
from edgevit_deploy.errors import UsageError
from edgevit_deploy.host import THIS_HOST
from edgevit_deploy.measure.machine import read_machine
from edgevit_deploy.outside.text import json_bytes
from edgevit_deploy.request import FileRequest
from edgevit_deploy.spec import PROGRAM, QUANTISED, Precision

if TYPE_CHECKING:
    from edgevit_deploy.measure.machine import Machine
    from edgevit_deploy.measure.tune import Trial, Tuner, Tuning

COLUMNS = ("pass", "part", "choice", "instead of", "x noise", "x best so far", "95 %", "A/A", "verdict")
ROUNDED_COLUMNS = (*COLUMNS[:4], "x emulation", "SQNR, dB", *COLUMNS[5:])


def tune(
    target: str,
    *,
    model_flags: Annotated[ModelFlags, Parameter(name="*")] = ModelFlags(),  # noqa: B008 - frozen
    image_size: str | None = None,
    precision: Precision | None = None,
    range_flags: Annotated[RangeFlags, Parameter(name="*")] = RangeFlags(),  # noqa: B008 - frozen
    max_loss_db: float | None = None,
    parts: Annotated[tuple[str, ...], Parameter(consume_multiple=True, negative="")] = (),
    threads: int = 1,
    runs: int = 200,
    order_seed: int = 0,
    output: Path = Path("build/tune"),
    update: Annotated[bool, Parameter(negative="", show=False)] = False,
    json: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Try every exact form of the deploy graph on one target's runtime, reject what fails parity, print and save the fastest.

    In eight bits also what is rounded; a choice then wins only where it loses little: its signal to quantisation-noise ratio
    (SQNR) against float64 may be --max-loss-db below the start's.

    Args:
        target: Whose runtime to tune for.
        model_flags: Which network.
        image_size: Side or HEIGHTxWIDTH. [default: the checkpoint's, else 224]
        precision: Of the files. [default: the target's first]
        range_flags: Of a quantised precision.
        max_loss_db: How much lower than the start's the SQNR of a choice may be, in dB; quantised precisions only. [default: 0.5]
        parts: Try these alone (comma separated): parts of a form, and in eight bits of what is rounded. [default: all]
        threads: Threads of the runtime.
        runs: Timed runs of each form in each comparison.
        order_seed: Seed of the order in which forms are timed.
        output: Folder for TARGET.toml (the winner, for `convert.py TARGET --form`) and TARGET.json (every trial); of a quantised
            precision they are TARGET-PRECISION.toml and .json.
        update: Gone.
        json: Print one JSON document on stdout and nothing else there.
    """
    from edgevit_deploy.every_target import check_rounding
    from edgevit_deploy.measure.bench import read_timing
    from edgevit_deploy.measure.tune import MAX_LOSS_DB, Tuner, measured
    from edgevit_deploy.model.loading import load_model
    from edgevit_deploy.workbench import open_workbench

    if update:
        raise UsageError(
            f"--update is gone, since nothing is written into the program itself any more; drop it, and convert by the winner "
            f"with `{PROGRAM} {target} --form {output / target}.toml`"
        )
    check_folder(output)
    timing = read_timing(threads=threads, runs=runs, regime="steady", protocol="interleaved", seed=order_seed)
    exporter = THIS_HOST.require_exporter(target)
    if max_loss_db is not None and (precision not in QUANTISED or not 0 <= max_loss_db < math.inf):
        raise UsageError(
            f"--max-loss-db {max_loss_db:g}: expected 0 or more, for a precision in eight bits; add --precision int8, or drop it"
        )
    calibration = range_flags.calibration_choice()
    only = tuple(name for names in parts for name in names.split(",") if name)
    if parts and not only:
        raise UsageError("--parts names no part; name one, as `--parts sampler,norm` does, or drop it for all of them")
    request = FileRequest(image_size=image_size, precision=precision)
    with progress(f"tune {target}") as step:
        step("loading the model")
        model = load_model(model_flags.origin(request.fixed_size()))
        plan = request.plan(exporter, model)
        exporter.refuse(plan)
        check_rounding(plan, calibration, None)
        with open_workbench(model, THIS_HOST, step, calibration=calibration) as workbench:
            tuner = Tuner(workbench, plan, timing, MAX_LOSS_DB if max_loss_db is None else max_loss_db, only)
            workbench.check_pictures(plan)
            tuning = tuner.tune()
    machine = read_machine({target})
    flags = "".join(
        [
            model_flags.words(),
            typed(image_size=image_size, order_seed=order_seed or None),
            range_flags.words(),
            typed(max_loss_db=max_loss_db, parts=",".join(only) or None),
        ]
    )
    sentence = measured(tuning, plan, timing, machine, flags)
    chosen = ChosenForm(form=tuning.form, measured=sentence, rounding=tuning.rounding)
    quantised = plan.precision if plan.scheme else None
    text = as_toml(target, chosen, quantised, calibrated=plan.scheme is not None and plan.scheme.calibrated)
    _print(tuning, text)
    if plan.scheme and not only:
        _say_what_was_searched(tuner, f"{target} {plan.precision}")
    name = f"{target}-{quantised}" if quantised else target
    document = _document(tuning, chosen, machine)
    write_together(output, {f"{name}.toml": text, f"{name}.json": json_bytes(document).decode()})
    file, rounded = output / f"{name}.toml", f" --precision {quantised}{range_flags.as_typed()}" if quantised else ""
    say(f"saved: {file}, {name}.json; to convert by it: {PROGRAM} {target}{rounded} --form {shlex.quote(str(file))}")
    if json:
        print_json(document)
    return 0


def _print(tuning: "Tuning", text: str) -> None:
    title, columns = f"forms of {tuning.target} on {tuning.runtime}", ROUNDED_COLUMNS if tuning.losses else COLUMNS
    print_table(title, columns, [_cells(trial, tuning) for trial in tuning.trials])
    if lost := tuning.losses:
        say(
            f"SQNR on {lost.pictures} drawn pictures: {lost.winner_db:.1f} dB, at the start {lost.start_db:.1f}. A choice wins "
            f"if it is faster by more than A/A and loses {lost.max_loss_db:g} dB at most against the start."
        )
    if not any(trial.chosen for trial in tuning.trials):
        say("Nothing that was tried is faster and good enough: the winner is the form that the target has.")
    for comparison in tuning.final.comparisons():
        low, high = comparison.interval
        say(f"{comparison.label} / winner: {comparison.ratio:.3f} (95 %: {low:.3f} to {high:.3f}), {comparison.verdict}")
    for warning in tuning.final.warnings():
        say(f"warning: {warning}")
    for line in text.splitlines():
        say(line)


def _say_what_was_searched(tuner: "Tuner", what: str) -> None:
    if not tuner.alternatives.rounding:
        say(f"Only forms were searched: {what} has one way to round.")
    elif tuner.alternatives.parts == tuner.alternatives.rounding:
        say(f"Only what {what} rounds was searched: --ranges are of one form. Use --calibration DIR to search forms too.")


def _cells(trial: "Trial", tuning: "Tuning") -> list[str | Text]:
    tried = [str(trial.pass_number), trial.part, trial.choice, trial.instead_of]
    errors = ["" if trial.noise_ratio is None else f"{trial.noise_ratio:.2g}"]
    if tuning.losses:
        errors.append("" if trial.sqnr_db is None else f"{trial.sqnr_db:.1f} ({trial.sqnr_db - tuning.losses.start_db:+.1f})")
    rejected = Text(f"rejected: {trial.rejected}", style="red")
    if trial.ratio is None or trial.interval is None or trial.control_spread is None or trial.verdict is None:
        return [*tried, *errors, "", "", "", rejected]
    low, high = trial.interval
    verdict = Text(f"{trial.verdict}, chosen" if trial.chosen else trial.verdict, style=VERDICT_STYLES[trial.verdict])
    figures = [f"{trial.ratio:.3f}", f"{low:.3f} to {high:.3f}", f"{trial.control_spread:.1%}"]
    return [*tried, *errors, *figures, Text(f"{trial.verdict}, ") + rejected if trial.rejected else verdict]


def _document(tuning: "Tuning", chosen: ChosenForm, machine: "Machine") -> dict[str, object]:
    winner = tuning.final.results[0]
    return {
        "target": tuning.target,
        "runtime": tuning.runtime,
        "form": chosen.form.choices(),
        "differences_from_default": chosen.form.differences(Form()),
        ROUNDING: chosen.rounding,
        "losses": tuning.losses,
        "measured": chosen.measured,
        "machine": machine,
        "winner_median_ms": winner.median_ms,
        "final": [
            {"label": c.label, "ratio": c.ratio, "interval": c.interval, "verdict": c.verdict} for c in tuning.final.comparisons()
        ],
        "control_spread": tuning.final.control_spread,
        "trials": tuning.trials,
    }
