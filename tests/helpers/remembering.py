"""A runtime without PyTorch, which takes seconds to load: it knows the golden data of the bundle that its file is in."""

import json
from collections.abc import Mapping

import numpy as np

from edgevit_deploy.registry import Availability
from edgevit_deploy.session import Array, Session


class RememberingSession(Session):
    """Answers each golden input with its golden output."""

    name = "fake runtime"

    @classmethod
    def probe(cls) -> Availability:
        return Availability(ok=True, detail="always there")

    def _load(self) -> None:
        golden = json.loads((self.path.parent / "manifest.json").read_text())["golden"]
        (output,) = golden["outputs"]
        self._known, self._answers = (
            np.fromfile(self.path.parent / array["path"], "<f4").reshape(array["shape"]) for array in (golden["input"], output)
        )

    def _run(self, feeds: Mapping[str, Array]) -> Mapping[str, Array]:
        (images,), (spec,) = feeds.values(), self.outputs
        rows = [int(np.flatnonzero((self._known == image).all(axis=(1, 2, 3)))[0]) for image in images]
        return {spec.name: self._answers[rows]}

    def _unload(self) -> None:
        pass
