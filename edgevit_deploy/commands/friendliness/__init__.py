"""`convert.py friendliness`: what every converter and partitioner makes of the network, part by part."""

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from edgevit_deploy.commands.console import print_json, progress, say
from edgevit_deploy.commands.flags import FileFlags, ModelFlags
from edgevit_deploy.commands.friendliness.view import Matrix, document, markdown, print_matrix
from edgevit_deploy.commands.pages import write_together
from edgevit_deploy.errors import DeployError, MissingError, UsageError, did_you_mean
from edgevit_deploy.host import TARGETS, find_session, require_exporter

if TYPE_CHECKING:
    from edgevit_deploy.measure.friendliness import Friendliness
    from edgevit_deploy.model.peers import Peer
    from edgevit_deploy.pipeline import Step, Workbench

NO_PEER = "none"
PEER_SEED = 0
MARKDOWN_NAME, JSON_NAME = "friendliness.md", "friendliness.json"


def friendliness(
    *,
    model_flags: Annotated[ModelFlags, Parameter(name="*")] = ModelFlags(),  # noqa: B008 - frozen
    targets: Annotated[tuple[str, ...], Parameter(consume_multiple=True, negative="", show_default=False)] = (),
    image_size: str | None = None,
    peer: str = "Swin-T",
    output: Path = Path("build/friendliness"),
    json: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Convert whole graphs and every part of them, and print and save what becomes of each on each runtime.

    Args:
        model_flags: Which network.
        targets: Only these targets (comma separated). [default: every target]
        image_size: Side or HEIGHTxWIDTH. [default: the checkpoint's, else 224]
        peer: A network of the paper's tables to put beside it, converted whole at 224x224; or none. Needs timm.
        output: Folder for friendliness.md and friendliness.json.
        json: Print one JSON document on stdout and nothing else there.
    """
    from edgevit_deploy.model.loading import load_model
    from edgevit_deploy.pipeline import Workbench

    chosen = _read_targets(targets)
    if output.exists() and not output.is_dir():
        raise UsageError(f"--output {output} is not a folder; give a folder for {MARKDOWN_NAME} and {JSON_NAME}")
    file_flags = FileFlags(image_size=image_size)
    if image_size == "dynamic":
        raise UsageError("friendliness looks at one shape; use --image-size N or HxW")
    skipped: dict[str, str] = {}
    other = _find_peer(peer, skipped)
    found: list[Friendliness] = []
    with progress("friendliness") as step:
        step("loading the model")
        bench = Workbench(load_model(model_flags.source(file_flags.fixed_size())))
        for target in chosen:
            try:
                found.append(_examine(target, bench, file_flags, other, step))
            except DeployError as error:
                skipped[target] = str(error)
    if not found:
        raise MissingError("no target could be examined: " + "; ".join(f"{name}: {why}" for name, why in skipped.items()))
    matrix = Matrix(
        command=_command(model_flags, targets, image_size, peer),
        model=bench.model.spec.variant,
        image_size=bench.model.spec.image_size,
        notes=bench.model.notes,
        peer_given=other.given if other else "",
        targets=tuple(found),
        skipped=skipped,
    )
    print_matrix(matrix)
    _save(matrix, output)
    if json:
        print_json(document(matrix))
    return 0


def _read_targets(targets: Sequence[str]) -> list[str]:
    names = [name for item in targets for name in item.split(",") if name]
    for name in names:
        if name not in TARGETS:
            raise UsageError(f"--targets {name}: no such target; {did_you_mean(name, TARGETS)}")
    return list(dict.fromkeys(names)) or list(TARGETS)


def _find_peer(name: str, skipped: dict[str, str]) -> "Peer | None":
    """Build the peer; note why there is none where timm is missing, since every other result stands without it."""
    from edgevit_deploy.model.peers import PEERS, make_peer

    if name == NO_PEER:
        return None
    if name not in PEERS:
        raise UsageError(f"--peer {name}: no such network; {did_you_mean(name, [*PEERS, NO_PEER])}")
    try:
        return make_peer(name, PEER_SEED)
    except MissingError as error:
        skipped[name] = str(error)
        return None


def _examine(target: str, bench: "Workbench", flags: FileFlags, peer: "Peer | None", step: "Step") -> "Friendliness":
    from edgevit_deploy.measure.friendliness import Examiner

    exporter = require_exporter(target)
    plan = flags.plan(target, bench.model, exporter.precisions[0], exporter.options_type())
    with tempfile.TemporaryDirectory() as scratch:
        return Examiner(
            bench, exporter, replace(plan, labels=()), find_session, Path(scratch), lambda text: step(f"{target}: {text}")
        ).examine(peer)


def _command(model_flags: ModelFlags, targets: Sequence[str], image_size: str | None, peer: str) -> str:
    """Return what to type for the same result; of the checkpoint only the name, so that no machine path is recorded."""
    given = {
        "--model": model_flags.model,
        "--weights": model_flags.weights and model_flags.weights.name,
        "--num-classes": model_flags.num_classes,
        "--seed": model_flags.seed,
        "--targets": ",".join(targets) or None,
        "--image-size": image_size,
        "--peer": peer,
    }
    return "python convert.py friendliness " + " ".join(f"{flag} {value}" for flag, value in given.items() if value is not None)


def _save(matrix: Matrix, output: Path) -> None:
    import msgspec

    written = msgspec.json.format(msgspec.json.encode(document(matrix)), indent=1).decode() + "\n"
    write_together(output, {MARKDOWN_NAME: markdown(matrix), JSON_NAME: written})
    say(f"saved: {output / MARKDOWN_NAME}, {JSON_NAME}")
