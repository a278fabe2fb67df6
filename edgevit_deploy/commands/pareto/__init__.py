"""`convert.py pareto RESULT...`: which files and networks are dominated in accuracy and cost, and by whom."""

import shlex
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from edgevit_deploy.commands.console import print_json, progress, say
from edgevit_deploy.errors import UsageError


def pareto(
    *results: Annotated[Path, Parameter(required=True)],
    x: Literal["latency", "energy", "size", "macs"] = "latency",
    y: Literal["top1"] = "top1",
    stands_for: Annotated[tuple[str, ...], Parameter(negative="", consume_multiple=False)] = (),
    published: Annotated[bool, Parameter(negative="")] = False,
    output: Path | None = None,
    json: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Show accuracy against a cost: what is on the front, what is dominated and by whom, what the intervals leave open.

    Args:
        results: What bench, evaluate and energy have written (JSON files or their folders), and bundles with evaluations.
        x: The cost: latency and size from bench, energy from energy, macs by the paper's formula and PyTorch's count.
        y: How good a file is: top1.
        stands_for: PATTERN=NETWORK, as often as needed: files whose label fits have the published accuracy of that network
            ('build/xxs/*=EdgeViT-XXS'); they are marked. An evaluation of a file comes first.
        published: Show latencies too that others have published, each device by itself.
        output: Folder for pareto.md, pareto.json, pareto.svg and pareto.png.
        json: Print one JSON document on stdout and nothing else there.
    """
    from edgevit_deploy.commands.pages import check_folder, write_together
    from edgevit_deploy.commands.pareto import view
    from edgevit_deploy.commands.pareto.plot import draw
    from edgevit_deploy.measure.pareto.assemble import StandsFor, assemble
    from edgevit_deploy.measure.pareto.figures import UNITS
    from edgevit_deploy.measure.pareto.front import judge
    from edgevit_deploy.measure.pareto.published import published_latencies
    from edgevit_deploy.measure.pareto.records import read_records
    from edgevit_deploy.outside.text import json_bytes

    if published and x != "latency":
        raise UsageError(f"--published: of others only latencies are known here, not {x}; drop --published or --x {x}")
    check_folder(output)
    rules = [StandsFor.read(text) for text in stands_for]
    records = [record for place in results for record in read_records(place)]
    found = assemble(records, x, rules)
    series = [*found.series, *(published_latencies() if published else ())]
    shown = []
    with progress("pareto") as step:
        for one in series:
            step(one.name)
            shown.append(view.Shown(title=one.name, pictures=one.pictures, judged=judge(one)))
    if not shown:
        reasons = "; ".join(f"{subject.name}: {subject.reason}" for subject in found.left_out[:3])
        raise UsageError(f"nothing has both figures. {reasons}")
    unit = UNITS[x]
    view.print_shown(shown, unit, found.left_out)
    document = view.document(x, unit, shown, found.left_out)
    if output is not None:
        drawing = draw(shown, unit)
        flags = [token for text in stands_for for token in ("--stands-for", text)]
        tokens = [*map(str, results), "--x", x, "--y", y, *flags, *(["--published"] if published else [])]
        contents: dict[str, str | bytes] = {
            view.PAGE_NAME: view.page(shlex.join(["python", "convert.py", "pareto", *tokens]), unit, shown, found.left_out),
            view.DOCUMENT_NAME: json_bytes(document).decode(),
            view.SVG_NAME: drawing.svg(),
            view.PNG_NAME: drawing.png(),
        }
        write_together(output, contents)
        say(f"saved: {output}: {', '.join(contents)}")
    if json:
        print_json(document)
    return 0
