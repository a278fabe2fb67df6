"""ncnn models: a folder with `model.param` (the layers, text) and `model.bin` (their weights), read without running any.

The exporter asks what pnnx has written, the runtime whether a model from anywhere may be loaded: ncnn trusts the counts in both
files, allocates what they ask for, and a layer that it does not know ends in a crash. So all of it is counted here first.

Formats: ncnn's wiki, "param and model file structure"; each weight is either tagged with its storage (src/modelbin.cpp) or raw
float32. Which layers there are, and what they read, is in `ncnn_layers.py`.
"""

import re
import struct
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from edgevit_deploy.errors import RunError
from edgevit_deploy.formats.ncnn.layers import FORBIDDEN, NOT_COMPUTING, WEIGHTS, WINDOWS, WITHOUT_WEIGHTS, Layer, Weights

PARAM_NAME = "model.param"
BIN_NAME = "model.bin"

INPUT_BLOB, OUTPUT_BLOB = "in0", "out0"
"""The names that pnnx gives, and that an app asks for; of several outputs `out0`, `out1` and so on, in their order."""

BF16_STORAGE = "use_bf16_storage"
"""The name of the option, and of the input layer of a model that is to be run with it: ncnn does not look at a layer's name, and
has no other place in its two files for what an app is to set."""

MAGIC = "7767517"
MAX_PARAM_BYTES = 4 << 20
"""About a hundred times what an EdgeViT has."""

MAX_WINDOW = 1024
"""No kernel, stride, padding or enlargement of an EdgeViT comes near it; a model may not make us allocate at will."""

STORAGES = {0: "float32", 0x01306B47: "float16"}
"""Tag -> how the weights behind it are stored. ncnn has others (8 bits, tables), which no EdgeViT file of ours uses."""

WORD = re.compile(r"[\w.:/-]{1,200}", re.ASCII)
SETTING = re.compile(r"(?:(?P<number>\d{1,2})|-233(?P<array>\d\d))=(?P<value>[-+.\deE]{1,15}(?:,[-+.\deE]{1,15})*)", re.ASCII)
"""Narrower than ncnn's own reader, which goes on somewhere else in a line that it does not understand."""

INPUT_LINE = re.compile(rf"^Input +{INPUT_BLOB} +(?P<ends>0 1 {INPUT_BLOB}.*)$", re.MULTILINE)

ITEM_BYTES = {"float32": 4, "float16": 2}


