"""What `convert.py bench --against ablations` shows: what each alternative to the published block costs on this runtime."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from rich.text import Text

if TYPE_CHECKING:
    from edgevit_deploy.measure.ablations import NetworkFacts
    from edgevit_deploy.measure.result import Benchmark

FACT_COLUMNS = ("network", "replaced", "depths", "million MACs", "million parameters")
COLUMNS = (*FACT_COLUMNS, "median ms (95 %)", "x {variant} (95 %)", "ms a GMAC", "verdict")
WORDS = (
    "ablations: networks after the idea of the paper's table 4, not the paper's own, each as deep as costs what the published "
    "one does at 224x224. {terms}. Random weights, converted as the bundle was. MACs: counted by PyTorch at this image size; the "
    "paper calls them FLOPs."
)


def ablation_words() -> str:
    """Say what the table's words mean."""
    from edgevit_deploy.measure.ablations import ABBREVIATIONS

    return WORDS.format(terms=ABBREVIATIONS)


def fact_cells(facts: "NetworkFacts") -> list[str | Text]:
    """Return what is known of a network before it is measured."""
    return [
        facts.variant,
        facts.replaced,
        "-".join(map(str, facts.depths)),
        f"{facts.macs / 1e6:.1f}",
        f"{facts.parameters / 1e6:.2f}",
    ]


def ablation_columns(networks: "Mapping[str, NetworkFacts]", base: str) -> list[str]:
    """Return the headings of a table of ablations; `base` is the label of the unablated network."""
    return [column.format(variant=networks[base].variant) for column in COLUMNS]


def ablation_rows(networks: "Mapping[str, NetworkFacts]", base: str, benchmark: "Benchmark") -> list[list[str | Text]]:
    """Return the networks that were timed, fastest first, each beside the unablated one.

    Args:
        networks: what each is, by its label.
        base: the label of the unablated one.
        benchmark: with the results of both.
    """
    results = {result.label: result for result in benchmark.results if result.label in networks}
    rows = []
    for result in sorted(results.values(), key=lambda result: result.median_ms):
        facts, comparison, itself = networks[result.label], benchmark.compare(result, results[base]), result.label == base
        low, high = result.median_interval_ms
        rows.append(
            [
                *fact_cells(facts),
                f"{result.median_ms:.2f} ({low:.2f} to {high:.2f})",
                "1" if itself else "{:.3f} ({:.3f} to {:.3f})".format(comparison.ratio, *comparison.interval),
                f"{ms_a_gmac(result.median_ms, result.batch, facts):.2f}",
                "" if itself else comparison.verdict,
            ]
        )
    return rows


def ms_a_gmac(median_ms: float, batch: int, facts: "NetworkFacts") -> float:
    """Return how long a billion multiply-accumulates take in a network."""
    return median_ms / (batch * facts.macs / 1e9)
