"""`convert.py tune TARGET`: which form of the deploy graph this host's runtime of a target runs fastest."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter
from rich.text import Text

from edgevit_deploy.commands.bench.view import VERDICT_STYLES
from edgevit_deploy.commands.console import print_json, print_table, progress, say
from edgevit_deploy.commands.flags import ModelFlags
from edgevit_deploy.commands.pages import write_together
from edgevit_deploy.deploy.form import ChosenForm, Form, as_toml
from edgevit_deploy.errors import UsageError
from edgevit_deploy.host import THIS_HOST
from edgevit_deploy.measure.machine import read_machine
from edgevit_deploy.outside.text import json_bytes
from edgevit_deploy.request import FileRequest
from edgevit_deploy.spec import PROGRAM, Precision, floating

if TYPE_CHECKING:
    from edgevit_deploy.measure.machine import Machine
    from edgevit_deploy.measure.tune import Trial, Tuning

COLUMNS = ("pass", "part", "choice", "instead of", "x noise", "x best so far", "95 %", "A/A", "verdict")


def tune(
    target: str,
    *,
    model_flags: Annotated[ModelFlags, Parameter(name="*")] = ModelFlags(),  # noqa: B008 - frozen
    image_size: str | None = None,
    precision: Precision | None = None,
    threads: int = 1,
    runs: int = 200,
    order_seed: int = 0,
    output: Path = Path("build/tune"),
    update: Annotated[bool, Parameter(negative="", show=False)] = False,
    json: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Try every exact form of the deploy graph on one target's runtime, reject what fails parity, print and save the fastest.

    Args:
        target: Whose runtime to tune for.
        model_flags: Which network.
        image_size: Side or HEIGHTxWIDTH. [default: the checkpoint's, else 224]
        precision: Of the files. [default: the target's first]
        threads: Threads of the runtime.
        runs: Timed runs of each form in each comparison.
        order_seed: Seed of the order in which forms are timed.
        output: Folder for TARGET.toml (the winner, for `convert.py TARGET --form`) and TARGET.json (every trial).
        update: Gone.
        json: Print one JSON document on stdout and nothing else there.
    """
    from edgevit_deploy.measure.bench import read_timing
    from edgevit_deploy.measure.tune import Tuner, measured
    from edgevit_deploy.model.loading import load_model
    from edgevit_deploy.workbench import open_workbench

    if update:
        raise UsageError(
            f"--update is gone, since nothing is written into the program itself any more; drop it, and convert by the winner "
            f"with `{PROGRAM} {target} --form {output / target}.toml`"
        )
    timing = read_timing(threads=threads, runs=runs, regime="steady", protocol="interleaved", seed=order_seed)
    exporter = THIS_HOST.require_exporter(target)
    if precision is not None:
        floating(precision, "tune")
    request = FileRequest(image_size=image_size, precision=precision)
    with progress(f"tune {target}") as step:
        step("loading the model")
        model = load_model(model_flags.origin(request.fixed_size()))
        plan = request.plan(exporter, model)
        with open_workbench(model, THIS_HOST, step) as workbench:
            tuning = Tuner(workbench, plan, timing).tune()
    machine = read_machine({target})
    chosen = ChosenForm(form=tuning.form, measured=measured(tuning, plan, timing, machine))
    _print(tuning, chosen)
    _save(tuning, chosen, machine, output)
    if json:
        print_json(_document(tuning, chosen, machine))
    return 0


def _print(tuning: "Tuning", chosen: ChosenForm) -> None:
    print_table(f"forms of {tuning.target} on {tuning.runtime}", COLUMNS, [_cells(trial) for trial in tuning.trials])
    for comparison in tuning.final.comparisons():
        low, high = comparison.interval
        say(f"{comparison.label} / winner: {comparison.ratio:.3f} (95 %: {low:.3f} to {high:.3f}), {comparison.verdict}")
    for warning in tuning.final.warnings():
        say(f"warning: {warning}")
    say(f"\n{as_toml(tuning.target, chosen)}")


def _cells(trial: "Trial") -> list[str | Text]:
    tried = [str(trial.pass_number), trial.part, trial.choice, trial.instead_of]
    if trial.ratio is None or trial.interval is None or trial.control_spread is None or trial.verdict is None:
        return [*tried, "", "", "", "", Text(f"rejected: {trial.rejected}", style="red")]
    low, high = trial.interval
    verdict = Text(f"{trial.verdict}, chosen" if trial.chosen else trial.verdict, style=VERDICT_STYLES[trial.verdict])
    figures = [f"{trial.noise_ratio:.2g}", f"{trial.ratio:.3f}", f"{low:.3f} to {high:.3f}", f"{trial.control_spread:.1%}"]
    return [*tried, *figures, verdict]


def _save(tuning: "Tuning", chosen: ChosenForm, machine: "Machine", output: Path) -> None:
    document = json_bytes(_document(tuning, chosen, machine)).decode()
    toml = as_toml(tuning.target, chosen)
    write_together(output, {f"{tuning.target}.toml": toml, f"{tuning.target}.json": document})
    saved = output / tuning.target
    say(f"saved: {saved}.toml, .json; to convert by it: {PROGRAM} {tuning.target} --form {saved}.toml")


def _document(tuning: "Tuning", chosen: ChosenForm, machine: "Machine") -> dict[str, object]:
    winner = tuning.final.results[0]
    return {
        "target": tuning.target,
        "runtime": tuning.runtime,
        "form": chosen.form.choices(),
        "differences_from_default": chosen.form.differences(Form()),
        "measured": chosen.measured,
        "machine": machine,
        "winner_median_ms": winner.median_ms,
        "final": [
            {"label": c.label, "ratio": c.ratio, "interval": c.interval, "verdict": c.verdict} for c in tuning.final.comparisons()
        ],
        "control_spread": tuning.final.control_spread,
        "trials": tuning.trials,
    }
