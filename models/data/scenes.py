"""Scenes kept on disk, so that a data set is decoded and placed once and not in every epoch.

A folder of arrays that are mapped into memory, not read: a training set may be larger than memory. Its name is a
hash of what it was made from. ``$XDG_CACHE_HOME/opticaldr/scenes`` may be deleted at any time.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from opticaldr.errors import Refusal

Arrays = Mapping[str, NDArray[Any]]
_HEAD = 1 << 16  # bytes read at both ends of a large file


class SceneCache:
    """Arrays by the content they were made from, at most ``limit`` bytes of them.

    The least recently used make room. A damaged entry is made again.

    Args:
        limit: bytes.
        folder: where they lie.
    """

    def __init__(self, limit: int, folder: Path | None = None) -> None:
        home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        self.limit, self.folder = limit, folder or home / "opticaldr" / "scenes"

    def remember(self, key: str, size: int, make: Callable[[Path], None]) -> dict[str, NDArray[Any]]:
        """The arrays under a key, mapped (what is written stays in memory); made as ``.npy`` files if absent.

        Args:
            key: see `content_key`.
            size: bytes that they will take.
            make: writes them into a folder that exists.

        Raises:
            Refusal: ``size`` exceeds the limit.
        """
        if size > self.limit:
            raise Refusal(
                f"the scenes take {size / 2**30:.3g} GiB and the cache holds {self.limit / 2**30:.3g} GiB",
                "raise data.cache, or lower data.limit",
            )
        place = self.folder / key
        if (arrays := _open(place)) is None:
            self.folder.mkdir(parents=True, exist_ok=True)
            self.make_room(size)
            partial = Path(tempfile.mkdtemp(dir=self.folder, prefix=".partial-"))
            try:
                make(partial)
                shutil.rmtree(place, ignore_errors=True)
                partial.replace(place)
            finally:
                shutil.rmtree(partial, ignore_errors=True)
            arrays = _open(place)
            assert arrays is not None
        os.utime(place)
        return arrays

    def make_room(self, size: int) -> None:
        """Delete what was not used for longest until ``size`` bytes fit."""
        entries = sorted(
            (p for p in self.folder.iterdir() if not p.name.startswith(".")), key=lambda p: p.stat().st_mtime
        )
        sizes = {entry: sum(file.stat().st_size for file in entry.iterdir()) for entry in entries}
        for entry in entries:
            if sum(sizes.values()) + size <= self.limit:
                return
            shutil.rmtree(entry)
            del sizes[entry]


def content_key(files: Iterable[Path | None], *settings: object) -> str:
    """Hash of files and settings. Of a file larger than 128 KiB its size and both ends count."""
    digest = hashlib.blake2b(digest_size=12)
    for file in files:
        if file is None:
            continue
        try:
            with file.open("rb") as stream:
                size = os.fstat(stream.fileno()).st_size
                digest.update(f"{file.name}/{size}/".encode())
                digest.update(stream.read(_HEAD))
                stream.seek(max(_HEAD, size - _HEAD))
                digest.update(stream.read(_HEAD))
        except OSError:
            digest.update(f"{file.name} is unreadable".encode())
    digest.update(repr(settings).encode())
    return digest.hexdigest()


def _open(place: Path) -> dict[str, NDArray[Any]] | None:
    """What lies there, mapped; None if nothing or nothing whole does."""
    try:
        arrays = {file.stem: np.load(file, mmap_mode="c") for file in sorted(place.glob("*.npy"))}
    except (OSError, ValueError):
        return None
    return arrays or None
