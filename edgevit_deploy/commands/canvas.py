"""A picture of lines, boxes, dots and words, written as SVG for pages and as PNG for everything else."""

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from edgevit_deploy.outside.text import printable, shortened, xml_text

if TYPE_CHECKING:
    from PIL.ImageDraw import ImageDraw

Anchor = Literal["start", "middle", "end"]
Mark = Literal["circle", "square", "diamond"]
Points = Sequence[tuple[float, float]]

FONT_SIZE = 13
PNG_SCALE = 2
"""Pixels of the PNG to a unit, so that text is sharp on any screen."""

SMOOTHING = 2
"""So many times larger it is drawn, and then reduced: Pillow draws edges without grey."""

EDGE = 1.5
"""Width of the line around a dot."""

LONGEST = 200
"""Characters of a text; no picture is as wide as more, and a font makes a picture of its own of them all."""


def round_numbers(low: float, high: float, at_most: int = 6) -> list[float]:
    """Return round numbers between two, to stand at an axis: whole multiples of 1, 2 or 5 times a power of ten."""
    room = max(high - low, 1e-12) / (at_most - 1)
    size = 10.0 ** math.floor(math.log10(room))
    step = next(factor * size for factor in (1, 2, 5, 10) if factor * size >= room)
    return [round(number * step, 12) for number in range(math.ceil(low / step), math.floor(high / step) + 1)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """A filled rectangle."""

    x: float
    y: float
    width: float
    height: float
    fill: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Path:
    """A line through points."""

    points: Points
    colour: str
    width: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Dot:
    """A mark about a point, with a line around it."""

    x: float
    y: float
    mark: Mark
    radius: float
    fill: str
    edge: str

    @property
    def corners(self) -> Points:
        """Those of a square or a diamond that looks as large as a circle of the radius."""
        if self.mark == "square":
            half = 0.88 * self.radius
            return [(self.x + dx, self.y + dy) for dx, dy in ((-half, -half), (half, -half), (half, half), (-half, half))]
        reach = 1.25 * self.radius
        return [(self.x + dx, self.y + dy) for dx, dy in ((0, -reach), (reach, 0), (0, reach), (-reach, 0))]


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """Text; x is where its anchor is, y its baseline."""

    x: float
    y: float
    text: str
    anchor: Anchor
    colour: str
    bold: bool
    size: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Canvas:
    """What is on a picture, in the order in which it was drawn."""

    width: int
    height: int
    label: str
    shapes: list[Box | Path | Dot | Words] = field(default_factory=list)

    def box(self, x: float, y: float, width: float, height: float, fill: str) -> None:
        """Draw a filled rectangle."""
        self.shapes.append(Box(x=x, y=y, width=width, height=height, fill=fill))

    def path(self, points: Points, colour: str, width: float = 1.0) -> None:
        """Draw a line through points."""
        self.shapes.append(Path(points=points, colour=colour, width=width))

    def dot(self, x: float, y: float, mark: Mark, radius: float, *, fill: str, edge: str) -> None:
        """Draw a mark about a point."""
        self.shapes.append(Dot(x=x, y=y, mark=mark, radius=radius, fill=fill, edge=edge))

    def words(
        self,
        x: float,
        y: float,
        text: str,
        anchor: Anchor = "start",
        colour: str = "#1f2430",
        *,
        bold: bool = False,
        size: float = FONT_SIZE,
    ) -> None:
        """Write one line of text on a baseline; its end is missing where it is far too long, and controls become escapes."""
        shown = shortened(printable(text), LONGEST)
        self.shapes.append(Words(x=x, y=y, text=shown, anchor=anchor, colour=colour, bold=bold, size=size))

    def svg(self) -> str:
        """Return the picture as SVG."""
        return "\n".join(
            [
                f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {self.width} {self.height}" width="{self.width}" '
                f'height="{self.height}" role="img" aria-label="{xml_text(self.label)}">',
                "<style>text { font-family: system-ui, sans-serif }</style>",
                f'<rect width="{self.width}" height="{self.height}" fill="#ffffff"/>',
                *map(_svg, self.shapes),
                "</svg>\n",
            ]
        )

    def png(self) -> bytes:
        """Return the picture as PNG."""
        from PIL import Image, ImageDraw

        scale = PNG_SCALE * SMOOTHING
        image = Image.new("RGB", (self.width * scale, self.height * scale), "#ffffff")
        pen = ImageDraw.Draw(image)
        for shape in self.shapes:
            _draw(pen, shape, scale)
        written = io.BytesIO()
        image.reduce(SMOOTHING).save(written, "PNG", optimize=True)
        return written.getvalue()


def _draw(pen: "ImageDraw", shape: Box | Path | Dot | Words, scale: int) -> None:
    from PIL import ImageFont

    def scaled(points: Points) -> list[tuple[float, float]]:
        return [(scale * x, scale * y) for x, y in points]

    match shape:
        case Box():
            pen.rectangle(scaled([(shape.x, shape.y), (shape.x + shape.width, shape.y + shape.height)]), fill=shape.fill)
        case Path():
            pen.line(scaled(shape.points), fill=shape.colour, width=max(1, round(scale * shape.width)))
        case Dot(mark="circle"):
            (centre,) = scaled([(shape.x, shape.y)])
            pen.circle(centre, scale * shape.radius, fill=shape.fill, outline=shape.edge, width=round(scale * EDGE))
        case Dot():
            pen.polygon(scaled(shape.corners), fill=shape.fill, outline=shape.edge, width=round(scale * EDGE))
        case Words():
            anchor = {"start": "ls", "middle": "ms", "end": "rs"}[shape.anchor]
            (place,) = scaled([(shape.x, shape.y)])
            font, stroke = ImageFont.load_default(shape.size * scale), 0.25 * scale if shape.bold else 0
            pen.text(place, shape.text, fill=shape.colour, font=font, anchor=anchor, stroke_width=stroke)


def _svg(shape: Box | Path | Dot | Words) -> str:
    match shape:
        case Box():
            return (
                f'<rect x="{shape.x:.1f}" y="{shape.y:.1f}" width="{shape.width:.1f}" height="{shape.height:.1f}" '
                f'fill="{shape.fill}"/>'
            )
        case Path():
            return (
                f'<polyline points="{_pairs(shape.points)}" fill="none" stroke="{shape.colour}" stroke-width="{shape.width:g}"/>'
            )
        case Dot():
            paint = f'fill="{shape.fill}" stroke="{shape.edge}" stroke-width="{EDGE}"'
            if shape.mark == "circle":
                return f'<circle cx="{shape.x:.1f}" cy="{shape.y:.1f}" r="{shape.radius:g}" {paint}/>'
            return f'<polygon points="{_pairs(shape.corners)}" {paint}/>'
        case Words():
            weight = ' font-weight="600"' if shape.bold else ""
            return (
                f'<text x="{shape.x:.1f}" y="{shape.y:.1f}" text-anchor="{shape.anchor}" fill="{shape.colour}" '
                f'font-size="{shape.size:g}"{weight}>'
                f"{xml_text(shape.text)}</text>"
            )


def _pairs(points: Points) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
