"""Results remembered by the content of what they were computed from.

A key is a hash over every array, every setting and the source code that made the result, so a changed PSF or
a changed attacker never meets a stale result. Files lie under ``$XDG_CACHE_HOME/opticaldr/evaluation`` and
may be deleted at any time.
"""

import hashlib
import json
import os
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from functools import cache
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Arrays = dict[str, NDArray[Any]]


def folder() -> Path:
    """Where results are kept."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "opticaldr" / "evaluation"


def content_key(*parts: Any) -> str:
    """Hash of arrays, and of anything else by its JSON or its representation, together with this room's
    code."""
    digest = hashlib.blake2b(_code().encode(), digest_size=16)
    for part in parts:
        if isinstance(part, np.ndarray):
            digest.update(f"{part.dtype}{part.shape}".encode())
            digest.update(np.ascontiguousarray(part).data)
        else:
            digest.update(json.dumps(part, sort_keys=True, default=repr).encode())
        digest.update(b"|")
    return digest.hexdigest()


def remember(key: str, compute: Callable[[], Arrays]) -> Arrays:
    """Arrays stored under `key`, computed and stored if they are not there (or cannot be read)."""
    file = folder() / f"{key}.npz"
    try:
        with np.load(file, allow_pickle=False) as stored:
            return {name: stored[name] for name in stored.files}
    except (OSError, ValueError, zipfile.BadZipFile):
        pass
    arrays = compute()
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=file.parent, suffix=".part", delete=False) as part:
            np.savez(part, **arrays)  # type: ignore[arg-type]
        Path(part.name).replace(file)
    except OSError:  # a full or read-only disk costs time, not the result
        pass
    return arrays


@cache
def _code() -> str:
    """Hash over the source of what results depend on."""
    digest = hashlib.blake2b(digest_size=16)
    for package in ("evaluation", "networks", "optics", "data"):
        for file in _files(resources.files(f"opticaldr.models.{package}")):
            if file.name.endswith((".py", ".toml")) and file.name != "report.py":
                digest.update(file.read_bytes())
    return digest.hexdigest()


def _files(folder: Traversable) -> Iterator[Traversable]:
    for entry in sorted(folder.iterdir(), key=lambda entry: entry.name):
        if entry.is_file():
            yield entry
        elif entry.name != "__pycache__":
            yield from _files(entry)
