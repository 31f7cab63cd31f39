"""The manifest: what an artefact is, what it descends from, and the hash of every file in it."""

import hashlib
import json
from datetime import datetime
from typing import Literal, get_args

from pydantic import BaseModel, ConfigDict

Kind = Literal["design", "mask", "pattern", "calibration", "head", "bundle", "evaluation", "response"]
KINDS: tuple[str, ...] = get_args(Kind)

SCHEMA_VERSION = 1
"""Version of the manifest written here; newer ones are refused on open."""


class Ancestor(BaseModel):
    """One forebear, as remembered by its descendants: enough to walk the chain without its files.

    ``parents`` are the ids of its own parents, ``created`` and ``software`` say when and by which version.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Kind
    id: str
    created: datetime
    software: str
    parents: tuple[str, ...] = ()


class Manifest(BaseModel):
    """The contents of ``manifest.json``.

    ``id`` is the SHA-256 of everything that makes the artefact what it is (kind, schema, seed, parents and
    file hashes), so the same content has the same id whenever and wherever it was made. ``ancestors`` holds
    every forebear once, so that a chain from any estimate back to the phase profile stays readable after
    the parents' folders are gone.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Kind
    schema_version: int
    id: str
    created: datetime
    software: str
    seed: int | None = None
    parents: tuple[str, ...] = ()
    ancestors: tuple[Ancestor, ...] = ()
    files: dict[str, str]

    def content_id(self) -> str:
        """SHA-256 (hex) over kind, schema version, seed, parents and files, in canonical JSON."""
        content = {
            "kind": self.kind,
            "schema_version": self.schema_version,
            "seed": self.seed,
            "parents": list(self.parents),
            "files": self.files,
        }
        canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        return hashlib.sha256(canonical.encode()).hexdigest()

    def as_ancestor(self) -> Ancestor:
        """This artefact as its descendants will remember it."""
        return Ancestor(
            kind=self.kind, id=self.id, created=self.created, software=self.software, parents=self.parents
        )
