"""Delivery to a file with one JSON object a line, for whoever follows files."""

from __future__ import annotations

import json
import os
from pathlib import Path

from opticaldr.device.chain import Entry, line_of, write_line


class NdjsonFile:
    """A sink; an entry is in the file exactly once.

    Args:
        path: the file; it is continued if it exists.
    """

    name = "ndjson"

    def __init__(self, path: Path) -> None:
        self._path = path
        self._last = max((json.loads(line)["index"] for line in _whole_lines(path)), default=-1)

    def deliver(self, entry: Entry) -> None:
        """Append the entry's index, hash, time, kind and body."""
        if entry["index"] <= self._last:
            return
        shown = {name: entry[name] for name in ("index", "hash", "time", "kind", "body")}
        with self._path.open("ab", buffering=0) as stream:
            write_line(stream, line_of(shown))
        self._last = entry["index"]

    def close(self) -> None:
        """Nothing is held open between entries."""


def _whole_lines(path: Path) -> list[bytes]:
    """The lines of a file that may not exist; a torn last one is cut off the file."""
    if not path.exists():
        return []
    data = path.read_bytes()
    keep = data.rfind(b"\n") + 1
    if keep < len(data):
        os.truncate(path, keep)
    return data[:keep].splitlines()
