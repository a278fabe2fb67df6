"""The command line: `convert.py` and `edgevit-deploy`. Builds the commands and turns errors into exit codes.

Exit codes: 0 good; 1 the result is bad; 2 wrong usage or bad input; 3 a dependency, driver or device is missing; 130 Ctrl-C.
Nothing heavy is imported here or by `--help`.
"""

import errno
import os
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any, NoReturn, get_args

from cyclopts import App, CycloptsError, Parameter, Token, convert

from edgevit_deploy.commands.console import print_error
from edgevit_deploy.errors import DeployError, ExportError, RunError, UsageError, did_you_mean, first_line, system_refusal
from edgevit_deploy.host import TARGETS
from edgevit_deploy.outside.text import shortened
from edgevit_deploy.process.interrupts import INTERRUPTS
from edgevit_deploy.process.memory import address_space_note
from edgevit_deploy.process.supervisor import ends, make_room
from edgevit_deploy.spec import PROGRAM, VERSION, Precision

COMMANDS: dict[str, tuple[str, str]] = {  # name: where its function is, and its line in the list of commands
    "all": ("convert:convert_all", "Convert to every target that can run here; say what was done, skipped and failed, and why."),
    "train": ("train:train", "Train or fine-tune an EdgeViT on a folder of labelled pictures."),
    "verify": ("verify:verify_bundles", "Re-hash, load, run and compare bundles with their golden outputs."),
    "evaluate": (
        "evaluate:evaluate_bundles",
        "Measure top-1 and top-5 of bundles on labelled pictures, paired with the network they were made from.",
    ),
    "app": ("app:app", "Write a small Android, web or C++ project that loads a bundle and replays its golden data."),
    "demo": ("demo:demo", "Show a bundle in the browser: the web app, served on this machine until Ctrl-C."),
    "bench": (
        "bench:bench_bundles",
        "Measure latency, load time, memory and size of bundles, against each other, naive exports or peers.",
    ),
    "energy": ("energy:energy", "Say what an inference takes in millijoules, from the trace of a power meter."),
    "tune": ("tune:tune", "Find the fastest exact form of the graph on one target's runtime."),
    "friendliness": ("friendliness:friendliness", "Show what becomes of each part of the network on each runtime."),
    "pareto": ("pareto:pareto", "Show accuracy against latency, energy, size or MACs: what is dominated, and by whom."),
    "inspect": ("inspect:inspect", "Describe a checkpoint or a bundle."),
    "doctor": ("doctor:doctor", "Say which targets can be built and run here, and the fix for each gap."),
    "worker": ("worker:worker", "Work for the scheduler at an address: other machines' `--on` sends jobs here."),
    "report": ("report:report_bundles", "Write one self-contained HTML page about bundles."),
}

HELP = "Convert an EdgeViT checkpoint into deployment bundles whose numbers are proven against PyTorch."


INTERRUPTED = 130
WHOLE_NUMBER = re.compile(r"[+-]?[0-9]{1,19}")

TIMED = ("bench", "tune", "friendliness")
"""Commands whose figures depend on how threads wait: theirs is the runtimes' own way."""


