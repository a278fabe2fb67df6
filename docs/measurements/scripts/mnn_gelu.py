"""The same weights as MNN's converter writes them by itself, with GELU by a tanh, told to be exact, and as the deploy graph.

    python docs/measurements/scripts/mnn_gelu.py FOLDER [VARIANT]

writes the three files; no session of ours loads the first, so `time_files.py mnn 224 FILE...` times them.
"""

import sys
from pathlib import Path

from edgevit_deploy.host import THIS_HOST
from edgevit_deploy.model.loading import ModelOrigin, load_model
from edgevit_deploy.workbench import open_workbench
from export.mnn import traced
from export.mnn.converter import EXACT_GELU, convert, write_source


def main(folder: Path, variant: str = "edgevit_xxs") -> None:
    model = load_model(ModelOrigin(model=variant, seed=0))
    exporter = THIS_HOST.find_exporter("mnn")
    with open_workbench(model, THIS_HOST) as bench:
        plan = exporter.plan(model.spec, precision="fp32")
        folder.mkdir(parents=True)
        (folder / "deploy.mnn").write_bytes(bench.build(plan).path.read_bytes())
        source = write_source(traced(bench.module(plan, model.network), plan), folder)
        for name, flags in {"exact": EXACT_GELU, "tanh": ()}.items():
            convert(source, folder / name, *flags).rename(folder / f"{name}.mnn")


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
