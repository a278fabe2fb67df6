"""Copy scikit-learn's two sample photographs into a folder: `python docs/measurements/scripts/write_photographs.py FOLDER`."""

import shutil
import sys
from pathlib import Path


def photograph_paths() -> list[Path]:
    """Return the paths of the photographs inside the installed scikit-learn."""
    import sklearn.datasets

    return sorted((Path(sklearn.datasets.__file__).parent / "images").glob("*.jpg"))


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for path in photograph_paths():
        shutil.copy(path, folder)
