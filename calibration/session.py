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

    One that measured nothing, or whose measurements are sealed (`sealed`), leaves no folder; files that are not its own
    stay, and the folder with them.

    Args:
        folder: made if it is not there.
        identity: what the measurements are of (design, rig, plan, seed); JSON values only.

    Raises:
        Refusal: on entering, another session is at work in the folder, or it holds one of something else.
    """

    def __init__(self, folder: Path, identity: Mapping[str, Any]) -> None:
        self.folder = folder
        self._identity = json.dumps(identity, indent=2, sort_keys=True) + "\n"
        self._own = [folder / _IDENTITY]
        self._sealed = False

    def __enter__(self) -> Self:
        self._lock = self._locked()
        try:
            self._claim()
        except BaseException:
            os.close(self._lock)
            raise
        return self

    def __exit__(self, *_: object) -> None:
        # Whoever holds the lock holds the folder that bears its name, so nothing removed here is another session's.
        if self._sealed or not self._begun():
            # The identity last: without it the measurements would pass for anything's. A kill leaves drafts.
            for file in reversed(self._own):
                for written in (file, *self.folder.glob(f".{file.name}.*")):
                    written.unlink(missing_ok=True)
            with suppress(OSError):  # somebody's own files
                self.folder.rmdir()
        os.close(self._lock)

    def _locked(self) -> int:
        """A descriptor of the folder, locked; the system gives the lock back if this process dies."""
        while True:
            self.folder.mkdir(parents=True, exist_ok=True)
            try:
                lock = os.open(self.folder, os.O_RDONLY)
            except FileNotFoundError:
                continue  # a session that ended has just removed it
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if os.path.samestat(os.fstat(lock), self.folder.stat()):
                    return lock
            except FileNotFoundError:
                pass  # removed before it was locked, as is a folder that is not the same any more
            except BlockingIOError:
                os.close(lock)
                raise Refusal(
                    f"another calibration is at work in {self.folder}",
                    "wait for it, or give this one another --out",
                ) from None
            os.close(lock)

    def sealed(self) -> None:
        """Say that the measurements are sealed elsewhere: on leaving they are removed."""
        self._sealed = True

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

    def beside(self, name: str) -> Path:
        """Where a file that belongs to the measurements may be written; it is removed with them."""
        file = self.folder / name
        self._own.append(file)
        return file

    def finished(self, name: str) -> bool:
        """Whether the measurement `name` is on disk."""
        return self._file(name).exists()

    def measure(self, name: str, measurement: Callable[[], Arrays]) -> Arrays:
        """The arrays of `name`: read back if it was measured before, else measured now and kept.

        Raises:
            Refusal: what was kept cannot be read.
        """
        file = self._file(name)
        self._own.append(file)
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
