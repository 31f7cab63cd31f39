"""A new bundle for a camera: checked, tried in the sealed eye, and only then the one that runs.

    bundles/<id>/          every bundle that was installed, named by its content
    bundles/current        link to the one that the camera is started with
    bundles/previous       link to the one before

A link is replaced in one step (rename(2)), so that a power cut leaves the old one or the new one.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from opticaldr.artefacts import Artefact, load_public_key
from opticaldr.artefacts.bundle import require_fresh, verify_bundle
from opticaldr.device.owner import require_owner
from opticaldr.device.run import run
from opticaldr.errors import Refusal

CURRENT, PREVIOUS = "current", "previous"


def update(
    bundle: Path, store: Path, trust: Path, say: Callable[[str], None] = lambda step: None
) -> Artefact:
    """Install a bundle; the camera takes it at its next start. What was current stays so if anything is wrong.

    The probe runs both processes on a simulated subject until the model has given an estimate.

    Args:
        bundle: folder of the new one.
        store: folder of the installed ones.
        trust: the maker's public key.
        say: is told each step.

    Raises:
        Refusal: unsigned, signed by somebody else, changed or expired, or the probe failed.
    """
    require_owner(store)
    signer = load_public_key(trust)
    artefact, spec = verify_bundle(bundle, signer)
    require_fresh(spec)
    store.mkdir(parents=True, exist_ok=True)
    place = store / artefact.id[:16]
    say(f"bundle {artefact.id[:16]} is whole, signed and fresh")
    known = place.exists()
    if not known:
        with tempfile.TemporaryDirectory(prefix=".update-", dir=store) as draft:
            shutil.copytree(bundle, Path(draft, "bundle"))
            verify_bundle(Path(draft, "bundle"), signer)
            Path(draft, "bundle").rename(place)
    say("trying it on a simulated subject …")
    try:
        _probe(place, trust, spec.window.frames)
    except Refusal as refusal:
        if not known:
            shutil.rmtree(place)
        raise Refusal(f"{bundle} does not work here ({refusal}), so nothing was changed") from None
    say("it estimates; switching to it")
    if (store / CURRENT).is_symlink() and os.readlink(store / CURRENT) != place.name:
        _point(store / PREVIOUS, os.readlink(store / CURRENT))
    _point(store / CURRENT, place.name)
    return artefact


def roll_back(store: Path, trust: Path) -> Artefact:
    """Make the previous bundle the current one again, and the other way round; returns the one now current.

    Raises:
        Refusal: there is none, or it is not usable any more.
    """
    require_owner(store)
    if not (store / PREVIOUS).is_symlink():
        raise Refusal(f"{store} holds no previous bundle", "install one with opticaldr update")
    before, now = os.readlink(store / PREVIOUS), os.readlink(store / CURRENT)
    artefact, spec = verify_bundle(store / before, load_public_key(trust))
    require_fresh(spec)
    _point(store / CURRENT, before)
    _point(store / PREVIOUS, now)
    return artefact


def _probe(bundle: Path, trust: Path, frames: int) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        summary = run(bundle, out=Path(scratch, "run"), trust=trust, frames=frames, interval=1)
    if not summary["passed"] or len(summary["estimates"]) != 1:
        raise Refusal(
            f"{len(summary['estimates'])} estimates from {frames} frames, interlock {summary['interlock']}"
        )


def _point(link: Path, target: str) -> None:
    """Let ``link`` lead to ``target``, in one step."""
    draft = link.with_name(f".{link.name}.draft")
    draft.unlink(missing_ok=True)
    draft.symlink_to(target)
    draft.replace(link)
    folder = os.open(link.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
