"""What was measured, as JSON and as a page of tables."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from edgevit_deploy.spec import Preprocess, Size
from preprocessing.differences import Difference, Measured
from preprocessing.pictures import GRAIN, KINDS, Group

LARGE = Preprocess(resize=(256, 256), crop=(224, 224))
"""As the published evaluation has it; no trained network here takes it, so that only pixels are compared."""

LABELLED: dict[Group, str] = {"enlarged": "as they are", "grain": "with grain", "turned": "on their side, by EXIF"}

ENLARGED = (
    "Pictures of 12 MP are photographs of 640 x 427, enlarged bicubically to 4000 x 3000, with drawn grain (a standard deviation "
    f"of {GRAIN / 2:g})."
)
"""No camera took them."""

LEFT_OUT = ("low", "medium", "INTER_LINEAR", "INTER_CUBIC", "antialias=False")
"""Ends of the names of ways that the table of kinds does not show: there it is about files, not about filters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A run of the script: what was measured, by which versions, and what is not there, by the name of each way."""

    measured: Measured
    versions: Sequence[str]
    not_run: dict[str, str]

    @property
    def _small(self) -> Size:
        return next(job.preprocess.crop for job in self.measured.jobs if job.picture.label)

    def document(self) -> dict[str, Any]:
        """Return everything for programs."""
        measured = self.measured
        groups = list(dict.fromkeys((job.picture.group, job.preprocess.crop) for job in measured.jobs))
        ways = {}
        for way in measured.found:
            of_groups = {f"{group} {crop[0]}": _fields(measured.difference(way, group, crop)) for group, crop in groups}
            of_kinds = {kind: _fields(measured.difference(way, kind=kind)) for kind in KINDS}
            ways[way] = {**of_groups, "worst pixel": {kind: found and found["worst"] for kind, found in of_kinds.items()}}
        return {"versions": [*self.versions], "not_run": self.not_run, "ways": ways, "left": measured.left()}

    def page(self) -> str:
        """Return the page in Markdown."""
        labelled = sum(job.picture.group == "enlarged" for job in self.measured.jobs)
        not_run: dict[str, list[str]] = {}
        for way, missing in self.not_run.items():
            not_run.setdefault(missing, []).append(way)
        parts = [
            "# From a picture's file to the network's pixels: each way against Python's",
            f"By `python docs/measurements/scripts/compare_preprocessing.py OUTDIR`, with {', '.join(self.versions)}.",
            *(f"**Not run**, for want of {missing}: {', '.join(ways)}." for missing, ways in not_run.items()),
            "## In one table",
            self._summary(),
            "## Photographs that every way reads alike: 8 bits, upright, sRGB",
            self._photographs("plain"),
            "## Photographs that ask for care: turned by EXIF, CMYK, wide gamut, see-through, 16 bits",
            self._photographs("special"),
            f"## {labelled} labelled pictures of the network's kind, as JPEG of 560 to 720 pixels a side",
            self._labelled(),
            "## Which files: worst pixel at 224",
            ENLARGED,
            self._kinds(),
            "## What is left of a difference in our own ways",
            "\n".join(f"- {line}" for line in self.measured.left()) or "Nothing.",
        ]
        return "\n\n".join(parts) + "\n"

    def _summary(self) -> str:
        """Return the table of plain photographs, and of labelled pictures with grain and on their side."""
        count = sum(job.picture.group == "grain" for job in self.measured.jobs)
        head = ["way", "worst pixel", "mean", "largest logit difference", "other top-1", "other top-5"]
        head += [f"of {count} with grain: other top-1", "right", "turned by EXIF: right"]
        rows = []
        for way in self.measured.found:
            small, large = (self.measured.difference(way, "plain", crop) for crop in (self._small, LARGE.crop))
            _, *grain = _of_labelled(self.measured.difference(way, "grain"))
            *_, right = _of_labelled(self.measured.difference(way, "turned"))
            rows.append([way, *_of_pixels(large), *_of_decisions(small), *grain, right])
        return _table(head, rows)

    def _photographs(self, group: Group) -> str:
        measured = self.measured
        head = ["way", "at 224: worst pixel", "mean", "at 64: worst pixel", "mean", "largest logit difference"]
        head += ["other top-1", "other top-5"]
        rows = []
        for way in measured.found:
            small, large = (measured.difference(way, group, crop) for crop in (self._small, LARGE.crop))
            missed = "" if small is None or small.read == small.pictures else f" ({small.pictures - small.read} not read)"
            rows.append([f"{way}{missed}", *_of_pixels(large), *_of_pixels(small), *_of_decisions(small)])
        return _table(head, rows)

    def _labelled(self) -> str:
        columns = [f"{words}: {what}" for words in LABELLED.values() for what in ("worst pixel", "other top-1", "right")]
        rows = []
        for way in self.measured.found:
            cells: list[str] = []
            for group in LABELLED:
                cells += _of_labelled(self.measured.difference(way, group))
            rows.append([way, *cells])
        return _table(["way", *columns], rows)

    def _kinds(self) -> str:
        ways = [way for way in self.measured.found if not way.endswith(LEFT_OUT)]
        rows = []
        for kind in KINDS:
            found = [self.measured.difference(way, kind=kind, crop=LARGE.crop) for way in ways]
            rows.append([kind, *("not read" if difference is None else str(difference.worst) for difference in found)])
        return _table(["", *ways], rows)


def _fields(difference: Difference | None) -> dict[str, Any] | None:
    if difference is None:
        return None
    known = {name: value for name, value in asdict(difference).items() if value is not None}
    return {name: float(f"{value:.4g}") if isinstance(value, float) else value for name, value in known.items()}


def _of_pixels(difference: Difference | None) -> list[str]:
    return ["not read", ""] if difference is None else [str(difference.worst), _short(difference.mean)]


def _of_decisions(difference: Difference | None) -> list[str]:
    if difference is None or difference.logit is None:
        return ["", "", ""]
    return [_short(difference.logit), f"{difference.top1} of {difference.read}", f"{difference.top5} of {difference.read}"]


def _of_labelled(difference: Difference | None) -> list[str]:
    if difference is None or difference.right is None:
        return ["not read", "", ""]
    return [str(difference.worst), str(difference.top1), f"{100 * difference.right / difference.read:.1f} %"]


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(line)} |" for line in [head, ["---"] * len(head), *rows])


def _short(value: float) -> str:
    return "0" if value == 0 else f"{value:.2g}" if value < 100 else f"{value:.0f}"
