"""What a training tells TensorBoard, over a stop and a resumption, too."""

import json
import sys
import types
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from edgevit_deploy import train_model
from edgevit_deploy.registry import Availability
from tests.helpers.training import QUICK, metrics, train_until

SCALARS = ("loss", "learning_rate", "images_per_s", "top1", "top5", "ema_top1", "ema_top5")


class FakeWriter:
    """Keeps events in a file of its own, as TensorBoard does; `shown` is what its reader makes of all of them."""

    def __init__(self, folder: str, purge_step: int | None = None) -> None:
        self.folder = Path(folder)
        self.folder.mkdir(exist_ok=True)
        self.file = self.folder / f"events-{len(list(self.folder.iterdir()))}"
        self._add(["purge", purge_step, 0])

    def add_scalar(self, name: str, value: float, step: int) -> None:
        self._add([name, step, value])

    def close(self) -> None:
        self._add(["closed", 0, 0])

    def _add(self, event: list[Any]) -> None:
        with self.file.open("a") as file:
            file.write(json.dumps(event) + "\n")


def shown(folder: Path) -> dict[tuple[str, int], list[float]]:
    """What is left: a writer that begins at a step hides that step, and all after it, of those before."""
    events: list[tuple[str, int, float]] = []
    for file in sorted(folder.iterdir()):
        for name, step, value in map(json.loads, file.read_text().splitlines()):
            if name == "purge":
                events = [event for event in events if step is None or event[1] < step]
            elif name != "closed":
                events.append((name, step, value))
    return {key: [value for *found, value in events if tuple(found) == key] for key in {event[:2] for event in events}}


@pytest.fixture
def tensorboard(monkeypatch: pytest.MonkeyPatch) -> None:
    module = types.ModuleType("torch.utils.tensorboard")
    module.SummaryWriter = FakeWriter  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", module)
    monkeypatch.setattr("edgevit_deploy.train.records.requires", lambda *_: Availability(ok=True, detail="", fix=""))


@pytest.mark.slow
@pytest.mark.usefixtures("tensorboard")
def test_tensorboard_shows_each_line_once(data: Path, tmp_path: Path) -> None:
    """Stopped after the line of the tenth update, whose state was not saved: its line is written again, the ninth's stays."""
    folder = tmp_path / "run"
    options: dict[str, Any] = {"checkpoint_every": 1, "tensorboard": True}
    train_until(lambda measured: measured.epoch == 2, data, folder, QUICK, **options)
    train_model(data, recipe=QUICK, output=folder, processes=1, log_every=1, resume=True, **options)
    lines = metrics(folder)
    wanted = {(name, line.step): [value] for line in lines for name in SCALARS if (value := getattr(line, name)) is not None}
    assert Counter(name for name, _ in wanted) == Counter(dict.fromkeys(SCALARS[:3], 10) | dict.fromkeys(SCALARS[3:], 2))
    assert shown(folder / "tensorboard") == wanted


def test_tensorboards_own_writer_takes_it(data: Path, tmp_path: Path) -> None:
    train_model(data, recipe=QUICK, output=tmp_path / "run", processes=1, tensorboard=True)
    assert list((tmp_path / "run" / "tensorboard").glob("events.out.*"))
