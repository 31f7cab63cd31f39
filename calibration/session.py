"""The bench session's memory: every finished measurement is on disk before the next begins.

A work folder holds one `.npz` a measurement. A measurement is there whole or not at all (written beside, synced,
renamed), so a session that was interrupted anywhere goes on with the first one that is missing and repeats nothing.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from opticaldr.errors import Refusal

Arrays = dict[str, NDArray[Any]]

_IDENTITY = "session.json"


class Session:
    """Measurements by name, in `folder`, as a context manager: one session at a time works in it.

    One that measured nothing leaves no folder.

    Args:
        folder: made if it is not there.
        identity: what the measurements are of (design, rig, plan, seed); JSON values only.

    Raises:
        Refusal: on entering, another session is at work in the folder, or it holds one of something else.
    """

    def __init__(self, folder: Path, identity: Mapping[str, Any]) -> None:
        self.folder = folder
        self._identity = json.dumps(identity, indent=2, sort_keys=True) + "\n"

    def __enter__(self) -> Self:
        self.folder.mkdir(parents=True, exist_ok=True)
        self._lock = os.open(self.folder, os.O_RDONLY)  # given back by the system if this process dies
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._claim()
        except BlockingIOError:
            os.close(self._lock)
            raise Refusal(
                f"another calibration is at work in {self.folder}",
                "wait for it, or give this one another --out",
            ) from None
        except BaseException:
            os.close(self._lock)
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if not self._begun():
            (self.folder / _IDENTITY).unlink(missing_ok=True)
            with suppress(OSError):  # somebody's own files
                self.folder.rmdir()
        os.close(self._lock)

    def _begun(self) -> bool:
        return any(self.folder.glob("[!.]*.npz"))

    def _claim(self) -> None:
        record = self.folder / _IDENTITY
        known = record.read_text(encoding="utf-8") if record.exists() else None
        if known == self._identity:
            return
        if known is not None and self._begun():
            raise Refusal(
                f"{self.folder} holds measurements of another design, rig, plan or seed",
                "give another --work folder, or remove this one",
            )
        _write(record, lambda path: path.write_text(self._identity, encoding="utf-8"))

    def finished(self, name: str) -> bool:
        """Whether the measurement `name` is on disk."""
        return self._file(name).exists()

    def measure(self, name: str, measurement: Callable[[], Arrays]) -> Arrays:
        """The arrays of `name`: read back if it was measured before, else measured now and kept.

        Raises:
            Refusal: what was kept cannot be read.
        """
        file = self._file(name)
        if not file.exists():
            arrays = measurement()
            _write(file, lambda path: _save(path, arrays))
        try:
            with np.load(file, allow_pickle=False) as stored:
                return {key: stored[key] for key in stored.files}
        except (OSError, ValueError, EOFError) as error:
            raise Refusal(f"{file} cannot be read ({error})", "remove it and run again") from None

    def _file(self, name: str) -> Path:
        return self.folder / f"{name}.npz"


def _save(path: Path, arrays: Arrays) -> None:
    with path.open("wb") as stream:
        np.savez(stream, **arrays)  # type: ignore[arg-type]


def _write(path: Path, fill: Callable[[Path], object]) -> None:
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        fill(draft)
        with draft.open("rb") as stream:
            os.fsync(stream.fileno())
        draft.rename(path)
    finally:
        draft.unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