@dataclass(frozen=True, slots=True, kw_only=True)
class NcnnModel:
    """What one model holds.

    Attributes:
        layers: in the order in which they run.
        tagged: storage -> number of weights that are stored that way, of those that the format lets choose.
        raw: number of all other weights (biases of convolutions, norms): always float32.
    """

    layers: tuple[Layer, ...]
    tagged: dict[str, int]
    raw: int

    @property
    def bf16_storage(self) -> bool:
        """Whether it asks to be run with activations and weights stored in bfloat16."""
        return any(layer.kind == "Input" and layer.name == BF16_STORAGE for layer in self.layers)

    def layer_counts(self) -> dict[str, int]:
        """Return how many layers there are of each kind."""
        return dict(sorted(Counter(layer.kind for layer in self.layers).items()))

    def operator_counts(self) -> dict[str, int]:
        """Return how many layers of each kind compute something."""
        return {kind: count for kind, count in self.layer_counts().items() if kind not in NOT_COMPUTING}

    def ends(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Return the names of the inputs, and of the outputs: what no layer reads."""
        read = {name for layer in self.layers for name in layer.inputs}
        made = [name for layer in self.layers for name in layer.outputs]
        inputs = tuple(name for layer in self.layers if layer.kind == "Input" for name in layer.outputs)
        return inputs, tuple(name for name in made if name not in read)


def ends_of(outputs: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the names of the input and of so many outputs, as `NcnnModel.ends` does."""
    return (INPUT_BLOB,), tuple(f"out{place}" for place in range(outputs))


def read_ncnn_model(folder: Path) -> NcnnModel:
    """Read what a model holds and refuse what ncnn should not see; nothing in it is run.

    Raises:
        RunError: a file is missing or damaged, a layer is of a kind that no EdgeViT needs, layers are not wired to one another,
            or `model.bin` does not hold exactly the weights that `model.param` asks for.
    """
    layers = read_layers(folder / PARAM_NAME)
    tagged, raw = count_weights(folder / BIN_NAME, layers)
    return NcnnModel(layers=layers, tagged=tagged, raw=raw)


def ask_for_bf16_storage(path: Path) -> None:
    """Write into a `model.param` that it is to be run with activations and weights stored in bfloat16.

    Raises:
        RunError: it has not one line for its input.
    """
    text, count = INPUT_LINE.subn(lambda match: f"Input {BF16_STORAGE:<24} {match['ends']}", path.read_text(encoding="ascii"))
    if count != 1:
        raise RunError(f"{path.name} has {count} inputs, expected 1; convert it again")
    path.write_text(text, encoding="ascii")


def read_layers(path: Path) -> tuple[Layer, ...]:
    """Read `model.param`.

    Raises:
        RunError: naming the first line that is not good.
    """
    try:
        if path.stat().st_size > MAX_PARAM_BYTES:
            raise RunError(f"{path.name} has more than {MAX_PARAM_BYTES} bytes, so it is no EdgeViT")
        magic, counts, *lines = path.read_text(encoding="ascii").splitlines()
        layer_count, blob_count = (int(count) for count in counts.split())
    except OSError as error:
        raise RunError(f"{path.name} cannot be read ({error.strerror}); copy or convert it again") from error
    except ValueError as error:
        raise RunError(f"{path.name} is not ncnn's text format; copy or convert it again") from error
    if magic.strip() != MAGIC:
        raise RunError(f"{path.name} starts with {magic[:20]!r}, ncnn's text format with {MAGIC}; copy or convert it again")
    layers = tuple(_read_layer(line, path) for line in lines if line.strip())
    blobs = [name for layer in layers for name in layer.outputs]
    if (layer_count, blob_count) != (len(layers), len(blobs)):
        raise RunError(
            f"{path.name} announces {layer_count} layers and {blob_count} blobs, it has {len(layers)} and {len(blobs)}; "
            "copy or convert it again"
        )
    _check_wiring(layers, path)
    return layers


def count_weights(path: Path, layers: tuple[Layer, ...]) -> tuple[dict[str, int], int]:
    """Walk through `model.bin`; return how many tagged weights there are of each storage, and how many raw ones.

    Raises:
        RunError: it is shorter or longer than its layers, or stored in a way that we do not write.
    """
    tagged: Counter[str] = Counter()
    raw = 0
    try:
        size_bytes = path.stat().st_size
        with path.open("rb") as file:
            for layer in layers:
                for count, is_tagged in _weights(layer):
                    if not 0 < count <= size_bytes:
                        raise RunError(f"layer {layer.name!r} asks for {count} weights, which {path.name} does not hold")
                    if is_tagged:
                        tagged[_skip_tagged(file, layer, count)] += count
                    else:
                        file.seek(4 * count, 1)
                        raw += count
            end_bytes = file.tell()
    except OSError as error:
        raise RunError(f"{path.name} cannot be read ({error.strerror}); copy or convert it again") from error
    if end_bytes != size_bytes:
        raise RunError(f"{path.name} has {size_bytes} bytes, its layers need {end_bytes}; copy or convert it again")
    return dict(sorted(tagged.items())), raw


def _weights(layer: Layer) -> Weights:
    return WEIGHTS[layer.kind](layer) if layer.kind in WEIGHTS else iter(())


def _skip_tagged(file: IO[bytes], layer: Layer, count: int) -> str:
    """Skip one tagged weight, padded to four bytes, and return how it is stored."""
    tag = file.read(4)
    storage = STORAGES.get(struct.unpack("<I", tag)[0]) if len(tag) == 4 else None
    if storage is None:
        raise RunError(f"layer {layer.name!r}: its weights are cut off or neither float32 nor float16; copy or convert it again")
    file.seek(-(-count * ITEM_BYTES[storage] // 4) * 4, 1)
    return storage


def _read_layer(line: str, path: Path) -> Layer:
    """Read `kind name inputs outputs NAMES... setting=value...`."""
    kind, *rest = line.split()
    if kind not in WEIGHTS and kind not in WITHOUT_WEIGHTS:
        raise RunError(f"{path.name} has a layer {kind[:40]!r}, which is not among those known to compute only")
    try:
        name, input_count, output_count = rest[0], int(rest[1]), int(rest[2])
        names, pairs = rest[3 : 3 + input_count + output_count], rest[3 + input_count + output_count :]
        settings = dict(_read_setting(pair) for pair in pairs)
        if len(names) != input_count + output_count or not all(WORD.fullmatch(word) for word in (name, *names)):
            raise ValueError
    except (ValueError, IndexError):
        raise RunError(f"{path.name} has a line that is no layer: {line[:60].strip()!r}; copy or convert it again") from None
    inputs, outputs = tuple(names[:input_count]), tuple(names[input_count:])
    layer = Layer(kind=kind, name=name, inputs=inputs, outputs=outputs, settings=settings)
    _check_settings(layer, path)
    return layer


def _read_setting(text: str) -> tuple[int, str]:
    """Read `number=value` or, of an array, `-23300 - number=length,items`; ValueError when it is neither."""
    match = SETTING.fullmatch(text)
    if match is None:
        raise ValueError
    value = match["value"]
    length, *items = value.split(",")
    if items if match["array"] is None else int(length) != len(items):
        raise ValueError
    return int(match["number"] or match["array"]), value


def _check_settings(layer: Layer, path: Path) -> None:
    for setting in WINDOWS.get(layer.kind, ()):
        text = layer.settings.get(setting, "0")
        try:
            good = 0 <= float(text) <= MAX_WINDOW
        except ValueError:
            good = False
        if not good:
            raise RunError(f"{path.name}: layer {layer.name!r} has {setting}={text}, expected 0 to {MAX_WINDOW}")
    if any(layer.number(setting) for setting in FORBIDDEN.get(layer.kind, ())):
        raise RunError(f"{path.name}: layer {layer.name!r} has 8-bit or computed weights, which are not taken")


def _check_wiring(layers: tuple[Layer, ...], path: Path) -> None:
    """Every blob is made once, before it is read, and read at most once (ncnn splits what several layers read)."""
    waiting: set[str] = set()
    made: set[str] = set()
    for layer in layers:
        for name in layer.inputs:
            if name not in waiting:
                raise RunError(f"{path.name}: layer {layer.name!r} reads {name!r}, which no layer before it makes for it")
            waiting.remove(name)
        for name in layer.outputs:
            if name in made:
                raise RunError(f"{path.name}: layer {layer.name!r} makes {name!r} a second time")
            made.add(name)
            waiting.add(name)
