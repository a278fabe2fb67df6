"""`evaluate` of detectors whose outputs are no numbers: counted and said, not shown as pictures without boxes."""

from collections.abc import Mapping

import numpy as np
import pytest

from edgevit_deploy.session import Array
from tests.commands.test_evaluate_detection import SIZES, Capture, bundle, evaluate, pictures
from tests.helpers.fakes import FakeSession

pytest.importorskip("pycocotools")


@pytest.mark.parametrize(("output", "value"), [("logits_p4", np.nan), ("deltas_p7", np.inf), ("logits_p3", -np.inf)])
def test_outputs_that_are_not_finite_are_counted_and_said(
    output: str, value: float, fake_target: None, monkeypatch: pytest.MonkeyPatch, capfd: Capture
) -> None:
    document, said = evaluate(capfd, bundle(), "--data", pictures())
    assert document["rows"][0]["not_finite"] == 0
    assert "not finite" not in said, "negative control"
    right = FakeSession._run

    def spoilt(self: FakeSession, feeds: Mapping[str, Array]) -> Mapping[str, Array]:
        arrays = dict(right(self, feeds))
        arrays[output] = arrays[output].copy()
        arrays[output][:, 0, 0] = value  # one number of each picture
        return arrays

    monkeypatch.setattr(FakeSession, "_run", spoilt)
    document, said = evaluate(capfd, bundle(), "--data", pictures())
    assert document["rows"][0]["not_finite"] == len(SIZES)
    assert f"outputs of {len(SIZES)} pictures are not finite, and nothing is found there" in " ".join(said.split())
