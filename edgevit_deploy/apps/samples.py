"""The samples: a folder for each platform beside the package's code, with a `sample.toml` that says what it can load."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec

from edgevit_deploy.errors import UsageError, did_you_mean
from edgevit_deploy.spec import INPUTS, InputKind

SAMPLES = Path(__file__).parents[1] / "examples"
SAMPLE_NAME = "sample.toml"
VECTORS_NAME = "vectors.json"
"""What the samples' own preprocessing must give; beside the samples, since every language reads the same file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BackEnd:
    """A runtime in a sample.

    Attributes:
        library: its name and the versions that it was written for.
        proof: in a sentence, what of it was run, or only compiled, and where.
    """

    library: str
    proof: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """A project of one platform.

    Attributes:
        platform: its name on the command line, and that of its folder.
        title: what it is, in a few words.
        bundle: the folder in it where the bundle goes, as a POSIX path.
        next: command lines that build and start it, in its folder.
        backends: by the target whose files each loads.
        vectors: where in it `vectors.json` goes, for its own tests.
        takes: the kinds of input that it can give a file.
    """

    platform: str
    title: str
    bundle: str
    next: tuple[str, ...]
    backends: Mapping[str, BackEnd]
    vectors: str
    takes: tuple[InputKind, ...] = tuple(INPUTS)

    @property
    def folder(self) -> Path:
        """Where its files are."""
        return SAMPLES / self.platform


def platforms() -> tuple[str, ...]:
    """Return the names of the platforms that have a sample."""
    return tuple(sorted(path.parent.name for path in SAMPLES.glob(f"*/{SAMPLE_NAME}")))


def find_sample(platform: str) -> Sample:
    """Return the sample of a platform.

    Raises:
        UsageError: there is none; the message names the closest.
    """
    if platform not in platforms():
        raise UsageError(f"no sample for {platform!r}; {did_you_mean(platform, platforms())}")
    table = msgspec.toml.decode((SAMPLES / platform / SAMPLE_NAME).read_bytes())
    return msgspec.convert({"platform": platform, **table}, type=Sample)
