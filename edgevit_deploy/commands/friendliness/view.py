"""What `convert.py friendliness` shows: the matrix as tables, on a terminal and in Markdown, and as one JSON document."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec
from rich.text import Text

from edgevit_deploy.commands.console import say
from edgevit_deploy.commands.pages import Table, markdown_text

if TYPE_CHECKING:
    from edgevit_deploy.measure.friendliness import Friendliness, Outcome, PartResult
    from edgevit_deploy.spec import Placement, Size

HEADINGS = {
    "patch embedding": "patch",
    "positional encoding": "position",
    "LocalAgg": "LocalAgg",
    "LSA": "LSA",
    "GlobalSparseAttn": "attention",
    "SRA": "SRA",
    "LocalProp": "LocalProp",
    "FFN": "FFN",
    "norms": "norms",
    "head": "head",
}
"""Part -> its column: those that a network has, at most eight, have to fit a terminal."""

STYLES: "dict[Outcome, str]" = {
    "native": "green",
    "decomposed": "",
    "falls back": "red",
    "rejected": "bold red",
    "unknown": "yellow",
}
TAKEN = "taken: the partitioner leaves nothing of the part outside. +N: so does the compiler, and runs N more layers for it."

PEER_NOTE = (
    "{peer}: timm's network with random weights, converted whole by the same exporters at 224x224; given: {given}. Nobody has "
    "rewritten it, as the deploy graph is rewritten: compare it with the original graph."
)
TIME_NOTE = (
    "Shares of one run in float32, one thread, on the host that made this, by the runtime's own profiler, where Python reaches "
    "one. Between: sums, changes of layout, and nodes without a module's name, which is all that a part left blank has."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Matrix:
    """Everything found, and how to find it again.

    `skipped` is target or peer -> why it was not examined; `peer_given` is what was done to the peer, empty without one.
    """

    command: str
    model: str
    image_size: "Size"
    notes: tuple[str, ...]
    peer_given: str
    targets: "tuple[Friendliness, ...]"
    skipped: dict[str, str]


def print_matrix(matrix: Matrix) -> None:
    """Print the tables and the reasons."""
    for table in _tables(matrix):
        table.print()
    for line in _lines(matrix):
        say(line)


def markdown(matrix: Matrix) -> str:
    """Return the same as a Markdown page."""
    height, width = matrix.image_size
    decompositions = [line for found in matrix.targets for line in _decompositions(found)]
    return "\n".join(
        [
            f"# Friendliness of {matrix.model}, {height}x{width}, batch 1\n",
            f"```\n{matrix.command}\n```\n",
            "Every entry was counted in files that the converters wrote; none is from documentation.\n",
            *(table.markdown() for table in _tables(matrix)),
            "## What the words mean, and the reasons\n",
            *(f"- {markdown_text(line)}" for line in _lines(matrix)),
            *(["\n## What decomposed parts become\n"] if decompositions else []),
            *(f"- {markdown_text(line)}" for line in decompositions),
            "",
        ]
    )


def document(matrix: Matrix) -> dict[str, Any]:
    """Return everything as builtins, verdicts included."""
    from edgevit_deploy.measure.friendliness import DEFINITIONS

    return {**msgspec.to_builtins(matrix), "definitions": DEFINITIONS, "targets": [_target(found) for found in matrix.targets]}


def _target(found: "Friendliness") -> dict[str, Any]:
    parts = {
        graph: [
            {
                "verdict": result.verdict,
                "partitioners": {name: result.verdict_of(name) for name in result.outside},
                **msgspec.to_builtins(result),
            }
            for result in results
        ]
        for graph, results in found.parts.items()
    }
    return {**msgspec.to_builtins(found), "parts": parts}


def _tables(matrix: Matrix) -> Iterator[Table]:
    columns = _columns(matrix)
    graphs = list(dict.fromkeys(graph for found in matrix.targets for graph in found.graphs))
    for graph in dict.fromkeys(graph for found in matrix.targets for graph in found.parts):
        parts = [row for found in matrix.targets for row in _part_rows(found, found.parts[graph])]
        yield Table(title=f"{graph} graph, by part", columns=("runtime", *columns.values()), rows=parts)
    rows = [row for found in matrix.targets for row in _whole_rows(found, graphs)]
    yield Table(title="whole graphs", columns=("runtime", *graphs), rows=rows)
    if any(found.time_shares for found in matrix.targets):
        from edgevit_deploy.measure.profile import BETWEEN

        times = [
            (f"{found.target}, {graph}", *(f"{shares[part]:.0%}" if part in shares else "" for part in (*columns, BETWEEN)))
            for found in matrix.targets
            for graph, shares in found.time_shares.items()
        ]
        yield Table(title="share of the time, by part", columns=("runtime", *columns.values(), "between"), rows=times)


def _columns(matrix: Matrix) -> dict[str, str]:
    """Return the parts that the network has, each with its heading."""
    own = {result.part for found in matrix.targets for results in found.parts.values() for result in results}
    return {part: heading for part, heading in HEADINGS.items() if part in own}


def _part_rows(found: "Friendliness", results: "tuple[PartResult, ...]") -> Iterator[tuple[str | Text, ...]]:
    by_part = {result.part: result for result in results}
    own = [part for part in HEADINGS if part in by_part]
    yield found.target, *(_cell(by_part[part]) for part in own)
    for name in found.partitioners:
        yield f"- {name}", *(_taken(by_part[part], name) for part in own)


def _cell(result: "PartResult") -> Text:
    decomposed = f"{result.added} ops/{result.pytorch_added}"
    return Text(decomposed if result.verdict == "decomposed" else result.verdict, style=STYLES[result.verdict])


def _taken(result: "PartResult", partitioner: str) -> Text:
    verdict = result.verdict_of(partitioner)
    taken = f"{result.layers_added[partitioner]:+d}" if partitioner in result.layers_added else "taken"
    left = f"leaves {sum(result.outside.get(partitioner, {}).values())}"
    return Text({"native": taken, "falls back": left}.get(verdict, verdict), style=STYLES[verdict])


def _whole_rows(found: "Friendliness", graphs: list[str]) -> Iterator[tuple[str, ...]]:
    def cells(tell: Any) -> list[str]:
        return ["" if (whole := found.graphs.get(graph)) is None else tell(whole) for graph in graphs]

    yield found.target, *cells(lambda whole: "rejected" if whole.rejected else f"{whole.operator_count} operators")
    for name in found.partitioners:
        yield f"- {name}", *cells(lambda whole, name=name: _placed(whole.placements.get(name)))


def _placed(placement: "Placement | None") -> str:
    if placement is None:
        return "rejected"
    said = [f"{placement.partitions} partition{'s' * (placement.partitions != 1)}"]
    if placement.outside:
        said.append(f"{sum(placement.outside.values())} outside")
    if placement.layers is not None:
        said.append(f"{placement.layers} layer{'s' * (placement.layers != 1)}")
    return ", ".join(said)


def _lines(matrix: Matrix) -> Iterator[str]:
    from edgevit_deploy.measure.friendliness import DEFINITIONS

    if any(found.parts for found in matrix.targets):
        for word, meaning in DEFINITIONS.items():
            yield f"{word}: {meaning}."
        yield TAKEN
    peers = [graph for found in matrix.targets for graph in found.graphs if graph not in found.parts]
    if peers and matrix.peer_given:
        yield PEER_NOTE.format(peer=peers[0], given=matrix.peer_given)
    if any(found.time_shares for found in matrix.targets):
        yield TIME_NOTE
    yield from (f"note: {note}." for note in matrix.notes)
    for found in matrix.targets:
        yield from _notes(found)
        yield from _reasons(found)
    for name, reason in matrix.skipped.items():
        yield f"{name}: skipped. {reason}"


def _notes(found: "Friendliness") -> Iterator[str]:
    notes = {name: p.note for whole in found.graphs.values() for name, p in whole.placements.items() if p.note}
    for note in dict.fromkeys(notes.values()):
        yield f"{found.target}, {', '.join(name for name in notes if notes[name] == note)}: {note}"


def _reasons(found: "Friendliness") -> Iterator[str]:
    """Say once why each graph or part is rejected, and what each partitioner leaves outside of each whole graph."""
    for graph, whole in found.graphs.items():
        if whole.rejected:
            yield f"{found.target}, {graph}: rejected. {whole.rejected}"
        for name, placement in whole.placements.items():
            if placement.outside:
                yield f"{found.target}, {graph}: outside {name}: {_counts(placement.outside)}"
    for graph, results in found.parts.items():
        for result in results:
            if reason := result.rejected or result.unknown:
                yield f"{found.target}, {graph}, {result.part}: {result.verdict}. {reason}"


def _decompositions(found: "Friendliness") -> Iterator[str]:
    for graph, results in found.parts.items():
        for result in results:
            if result.verdict == "decomposed":
                yield f"{found.target}, {graph}, {result.part}: {_counts(result.operators)}"


def _counts(operators: Mapping[str, int]) -> str:
    return ", ".join(f"{kind} {count}" for kind, count in sorted(operators.items(), key=lambda item: (-item[1], item[0])))