def main(tokens: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit."""
    tokens = sys.argv[1:] if tokens is None else tokens
    INTERRUPTS.listen()
    wait_passively(tokens)
    code = run(tokens)
    ends()
    if code == INTERRUPTED:
        os._exit(code)  # whoever interrupts need not wait for libraries that tidy up
    sys.exit(code)


def wait_passively(tokens: Sequence[str]) -> None:
    """Let OpenMP's threads sleep while they wait, in this process and its children, unless the user has said otherwise.

    Spinning threads take the cores from each other on a busy machine: a conversion then took four times the CPU. It must be said
    before PyTorch is loaded.
    """
    if not set(tokens[:1]) & set(TIMED):
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
        os.environ.setdefault("GOMP_SPINCOUNT", "0")


def run(tokens: Sequence[str]) -> int:
    """Run one command line; return its exit code.

    Errors are one line on stderr, the system's refusals (memory, disks, pipes) too. Anything else is a defect of ours and keeps
    its traceback.
    """
    try:
        _check_command(tokens)
        result = build_app(tokens)(list(tokens), exit_on_error=False, print_error=False)
        INTERRUPTS.raise_if_arrived()
    except CycloptsError as error:
        print_error(" ".join(str(error).split()))
        return UsageError.exit_code
    except DeployError as error:
        print_error(f"{error}{address_space_note()}" if isinstance(error, ExportError | RunError) else str(error))
        return error.exit_code
    except KeyboardInterrupt as interrupt:
        print_error(str(interrupt) or "interrupted; nothing half-written was kept")
        return INTERRUPTED
    except (OSError, MemoryError, RuntimeError, ImportError, SystemError) as error:  # the last: Python itself, short of memory
        make_room()
        refusal, limited = system_refusal(error), address_space_note()
        if refusal is None and not limited:
            raise
        print_error(refusal or f"{first_line(error)}{limited}")
        bad_name = isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG
        return UsageError.exit_code if bad_name else DeployError.exit_code
    return int(result or 0)


def build_app(tokens: Sequence[str] = ()) -> App:
    """Build the commands; only the one that `tokens` ask for is imported, for its flags."""
    asked = tokens[:1]
    app = App(
        name=PROGRAM,
        help=HELP,
        version=VERSION,
        result_action="return_value",
        suppress_keyboard_interrupt=False,
        default_parameter=Parameter(converter=_read_value),
    )
    for name, target in TARGETS.items():
        command = _target_command(name) if name in asked else _unread_command
        app.command(command, name=name, help=f"{target.summary}.", group="Targets")
    for name, (location, summary) in COMMANDS.items():
        own_page = name in asked  # shows the whole docstring
        app.command(f"edgevit_deploy.commands.{location}", name=name, help=None if own_page else summary)
    return app


def _read_value(kind: Any, tokens: Sequence[Token]) -> Any:
    """Read what a flag was given; cyclopts alone would round 1.5 to 2, and take 1.0 and 0x1 for 1.

    Where a file is meant, nothing is passed on that the system cannot look for: most of its calls would raise at that.
    """
    kinds = (kind, *get_args(kind))
    for token in tokens:
        if int in kinds and not WHOLE_NUMBER.fullmatch(token.value):
            raise UsageError(f"{token.keyword} {shortened(token.value)}: expected a whole number of at most 19 digits")
        if Path in kinds and not _can_be_a_name(token.value):
            raise UsageError(
                f"{token.keyword or 'the argument'} {shortened(token.value)}: no file can have this name; give another"
            )
    return convert(kind, tokens)


def _can_be_a_name(text: str) -> bool:
    try:
        return b"\0" not in os.fsencode(text)
    except UnicodeEncodeError:  # a lone surrogate that stands for no byte
        return False


def _check_command(tokens: Sequence[str]) -> None:
    names = [*TARGETS, *COMMANDS]
    if tokens and not tokens[0].startswith("-") and tokens[0] not in names:
        raise UsageError(f"no target or command {tokens[0]!r}; {did_you_mean(tokens[0], names)}")


def _target_command(target: str) -> Callable[..., int]:
    """Make the command of one target: the shared flags and those of its own options dataclass."""
    from edgevit_deploy.commands.convert import convert_one
    from edgevit_deploy.commands.flags import FileFlags, ModelFlags, PreprocessFlags, RoundingFlags

    options_type: Any = TARGETS[target].load().options_type

    def command(
        *,
        model_flags: ModelFlags = ModelFlags(),  # noqa: B008 - frozen
        preprocess_flags: PreprocessFlags = PreprocessFlags(),  # noqa: B008 - frozen
        file_flags: FileFlags = FileFlags(),  # noqa: B008 - frozen
        rounding_flags: RoundingFlags = RoundingFlags(),  # noqa: B008 - frozen
        precision: Precision | None = None,
        options: Any = options_type(),  # noqa: B008 - frozen
    ) -> int:
        return convert_one(target, model_flags, preprocess_flags, file_flags, rounding_flags, precision, options)

    flat = Parameter(name="*")
    own = flat if fields(options_type) else Parameter(parse=False)  # a target without flags of its own shows none
    command.__annotations__.update(
        model_flags=Annotated[ModelFlags, flat],
        preprocess_flags=Annotated[PreprocessFlags, flat],
        file_flags=Annotated[FileFlags, flat],
        rounding_flags=Annotated[RoundingFlags, flat],
        options=Annotated[options_type, own],
    )
    return command


def _unread_command() -> int:
    """Stand for a target in the list of commands without importing it."""
    return UsageError.exit_code
