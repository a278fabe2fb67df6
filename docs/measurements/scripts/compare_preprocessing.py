"""How far is each way from a picture's file to the network's pixels from the one that the network was judged with?

    python docs/measurements/scripts/compare_preprocessing.py OUTDIR [--photographs N] [--labelled N] [--ways WORD...]

The yardstick is `edgevit_deploy` in Python, with Pillow: its row is 0 by definition. Beside it: the samples' own C++, JavaScript
and Kotlin, and what people write. The network is the trained one of `tests/fixtures/trained`, in PyTorch, float32. Writes
OUTDIR/preprocessing.md and OUTDIR/preprocessing.json. What a way needs and is not there is named, and the way is not run. For all
of them:

    .ci/install-apps && sudo apt-get install libstb-dev && pip install -e '.[test,preprocessing]'
    mkdir -p build/preprocessing && cp docs/measurements/scripts/preprocessing/package*.json build/preprocessing
    npm ci --prefix build/preprocessing --ignore-scripts
"""

import argparse
import json
import tempfile
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from preprocessing.differences import Measured
from preprocessing.page import LARGE, Run
from preprocessing.pictures import TRAINED, write_labelled, write_photographs
from preprocessing.programs import BROWSER, CPP, KOTLIN_TOOL, PICA_TOOL, STB_TOOL
from preprocessing.ways import OPENCV, PILLOW, TORCH, Job, Pixels, Tool
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from edgevit_deploy.data.preprocess import normalise
from edgevit_deploy.model.loading import LoadedModel, ModelOrigin, load_model
from edgevit_deploy.spec import Preprocess

TOOLS = (PILLOW, CPP, BROWSER, KOTLIN_TOOL, PICA_TOOL, STB_TOOL, OPENCV, TORCH)
WEIGHTS = TRAINED / "edgevit_xxs_fashion-mnist_64.safetensors"
AT_ONCE = 50


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path)
    parser.add_argument("--photographs", type=int, help="how many files of them; all if not given")
    parser.add_argument("--labelled", type=int, default=200, help="how many labelled pictures, 1 to 600")
    parser.add_argument("--ways", nargs="+", default=[""], metavar="WORD", help="those of tools that have a way named so")
    flags = parser.parse_args(arguments)
    chosen = [tool for tool in TOOLS if tool is PILLOW or any(word in way for way in tool.ways for word in flags.ways)]
    tools = {tool: tool.missing() for tool in chosen}
    not_run = {way: missing for tool, missing in tools.items() if missing for way in tool.ways}
    there = [tool for tool, missing in tools.items() if not missing]
    model = load_model(ModelOrigin(weights=WEIGHTS))
    with tempfile.TemporaryDirectory() as scratch, _progress() as progress:
        jobs = _jobs(Path(scratch), flags.photographs, flags.labelled, model.spec.preprocess, progress)
        measured = _measured(jobs, there, model, Path(scratch), progress)
    run = Run(measured=measured, versions=[tool.version() for tool in there], not_run=not_run)
    flags.output.mkdir(parents=True, exist_ok=True)
    (flags.output / "preprocessing.json").write_text(json.dumps(run.document(), indent=1) + "\n")
    (flags.output / "preprocessing.md").write_text(run.page())
    print(run.page(), end="")


def _progress() -> Progress:
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    return Progress(*columns, console=Console(stderr=True))


def _jobs(folder: Path, photographs: int | None, labelled: int, own: Preprocess, progress: Progress) -> list[Job]:
    """Write all pictures, and return what is to be done with them."""
    task = progress.add_task("writing pictures", total=None)
    pictures = folder / "pictures"
    pictures.mkdir()
    jobs = []
    for picture in (*islice(write_photographs(pictures), photographs), *write_labelled(pictures, labelled)):
        sizes = (own,) if picture.label else (own, LARGE)
        jobs += [Job(picture=picture, preprocess=preprocess) for preprocess in sizes]
        progress.advance(task)
    progress.update(task, total=len(jobs), completed=len(jobs))
    return jobs


def _measured(jobs: Sequence[Job], tools: Sequence[Tool], model: LoadedModel, scratch: Path, progress: Progress) -> Measured:
    ways = sorted((way for tool in tools for way in tool.ways), key=lambda way: not way.startswith("ours"))
    found: dict[str, list[Pixels | str]] = {way: [] for way in ways}
    for number, tool in enumerate(tools):
        task = progress.add_task(tool.ways[0].removeprefix("ours: "), total=len(jobs))
        for of_job in tool.run(jobs, scratch / str(number)):
            for way in tool.ways:
                found[way].append(of_job[way])
            progress.advance(task)
    task = progress.add_task("the network", total=len(found))
    known: dict[bytes, NDArray[np.float64]] = {}
    logits = {}
    for way, pixels in found.items():
        logits[way] = _logits(jobs, pixels, model, known)
        progress.advance(task)
    return Measured(jobs=jobs, found=found, logits=logits, classes=model.labels)


@torch.no_grad()
def _logits(
    jobs: Sequence[Job], found: Sequence[Pixels | str], model: LoadedModel, known: dict[bytes, NDArray[np.float64]]
) -> list[NDArray[np.float64] | None]:
    """Return the network's outputs for pixels of its own size; those that were seen before are not run again."""
    own = model.spec.preprocess
    pixels = [None if isinstance(one, str) or job.preprocess != own else one for job, one in zip(jobs, found, strict=True)]
    new = list({one.tobytes(): one for one in pixels if one is not None and one.tobytes() not in known}.values())
    for start in range(0, len(new), AT_ONCE):
        some = np.stack(new[start : start + AT_ONCE])
        outputs = model.network(torch.from_numpy(normalise(some, own, "tensor"))).double().numpy()
        known.update({one.tobytes(): row for one, row in zip(some, outputs, strict=True)})
    return [None if one is None else known[one.tobytes()] for one in pixels]


if __name__ == "__main__":
    main()
