"""`convert.py train --ablations`: what people see of it, a table, a picture and the JSON document."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from edgevit_deploy.commands.bench.ablations import FACT_COLUMNS, fact_cells
from edgevit_deploy.commands.canvas import Canvas, round_numbers
from edgevit_deploy.commands.console import say
from edgevit_deploy.commands.pages import Table, markdown_text, write_together
from edgevit_deploy.commands.train.flags import TrainFlags
from edgevit_deploy.errors import UsageError
from edgevit_deploy.outside.text import json_bytes

if TYPE_CHECKING:
    from edgevit_deploy.measure.trained_ablations import AblationStudy, TrainedAblation

COLUMNS = (*FACT_COLUMNS, "top-1 (95 %)", "against edgevit_xxs (95 %)", "right only here, only there", "p (McNemar)", "trained")
PAGE_NAME, DOCUMENT_NAME, PLOT_NAME = "ablations.md", "ablations.json", "ablations"

WITHOUT_A_USE = ("model", "finetune", "qat", "precision", "calibration")
"""Flags of one network, or of one that is trained already."""

WIDTH, ROW, LEFT, RIGHT, TOP, BOTTOM = 760, 30, 190, 40, 46, 52
INK, DIM, GRID, OURS, THEIRS = "#1f2430", "#666677", "#e3e6ec", "#c2410c", "#2563a8"


def check_flags(flags: TrainFlags) -> None:
    """Refuse flags that say nothing beside --ablations.

    Raises:
        UsageError: naming the first of them.
    """
    for name in WITHOUT_A_USE:
        if getattr(flags, name) is not None:
            raise UsageError(f"--ablations trains edgevit_xxs and every ablation of it from the start; drop --{name}")


def show(study: "AblationStudy") -> None:
    """Print the table and write it, its figures and a picture beside the runs.

    Raises:
        UsageError: the folder cannot be written.
    """
    table = study_table(study)
    table.print()
    for line in study_lines(study):
        say(line)
    canvas = draw(study)
    notes = [f"- {markdown_text(line)}" for line in study_lines(study)]
    page = "\n".join(["# Ablations\n", f"![top-1]({PLOT_NAME}.svg)\n", table.markdown(), *notes])
    contents: dict[str, str | bytes] = {
        PAGE_NAME: f"{page}\n",
        DOCUMENT_NAME: json_bytes(study_document(study)),
        f"{PLOT_NAME}.svg": canvas.svg(),
        f"{PLOT_NAME}.png": canvas.png(),
    }
    write_together(study.folder, contents)
    say(f"saved: {study.folder}: {', '.join(contents)}")


def study_table(study: "AblationStudy") -> Table:
    """Return one row for each network, the unablated one first."""
    side, recipe = study.recipe.image_size, study.recipe
    title = (
        f"ablations trained alike: {recipe.epochs:g} epochs, {side}x{side}, seed {recipe.seed}; {study.pictures} pictures counted"
    )
    return Table(title=title, columns=COLUMNS, rows=[[*fact_cells(each.facts), *_figures(each)] for each in study.networks])


def _figures(network: "TrainedAblation") -> Iterator[str]:
    top1, pairing = network.accuracy.top1, network.pairing
    low, high = top1.interval
    yield f"{top1.value:.2%} ({low:.2%} to {high:.2%})"
    if pairing is None:
        yield from ("", "", "")
    else:
        gain, least, most = network.gain
        yield f"{gain:+.2%} ({least:+.2%} to {most:+.2%})"
        yield from (f"{pairing.wrong_to_right}, {pairing.right_to_wrong}", f"{pairing.mcnemar_p:.2g}")
    yield f"{network.elapsed_s:.0f} s"


def study_lines(study: "AblationStudy") -> list[str]:
    """Say what the table means, and what it cannot show."""
    from edgevit_deploy.data.pictures import named
    from edgevit_deploy.measure.ablations import ABBREVIATIONS

    side = study.recipe.image_size
    return [
        f"{ABBREVIATIONS}. The depths cost what the published network does at 224x224; MACs here are of {side}x{side}.",
        "Intervals are of the pictures: top-1 by Wilson, the difference picture by picture. Another seed moves top-1 too, and no "
        "interval here holds that.",
        *_words_on_the_choice(study),
        f"{len(study.classes)} classes at {side}x{side} show which network learns faster by this recipe. What the paper says is "
        "of ImageNet's thousand classes; a few small classes, ten grey ones say, neither confirm nor refute it.",
        *(f"{each.facts.variant}: {note}" for each in study.networks for note in each.notes),
        *(
            f"{each.facts.variant}: {len(each.broken)} pictures could not be read and were left out: {named(each.broken)}"
            for each in study.networks
            if each.broken
        ),
    ]


def _words_on_the_choice(study: "AblationStudy") -> Iterator[str]:
    """Say that the weights were chosen by the pictures they are counted on, where there was anything to choose from."""
    most = max(each.evaluations for each in study.networks)
    if most > 1:
        yield (
            f"What is counted of each network is the best of up to {most} evaluations on these same pictures, so every top-1 is "
            "a little too good; no interval or p value knows of that choice."
        )


def study_document(study: "AblationStudy") -> dict[str, object]:
    """Return the JSON document."""
    return {
        "folder": study.folder,
        "recipe": study.recipe,
        "classes": study.classes,
        "pictures": study.pictures,
        "networks": [_network_document(each) for each in study.networks],
        "notes": study_lines(study),
    }


def _network_document(network: "TrainedAblation") -> dict[str, object]:
    top1, pairing = network.accuracy.top1, network.pairing
    document: dict[str, object] = {
        **{name: getattr(network.facts, name) for name in network.facts.__slots__},
        "weights": network.weights,
        "top1": top1,
        "top1_interval": top1.interval,
        "elapsed_s": network.elapsed_s,
    }
    if pairing is None:
        return document
    gain, low, high = network.gain
    return document | {
        "difference": gain,
        "difference_interval": (low, high),
        "right_only_here": pairing.wrong_to_right,
        "right_only_there": pairing.right_to_wrong,
        "mcnemar_p": pairing.mcnemar_p,
    }


def draw(study: "AblationStudy") -> Canvas:
    """Draw each network's top-1 with its interval, in the order of the table."""
    height = TOP + ROW * len(study.networks) + BOTTOM
    canvas = Canvas(width=WIDTH, height=height, label="top-1 of the ablations with 95 % intervals")
    canvas.words(LEFT, 24, f"top-1 in %, {study.pictures} pictures, 95 % interval of the pictures", colour=INK, bold=True)
    ends = [100 * end for each in study.networks for end in each.accuracy.top1.interval]
    room = max(0.05 * (max(ends) - min(ends)), 0.1)
    low, high, foot = min(ends) - room, max(ends) + room, height - BOTTOM

    def across(percent: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * (percent - low) / (high - low)

    for value in round_numbers(low, high):
        canvas.path([(across(value), TOP - 8), (across(value), foot)], GRID)
        canvas.words(across(value), foot + 18, f"{value:g}", "middle", DIM)
    base = across(100 * study.networks[0].accuracy.top1.value)
    canvas.path([(base, TOP - 8), (base, foot)], OURS, 1.2)
    for row, network in enumerate(study.networks):
        top1, y, colour = network.accuracy.top1, TOP + ROW * (row + 0.5), THEIRS if row else OURS
        least, most = (across(100 * end) for end in top1.interval)
        canvas.words(LEFT - 12, y + 4, network.facts.variant, "end", INK)
        canvas.path([(least, y), (most, y)], colour, 1.6)
        canvas.dot(across(100 * top1.value), y, "circle", 5, fill=colour, edge=colour)
    side = study.recipe.image_size
    canvas.words(LEFT, height - 12, f"{study.recipe.epochs:g} epochs at up to {side}x{side}, one seed", colour=DIM)
    return canvas
