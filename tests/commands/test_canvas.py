"""Text from outside in pictures: an SVG stays XML, and a PNG stays small, whatever it says."""

from io import BytesIO
from xml.etree import ElementTree

import pytest
from PIL import Image

from edgevit_deploy.commands.bench.plot import svg_plot
from edgevit_deploy.commands.canvas import LONGEST, Canvas
from tests.helpers.records import timed

CONTROLS = ["\x00", "\x1b[31m", "\x08", "\x7f", "\ud800", "\ufffe", "\uffff", "\n", "\r", "\u2028", "\u202e"]


@pytest.mark.parametrize("character", CONTROLS)
def test_no_character_breaks_a_picture(character: str) -> None:
    text = f"a<{character}>b & 'c\""
    canvas = Canvas(width=200, height=20, label=text)
    canvas.words(2, 14, text)
    root = ElementTree.fromstring(canvas.svg().encode())
    (shown,) = [shape.text for shape in root if shape.tag.endswith("text")]
    assert shown is not None
    assert (shown[:2], shown[-8:]) == ("a<", ">b & 'c\"")
    assert root.attrib["aria-label"] == shown
    assert character not in shown
    again = Canvas(width=200, height=20, label="")
    again.words(2, 14, shown)
    assert canvas.png() == again.png(), "both pictures show the same"


@pytest.mark.parametrize("character", CONTROLS)
def test_nor_the_bars_of_bench(character: str) -> None:
    root = ElementTree.fromstring(svg_plot([timed(f"a{character}b", 4.0)], f"on a{character}b").encode())
    texts = [shape.text or "" for shape in root if shape.tag.endswith("text")]
    assert sum(text.endswith("b") for text in texts) == 2
    assert not any(character in text for text in texts)


def test_plain_text_stays_as_it_is() -> None:
    canvas = Canvas(width=60, height=20, label="été 猫 1 ms")
    canvas.words(2, 14, "n" * LONGEST)
    root = ElementTree.fromstring(canvas.svg())
    assert root.attrib["aria-label"] == "été 猫 1 ms"
    assert root[-1].text == "n" * LONGEST


def test_an_endless_text_is_cut() -> None:
    canvas = Canvas(width=60, height=20, label="endless")
    canvas.words(2, 14, "n" * 300_000)
    root = ElementTree.fromstring(canvas.svg())
    assert root[-1].text == "n" * LONGEST + "..."
    with Image.open(BytesIO(canvas.png())) as picture:
        assert picture.size == (120, 40)
