"""Write Fashion-MNIST as an ImageFolder tree: train/CLASS/NNNNN.png (60,000) and val/CLASS/NNNNN.png (the 10,000 test pictures).

    apt-get download dataset-fashion-mnist          # Debian's package, 31 MB, MIT licence
    python docs/measurements/scripts/write_fashion_mnist.py dataset-fashion-mnist_*.deb build/fashion-mnist

The package may be installed instead; its folder is then given. Each picture of 28 x 28 gets a border of two black pixels: the
published evaluation resizes by 256/224 and crops, which then shows the 28 x 28 of the data set and nothing else.
"""

import argparse
import gzip
import hashlib
import io
import subprocess
import tarfile
from pathlib import Path

import numpy as np
from PIL import Image

LABELS = ("t-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle-boot")
SIDE, BORDER = 28, 2
SHA256 = {
    "train-images-idx3-ubyte.gz": "b0564c3eedabfbf835052cff8503ea422014ce006caf5b757f851416ee8300c7",
    "train-labels-idx1-ubyte.gz": "0ae29f65d86684f32d1b9c85147786c547b9c6aebcaf235f0400a0cce308b056",
    "t10k-images-idx3-ubyte.gz": "cc1d090a38ace84dfa1aa66e3ada7c336ef481a96936906477e6dd344da56eaa",
    "t10k-labels-idx1-ubyte.gz": "8d3605d196f4be44669e46906da9733c8131fef761fdbfec72c424d5222f1a05",
}
SPLITS = {"train": "train", "val": "t10k"}


def read_files(source: Path) -> dict[str, bytes]:
    """Return the data set's four files by name, from the package or from the folder where it is installed."""
    if source.is_dir():
        files = {name: next(source.rglob(name)).read_bytes() for name in SHA256}
    else:
        archive = subprocess.run(["dpkg-deb", "--fsys-tarfile", source], check=True, capture_output=True).stdout
        with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
            members = {Path(member.name).name: member for member in tar if member.isfile()}
            files = {name: tar.extractfile(members[name]).read() for name in SHA256}
    for name, digest in SHA256.items():
        if hashlib.sha256(files[name]).hexdigest() != digest:
            raise SystemExit(f"{name} is not the file that this was written for; take version 0.0~git20200523.55506a9-1")
    return files


def split_of(files: dict[str, bytes], prefix: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the pictures, uint8 (n, 28, 28), and their targets, uint8 (n,)."""
    pictures = np.frombuffer(gzip.decompress(files[f"{prefix}-images-idx3-ubyte.gz"]), np.uint8, offset=16)
    targets = np.frombuffer(gzip.decompress(files[f"{prefix}-labels-idx1-ubyte.gz"]), np.uint8, offset=8)
    return pictures.reshape(-1, SIDE, SIDE), targets


def write_tree(source: Path, output: Path) -> None:
    """Write both splits."""
    files = read_files(source)
    for folder, prefix in SPLITS.items():
        for label in LABELS:
            (output / folder / label).mkdir(parents=True, exist_ok=True)
        for number, (picture, target) in enumerate(zip(*split_of(files, prefix), strict=True)):
            Image.fromarray(np.pad(picture, BORDER)).save(output / folder / LABELS[target] / f"{number:05}.png")
        print(f"{output / folder}: {number + 1} pictures in {len(LABELS)} classes")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, help="the .deb, or the folder that holds the four files")
    parser.add_argument("output", type=Path, help="where train/ and val/ are written")
    given = parser.parse_args()
    write_tree(given.source, given.output)
