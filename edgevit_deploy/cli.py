"""The command line: `convert.py` and `edgevit-deploy`. Builds the commands and turns errors into exit codes.

Exit codes: 0 good; 1 the result is bad; 2 wrong usage or bad input; 3 a dependency, driver or device is missing; 130 Ctrl-C.
Nothing heavy is imported here or by `--help`.
"""

import sys
from collections.abc import Callable, Sequence
from dataclasses import fields
from typing import Annotated, Any, NoReturn

from cyclopts import App, CycloptsError, Parameter

from edgevit_deploy import __version__
from edgevit_deploy.commands.bench import bench_bundles
from edgevit_deploy.commands.convert import convert_all, convert_one
from edgevit_deploy.commands.doctor import doctor
from edgevit_deploy.commands.flags import FileFlags, ModelFlags
from edgevit_deploy.commands.friendliness import friendliness
from edgevit_deploy.commands.inspect import inspect
from edgevit_deploy.commands.report import report_bundles
from edgevit_deploy.commands.tune import tune
from edgevit_deploy.commands.verify import verify_bundles
from edgevit_deploy.console import print_error
from edgevit_deploy.errors import DeployError, UsageError, did_you_mean
from edgevit_deploy.interrupts import INTERRUPTS
from edgevit_deploy.spec import Precision
from export import TARGETS

COMMANDS: dict[str, Callable[..., int]] = {
    "all": convert_all,
    "verify": verify_bundles,
    "bench": bench_bundles,
    "tune": tune,
    "friendliness": friendliness,
    "inspect": inspect,
    "doctor": doctor,
    "report": report_bundles,
}

HELP = "Convert an EdgeViT checkpoint into deployment bundles whose numbers are proven against PyTorch."


def main(tokens: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit."""
    INTERRUPTS.listen()
    sys.exit(run(sys.argv[1:] if tokens is None else tokens))


def run(tokens: Sequence[str]) -> int:
    """Run one command line; return its exit code.

    Errors are one line on stderr. What is not a `DeployError` is a defect of ours and keeps its traceback.
    """
    try:
        _check_command(tokens)
        result = build_app(tokens)(list(tokens), exit_on_error=False, print_error=False)
        INTERRUPTS.raise_if_arrived()
    except CycloptsError as error:
        print_error(" ".join(str(error).split()))
        return UsageError.exit_code
    except DeployError as error:
        print_error(str(error))
        return error.exit_code
    except KeyboardInterrupt:
        print_error("interrupted; nothing half-written was kept")
        return 130
    return int(result or 0)


def build_app(tokens: Sequence[str] = ()) -> App:
    """Build the commands; only the target that `tokens` ask for is imported, for its flags."""
    app = App(name="convert.py", help=HELP, version=__version__, result_action="return_value", suppress_keyboard_interrupt=False)
    for name, entry in TARGETS.items():
        command = _target_command(name) if name in tokens[:1] else _unread_command
        app.command(command, name=name, help=f"{entry.summary}.", group="Targets")
    for name, function in COMMANDS.items():
        app.command(function, name=name)
    return app


def _check_command(tokens: Sequence[str]) -> None:
    names = [*TARGETS, *COMMANDS]
    if tokens and not tokens[0].startswith("-") and tokens[0] not in names:
        raise UsageError(f"no target or command {tokens[0]!r}; {did_you_mean(tokens[0], names)}")


def _target_command(target: str) -> Callable[..., int]:
    """Make the command of one target: the shared flags and those of its own options dataclass."""
    options_type: Any = TARGETS[target].load().options_type

    def command(
        *,
        model_flags: ModelFlags = ModelFlags(),  # noqa: B008 - frozen
        file_flags: FileFlags = FileFlags(),  # noqa: B008 - frozen
        precision: Precision | None = None,
        options: Any = options_type(),  # noqa: B008 - frozen
    ) -> int:
        return convert_one(target, model_flags, file_flags, precision, options)

    flat = Parameter(name="*")
    own = flat if fields(options_type) else Parameter(parse=False)  # a target without flags of its own shows none
    command.__annotations__.update(
        model_flags=Annotated[ModelFlags, flat],
        file_flags=Annotated[FileFlags, flat],
        options=Annotated[options_type, own],
    )
    return command


def _unread_command() -> int:
    """Stand for a target in the list of commands without importing it."""
    return UsageError.exit_code
