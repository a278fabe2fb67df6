"""Which conversions are tried: every two settings together at least once, instead of all settings with all others."""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from edgevit_deploy.errors import UsageError
from edgevit_deploy.exporter import Exporter
from edgevit_deploy.model.variants import find_variant
from edgevit_deploy.spec import INPUTS, Graph, InputKind, Precision, Size
from export import TARGETS
from tests.helpers.small import plan_for

VARIANTS = ("edgevit_xxs", "edgevit_xs", "edgevit_s")
PAIRS: list[tuple[str, Precision]] = [
    (name, precision) for name, entry in TARGETS.items() for precision in entry.load().precisions
]
BATCHES = ("1", "2", "dynamic")
GRAPHS: tuple[Graph, ...] = ("deploy", "original")
INPUT_FORMS: tuple[InputKind, ...] = tuple(INPUTS)
SIZES: tuple[Size, ...] = ((64, 64), (64, 160))


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One conversion on the command line."""

    pair: tuple[str, Precision]
    variant: str
    batch: str
    graph: Graph
    takes: InputKind
    size: Size

    @property
    def target(self) -> str:
        return self.pair[0]

    @property
    def precision(self) -> Precision:
        return self.pair[1]

    def flags(self) -> tuple[str, ...]:
        """The command line's, without target, precision and place."""
        height, width = self.size
        return (
            *("--model", self.variant, "--image-size", f"{height}x{width}", "--batch", self.batch),
            *("--graph", self.graph, "--input", self.takes),
        )

    def name(self) -> str:
        """The test's name for it."""
        height, width = self.size
        return "-".join((*self.pair, self.variant, self.batch, self.graph, self.takes, f"{height}x{width}"))

    def can_be_built(self, exporter: Exporter[Any]) -> bool:
        """Whether the target does not refuse it; that what it refuses is refused well is tested with the target."""
        plan = plan_for(
            find_variant(self.variant).with_image_size(self.size),
            exporter.options_type(),
            precision=self.precision,
            batch=1 if self.batch == "dynamic" else int(self.batch),
            dynamic_batch=self.batch == "dynamic",
            graph=self.graph,
            takes=self.takes,
        )
        try:
            exporter.refuse(plan)
        except UsageError:
            return False
        return True


def all_cells() -> list[Cell]:
    """Every combination that its target can build."""
    settings = itertools.product(PAIRS, VARIANTS, BATCHES, GRAPHS, INPUT_FORMS, SIZES)
    names = ("pair", "variant", "batch", "graph", "takes", "size")
    cells = [Cell(**dict(zip(names, values, strict=True))) for values in settings]  # type: ignore[arg-type]
    exporters = {target: entry.load()() for target, entry in TARGETS.items()}
    return [cell for cell in cells if cell.can_be_built(exporters[cell.target])]


def two_by_two(cell: Cell) -> set[tuple[tuple[str, Any], tuple[str, Any]]]:
    """Every two settings of a cell, by name and value."""
    return set(itertools.combinations(asdict(cell).items(), 2))


def pairwise(cells: Sequence[Cell], settings: Callable[[Cell], set[Any]] = two_by_two) -> list[Cell]:
    """Choose cells until every two settings that occur together in any cell do so in a chosen one, the richest cell first."""
    missing = set().union(*map(settings, cells))
    left, chosen = list(cells), []
    while missing:
        best = max(left, key=lambda cell: len(settings(cell) & missing))
        chosen.append(best)
        missing -= settings(best)
        left.remove(best)
    return chosen
