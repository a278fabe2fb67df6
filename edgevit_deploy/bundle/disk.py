"""Whether there is room for a bundle, and whether that is why something failed: converters in C++ have their own words for it."""

import errno
import shutil
from dataclasses import dataclass
from pathlib import Path

from edgevit_deploy.errors import UsageError, first_line
from edgevit_deploy.process.scratch import temporary_folder

FULL_DISK_BYTES = 2**20
"""With less than this left on it, a disk counts as full."""

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@dataclass(frozen=True, slots=True, kw_only=True)
class Needs:
    """What a bundle takes of the disk: `kept_bytes` at least in the end, `passing_bytes` at most while it is written."""

    kept_bytes: int = FULL_DISK_BYTES
    passing_bytes: int = FULL_DISK_BYTES


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """The room there was at a bundle's place before anything was written; `free_bytes` is None where the system does not tell."""

    place: Path
    needs: Needs
    free_bytes: int | None

    @classmethod
    def at(cls, place: Path, needs: Needs) -> "Room":
        """Look how much is free.

        Raises:
            UsageError: less than the bundle takes in the end.
        """
        room = cls(place=place, needs=needs, free_bytes=_free_bytes(place.parent))
        if room.free_bytes is not None and room.free_bytes < needs.kept_bytes:
            raise UsageError(
                f"no space left for {place}: {room._figures(needs.kept_bytes)}; free space, or give another --output"
            )
        return room

    def explain(self, error: Exception) -> None:
        """Say of an error that was met in writing that the disk is full, if that is why.

        Raises:
            UsageError: the system said so, there was less room than writing may take, or no room is left for temporary files.
        """
        nothing = "; nothing was kept there: free space, or give another --output"
        if isinstance(error, OSError) and error.errno in FULL:
            raise UsageError(f"no space left while writing {self.place} ({error.strerror or error}){nothing}") from error
        if self.free_bytes is not None and self.free_bytes < self.needs.passing_bytes:
            figures = self._figures(self.needs.passing_bytes, "up to")
            raise UsageError(f"no space left for {self.place}: {figures} ({first_line(error)}){nothing}") from error
        left, temporary = _free_bytes(self.place.parent), temporary_folder()
        if left is not None and left < FULL_DISK_BYTES:
            raise UsageError(f"no space left while writing {self.place} ({first_line(error)}){nothing}") from error
        left = None if temporary is None else _free_bytes(temporary)
        if left is not None and left < FULL_DISK_BYTES:
            raise UsageError(
                f"no space left for temporary files in {temporary} ({first_line(error)}); nothing was kept: free space, or set "
                "TMPDIR to another folder"
            ) from error

    def _figures(self, wanted: int, how: str = "at least") -> str:
        return f"{(self.free_bytes or 0) / 1e6:.3g} MB are free there, and writing it takes {how} {wanted / 1e6:.3g} MB"


def _free_bytes(folder: Path) -> int | None:
    try:
        return shutil.disk_usage(folder).free
    except OSError:
        return None
