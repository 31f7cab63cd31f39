"""Sealed folders on disk: written whole or not at all, never changed afterwards, verified when opened."""

import errno
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from opticaldr.artefacts.manifest import KINDS, SCHEMA_VERSION, Kind, Manifest
from opticaldr.errors import Refusal

MANIFEST = "manifest.json"


@dataclass(frozen=True)
class Artefact:
    """A sealed and verified folder."""

    path: Path
    manifest: Manifest

    @property
    def id(self) -> str:
        """Content hash, 64 hex digits."""
        return self.manifest.id

    @property
    def kind(self) -> str:
        """One of `KINDS`."""
        return self.manifest.kind

    def file(self, name: str) -> Path:
        """Path of one file of the artefact; `Refusal` if the manifest does not list it."""
        if name not in self.manifest.files:
            raise Refusal(f"{self.path} holds no {name}", f"make the {self.kind} again with this version")
        return self.path / name

    def json(self, name: str) -> Any:
        """The parsed contents of one of its JSON files."""
        return json.loads(self.file(name).read_text(encoding="utf-8"))


@dataclass
class Draft:
    """A folder being filled; ``artefact`` is there once the ``with`` block has ended well."""

    path: Path
    artefact: Artefact | None = None

    def sealed(self) -> Artefact:
        """The finished artefact; `RuntimeError` before the block has ended."""
        if self.artefact is None:
            raise RuntimeError("the draft is not sealed yet")
        return self.artefact


def require_new(out: Path | None) -> None:
    """Refuse a folder that exists: before long work, which `create` would refuse only after it."""
    if out is not None and out.exists():
        raise Refusal(f"{out} exists already", "artefacts are never changed: name another --out or remove it")


@contextmanager
def create(
    kind: Kind, out: Path | None = None, *, parents: Sequence[Artefact] = (), seed: int | None = None
) -> Iterator[Draft]:
    """Fill a hidden folder beside ``out`` and, if nothing fails, seal it and rename it into place.

    Args:
        kind: what is being made.
        out: the folder to make; ``runs/<kind>-<first 8 of id>`` if not given.
        parents: the artefacts it was made from.
        seed: the seed its making used.

    Raises:
        Refusal: ``out`` exists already or cannot be written, or the device is full. On any exception, an
            interrupt included, the hidden folder is removed and nothing is left behind.
    """
    parent = (out.parent if out is not None else Path("runs")).absolute()
    require_new(out)
    try:
        parent.mkdir(parents=True, exist_ok=True)
        hidden = Path(tempfile.mkdtemp(prefix=f".{kind}-", dir=parent))
    except OSError as error:
        raise Refusal(
            f"cannot write in {parent} ({error.strerror})", "name a writable folder with --out"
        ) from None
    draft = Draft(hidden)
    try:
        yield draft
        draft.artefact = _seal(hidden, kind, out, parents, seed)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise Refusal(
                f"no space left on the device while writing the {kind} in {parent}", "free some and run again"
            ) from None
        raise
    finally:
        shutil.rmtree(hidden, ignore_errors=True)


def _seal(
    hidden: Path, kind: Kind, out: Path | None, parents: Sequence[Artefact], seed: int | None
) -> Artefact:
    names = sorted(p.relative_to(hidden).as_posix() for p in hidden.rglob("*") if p.is_file())
    ancestors = {a.id: a for p in parents for a in (*p.manifest.ancestors, p.manifest.as_ancestor())}
    manifest = Manifest(
        kind=kind,
        schema_version=SCHEMA_VERSION,
        id="",
        created=datetime.now(UTC).replace(microsecond=0),
        software=f"opticaldr {version('opticaldr')}",
        seed=seed,
        parents=tuple(p.id for p in parents),
        ancestors=tuple(ancestors.values()),
        files={name: _sha256(hidden / name) for name in names},
    )
    manifest = manifest.model_copy(update={"id": manifest.content_id()})
    (hidden / MANIFEST).write_text(manifest.model_dump_json(indent=2) + "\n", encoding="utf-8")
    hidden.chmod(0o755)
    for path in (*(p for p in hidden.rglob("*")), hidden):
        _sync(path)
    place = out.absolute() if out is not None else hidden.parent / f"{kind}-{manifest.id[:8]}"
    if out is None and place.exists():
        return open_artefact(Path(os.path.relpath(place)), kind=kind)
    try:
        hidden.rename(place)
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
            raise Refusal(f"{place} appeared while the {kind} was made", "name another --out") from None
        raise
    _sync(place.parent)
    return Artefact(out if out is not None else Path(os.path.relpath(place)), manifest)


def open_artefact(path: Path, *, kind: Kind | Sequence[Kind] | None = None) -> Artefact:
    """Open a sealed folder and verify its manifest and every file in it.

    Args:
        path: the artefact's folder.
        kind: the kind (or kinds) the caller can use; any if not given.

    Raises:
        Refusal: not an artefact, a newer schema version, another kind than asked, or a file that is
            missing or not what was sealed; the message names the file and the remedy.
    """
    path = Path(path)
    manifest = _read_manifest(path)
    wanted = (kind,) if isinstance(kind, str) else kind
    if wanted is not None and manifest.kind not in wanted:
        came_from = next((one for one in manifest.ancestors if one.kind in wanted), None)
        raise Refusal(
            f"{path} is a {manifest.kind}, not a {' or '.join(wanted)}",
            f"give the {came_from.kind} it was made from, {came_from.id[:12]}…"
            if came_from
            else f"give the folder of a {wanted[0]}",
        )
    for name, digest in manifest.files.items():
        file = path / name
        if not file.is_file():
            raise Refusal(f"{file} is missing", f"copy the {manifest.kind} again or make it anew")
        if _sha256(file) != digest:
            raise Refusal(
                f"{file} is not what was sealed (SHA-256 differs)",
                f"copy the {manifest.kind} again or make it anew",
            )
    return Artefact(path, manifest)


def _read_manifest(path: Path) -> Manifest:
    file = path / MANIFEST
    if not path.exists():
        raise Refusal(f"{path} does not exist", "check the path")
    if not file.is_file():
        raise Refusal(
            f"{path} is not an artefact (no {MANIFEST} in it)", "give a folder made by an opticaldr verb"
        )
    broken = Refusal(f"{file} is not a readable manifest", "copy the artefact again or make it anew")
    try:
        raw = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, OSError):
        raise broken from None
    if not isinstance(raw, dict):
        raise broken
    schema = raw.get("schema_version")
    if isinstance(schema, int) and schema > SCHEMA_VERSION:
        raise Refusal(
            f"{file} has schema version {schema}; this software reads up to {SCHEMA_VERSION}",
            "update opticaldr",
        )
    if raw.get("kind") not in KINDS:
        raise broken
    try:
        manifest = Manifest.model_validate(raw)
    except ValidationError:
        raise broken from None
    if manifest.content_id() != manifest.id:
        raise Refusal(
            f"{file} does not match its own id (it was edited)", "copy the artefact again or make it anew"
        )
    return manifest


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
