"""Jobs in this process: what a worker makes of what it is sent is what the sender would have made."""

from pathlib import Path

import pytest

from edgevit_deploy.data.photographs import PictureFolder, find_pictures
from edgevit_deploy.every_target import Network, convert_network
from edgevit_deploy.fleet.jobs import ConvertJob, Source
from edgevit_deploy.fleet.parcel import check_parcel
from edgevit_deploy.model.loading import ModelOrigin
from edgevit_deploy.request import FileRequest
from tests.helpers.trained import WEIGHTS, write_pictures


def flat(images: Path) -> None:
    pass


def tree(images: Path) -> None:
    """Two classes."""
    for number, picture in enumerate(sorted(images.iterdir())):
        (images / str(number % 2)).mkdir(exist_ok=True)
        picture.rename(images / str(number % 2) / picture.name)


def table(images: Path) -> None:
    """Another order than the names have, and pictures here and in a subfolder."""
    first, *others = sorted(path.name for path in images.iterdir())
    (images / "more").mkdir()
    (images / first).rename(images / "more" / first)
    lines = ["file,label", *(f"{name},a class" for name in others), f"more/{first},the last class"]
    (images / "labels.csv").write_text("\n".join(lines))


@pytest.mark.parametrize("arrange", [flat, tree, table])
def test_a_conversion_reads_the_senders_photographs(only_fake: None, tmp_path: Path, arrange: object) -> None:
    images = write_pictures(tmp_path / "pictures", "val", 4, ("bag",)) / "bag"
    assert callable(arrange)
    arrange(images)
    folder: PictureFolder = find_pictures(images)
    assert len(folder.names) == 4
    request = FileRequest(image_size=32, precision="fp32")
    (here,) = convert_network(
        Network(origin=ModelOrigin(weights=WEIGHTS, image_size=(32, 32)), output=tmp_path / "out"), request, photographs=folder
    ).attempts
    assert here.conversion is not None

    source = Source(
        weights=(WEIGHTS.name, WEIGHTS.read_bytes()),
        photographs=tuple((name, (images / name).read_bytes()) for name in folder.names),
    )
    job = ConvertJob(target="fake", request=request, origin=ModelOrigin(weights=Path("elsewhere"), image_size=(32, 32)))
    there = job.run(source)
    assert there.parcel is not None
    manifest, expected = check_parcel(there.parcel, "the worker"), here.conversion.manifest
    assert (manifest.probes, manifest.parity, manifest.golden) == (expected.probes, expected.parity, expected.golden)
    assert manifest.probes is not None
    assert manifest.probes.photographs == 4
