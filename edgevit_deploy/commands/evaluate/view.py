"""What `convert.py evaluate` shows: a table, in words what the figures mean, and the JSON document."""

from typing import TYPE_CHECKING, Any

import msgspec
from rich.text import Text

from edgevit_deploy.commands.console import print_table, say, status
from edgevit_deploy.commands.pictures import say_passed_over
from edgevit_deploy.outside.text import figure

if TYPE_CHECKING:
    from edgevit_deploy.measure.accuracy.gates import Gate
    from edgevit_deploy.measure.accuracy.result import Evaluated, Evaluation, Pairing, Share

COLUMNS = (
    "",
    "top-1",
    "top-5",
    "agrees",
    "right to wrong / back",
    "McNemar p",
    "largest difference",
    "ECE",
    "pictures/s",
    "ran on",
)
OPTIONAL = ("ran on", "ECE", "top-5", "pictures/s", "McNemar p", "largest difference")
"""What a narrow terminal does without; `--json` has all of it."""


def print_evaluation(evaluation: "Evaluation") -> None:
    """Print everything that people read about one evaluation."""
    data = evaluation.data
    sample = "" if data.seed is None else f", a sample of {data.pictures} with each class's share (seed {data.seed})"
    broken = f", without {data.broken} that cannot be decoded" if data.broken else ""
    pictures = f"{data.used - data.broken} pictures of {data.name} in {len(data.classes)} classes{sample}{broken}"
    title = f"accuracy, with 95 % intervals, on {pictures}"
    print_table(title, COLUMNS, [_cells(row) for row in evaluation.rows], optional=OPTIONAL)
    for line in explanation(evaluation):
        say(line)
    say_passed_over(evaluation.passed_over)


def explanation(evaluation: "Evaluation") -> list[str]:
    """Say in words what cannot be seen in the table."""
    return [*(f"{row.label}: {sentence}" for row in evaluation.rows for sentence in _sentences(row)), *general_lines(evaluation)]


def general_lines(evaluation: "Evaluation") -> list[str]:
    """Say what is of no row: what is missing, what could not be decoded, and what was there already."""
    lines = []
    if not any(row.kind == "network" for row in evaluation.rows):
        lines.append("accuracy alone; --weights FILE adds the network and compares each bundle with it, picture by picture")
    if evaluation.broken:
        from edgevit_deploy.data.pictures import named

        lines.append(f"{len(evaluation.broken)} pictures cannot be decoded and are in no figure: {named(evaluation.broken)}")
    if evaluation.kept_shards:
        lines.append(
            f"{evaluation.kept_shards} of {evaluation.shards} shards were there already and were not computed again; "
            "their part of pictures/s is of the run that did"
        )
    if evaluation.other_shards:
        lines.append(f"{evaluation.other_shards} kept shards are of other pictures, or of these before they changed: not used")
    return lines


def gate_sentence(gate: "Gate") -> str:
    """Say how a bundle stands to a demand: the value, the end of its interval, the bound, and what would decide."""
    agreement = gate.flag == "--min-agreement"
    what, end = ("agreement", "lower") if agreement else ("drop of top-1", "upper")
    relation = ("reaches" if agreement else "is within") if gate.ok else ("is below" if agreement else "is above")
    text = f"{what} {gate.value:.2%}, and the {end} end of its interval, {gate.end:.2%}, {relation} {gate.flag} {gate.bound:g}"
    if gate.ok:
        return text
    if gate.undecided:
        return f"{text}: too few pictures; about {gate.needed} with such shares would decide"
    return f"{text}: more pictures would not change that"


def demand_sentences(row: "Evaluated") -> list[str]:
    """Say how a bundle stands to each demand; one that nothing was compared for is not met."""
    sentences = [gate_sentence(gate) for gate in row.gates]
    if row.unjudged:
        sentences.append(f"{' and '.join(row.unjudged)} not met: nothing could be compared with the network")
    return sentences


def document(evaluation: "Evaluation") -> dict[str, Any]:
    """Return the whole evaluation as the one JSON document, with what follows from its counts."""
    builtins: dict[str, Any] = msgspec.to_builtins(evaluation)
    for row, plain in zip(evaluation.rows, builtins["rows"], strict=True):
        if row.accuracy is not None:
            plain["accuracy"]["top1"] = _share(row.accuracy.top1)
            plain["accuracy"]["top5"] = None if row.accuracy.top5 is None else _share(row.accuracy.top5)
        if row.pairing is not None:
            plain["pairing"] |= _derived(row.pairing)
        plain["gates"] = [{**msgspec.to_builtins(gate), "ok": gate.ok} for gate in row.gates]
    return {**builtins, "ok": evaluation.ok}


def _share(share: "Share") -> dict[str, Any]:
    return {"count": share.count, "of": share.of, "value": share.value, "interval": share.interval}


def _derived(pairing: "Pairing") -> dict[str, Any]:
    return {
        "pictures": pairing.pictures,
        "agreement": _share(pairing.agreement),
        "drop": pairing.drop,
        "drop_interval": pairing.drop_interval,
        "mcnemar_p": pairing.mcnemar_p,
    }


def _sentences(row: "Evaluated") -> list[str]:
    sentences = list(row.notes)
    if row.status != "ran":
        sentences.append(f"{row.status}. {row.reason}")
    if row.accuracy is not None and row.accuracy.not_finite:
        sentences.append(f"outputs of {row.accuracy.not_finite} pictures are not finite, and count as wrong")
    if row.pairing is not None:
        sentences += _pairing_sentences(row.pairing)
    return [*sentences, *demand_sentences(row)]


def _pairing_sentences(pairing: "Pairing") -> list[str]:
    low, high = pairing.drop_interval
    sentences = []
    if pairing.flipped:
        explained = ""
        if pairing.bound is not None:
            explained = (
                f"; {pairing.flips_within_bound} of them differ by no more than the bound {figure(pairing.bound)} that it was "
                "proven within, which leaves such margins open"
            )
        sentences.append(
            f"{pairing.flipped} of {pairing.pictures} pictures have another first class than the network's, which led by at most "
            f"{figure(max(flip.margin for flip in pairing.flips))}{explained}; drop of top-1 {pairing.drop:.2%} "
            f"[{low:.2%}, {high:.2%}]"
        )
    if pairing.over_bound and pairing.bound is not None:
        sentences.append(f"{pairing.over_bound} pictures differ from the network by more than its bound {figure(pairing.bound)}")
    return sentences


def share_text(share: "Share") -> str:
    """Return a proportion and, on a line of its own, its 95 % interval."""
    low, high = share.interval
    return f"{share.value:.2%}\n{low:.2%} to {high:.2%}"


def _cells(row: "Evaluated") -> list[str | Text]:
    accuracy, pairing = row.accuracy, row.pairing
    if accuracy is None:
        return [row.label, status(row.status), *[""] * (len(COLUMNS) - 2)]
    paired = [""] * 4
    if pairing is not None:
        paired = [
            share_text(pairing.agreement),
            f"{pairing.right_to_wrong} / {pairing.wrong_to_right}",
            f"{pairing.mcnemar_p:.2g}",
            figure(pairing.largest_difference),
        ]
    return [
        row.label,
        share_text(accuracy.top1),
        "" if accuracy.top5 is None else share_text(accuracy.top5),
        *paired,
        "-" if accuracy.calibration_error is None else f"{accuracy.calibration_error:.4f}",
        "" if row.pictures_per_s is None else f"{row.pictures_per_s:.3g}",
        row.runtime,
    ]
