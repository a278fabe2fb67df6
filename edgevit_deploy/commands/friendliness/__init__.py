"""`convert.py friendliness`: what every converter and partitioner makes of the network, part by part."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from edgevit_deploy.commands.console import print_json, progress, say
from edgevit_deploy.commands.flags import ModelFlags
from edgevit_deploy.commands.friendliness.view import Matrix, document, markdown, print_matrix
from edgevit_deploy.commands.pages import check_folder, write_together
from edgevit_deploy.errors import UsageError
from edgevit_deploy.host import THIS_HOST, check_target
from edgevit_deploy.outside.text import json_bytes
from edgevit_deploy.request import FileRequest

NO_PEER, DEFAULT_PEER = "none", "Swin-T"
MARKDOWN_NAME, JSON_NAME = "friendliness.md", "friendliness.json"


def friendliness(
    *,
    model_flags: Annotated[ModelFlags, Parameter(name="*")] = ModelFlags(),  # noqa: B008 - frozen
    targets: Annotated[tuple[str, ...], Parameter(consume_multiple=True, negative="", show_default=False)] = (),
    image_size: str | None = None,
    peer: str | None = None,
    against: Literal["ablations"] | None = None,
    output: Path = Path("build/friendliness"),
    json: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Convert whole graphs and every part of them, and print and save what becomes of each on each runtime.

    Args:
        model_flags: Which network.
        targets: Only these targets (comma separated). [default: every target]
        image_size: Side or HEIGHTxWIDTH. [default: the checkpoint's, else 224]
        peer: A network of the paper's tables to put beside it, converted whole at 224x224; or none. Needs timm. [default: Swin-T]
        against: ablations: put the paper's ablations beside edgevit_xxs, whole deploy graphs only; nothing is examined by part.
        output: Folder for friendliness.md and friendliness.json.
        json: Print one JSON document on stdout and nothing else there.
    """
    from edgevit_deploy.measure.friendliness import examine_targets
    from edgevit_deploy.measure.friendly_ablations import examine_ablations
    from edgevit_deploy.model.loading import load_model
    from edgevit_deploy.model.peers import check_peer

    chosen = _read_targets(targets)
    check_folder(output)
    request = FileRequest(image_size=image_size)
    if against is not None and peer not in (None, NO_PEER):
        raise UsageError("--peer is no ablation; drop it, or --against ablations")
    beside = NO_PEER if against is not None else peer or DEFAULT_PEER
    if beside != NO_PEER:
        check_peer(beside, NO_PEER)
    if image_size == "dynamic":
        raise UsageError("friendliness looks at one shape; use --image-size N or HxW")
    with progress("friendliness") as step:
        step("loading the model")
        origin = model_flags.origin(request.fixed_size())
        model = load_model(origin)
        if against is None:
            survey = examine_targets(THIS_HOST, model, request, chosen, None if beside == NO_PEER else beside, step)
        else:
            survey = examine_ablations(THIS_HOST, origin, request, chosen, step)
    matrix = Matrix(
        command=_command(model_flags, targets, image_size, beside if against is None else None, against),
        model=model.spec.variant,
        image_size=model.spec.image_size,
        notes=model.notes,
        peer_given=survey.peer_given,
        targets=survey.found,
        skipped=survey.skipped,
    )
    print_matrix(matrix)
    _save(matrix, output)
    if json:
        print_json(document(matrix))
    return 0


def _read_targets(targets: Sequence[str]) -> list[str]:
    names = [check_target("--targets", name) for item in targets for name in item.split(",") if name]
    return list(dict.fromkeys(names)) or list(THIS_HOST.targets())


def _command(
    model_flags: ModelFlags, targets: Sequence[str], image_size: str | None, peer: str | None, against: str | None
) -> str:
    """Return what to type for the same result; of the checkpoint only the name, so that no machine path is recorded."""
    given = {
        "--model": model_flags.model,
        "--weights": model_flags.weights and model_flags.weights.name,
        "--num-classes": model_flags.num_classes,
        "--seed": model_flags.seed,
        "--targets": ",".join(targets) or None,
        "--image-size": image_size,
        "--peer": peer,
        "--against": against,
    }
    return "python convert.py friendliness " + " ".join(f"{flag} {value}" for flag, value in given.items() if value is not None)


def _save(matrix: Matrix, output: Path) -> None:
    write_together(output, {MARKDOWN_NAME: markdown(matrix), JSON_NAME: json_bytes(document(matrix)).decode()})
    say(f"saved: {output / MARKDOWN_NAME}, {JSON_NAME}")
