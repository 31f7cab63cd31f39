"""Run the deployed camera: check the bundle, open the log, let voice start eye, and sum up what happened."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from opticaldr.artefacts import Artefact, create_key, load_key, load_public_key, open_artefact
from opticaldr.artefacts.bundle import SIGNATURE, require_fresh, verify_bundle
from opticaldr.device.audit import AuditLog, public_hex
from opticaldr.device.budget import BITS_PER_ESTIMATE, FACE_IMAGE_BITS, bits_per_hour
from opticaldr.device.clinic import attend_page, open_sinks
from opticaldr.device.confinement import Protection
from opticaldr.device.delivery import Couriers, Delivery
from opticaldr.device.hearing import name_of
from opticaldr.device.ndjson import NdjsonFile
from opticaldr.device.orders import OK, TRIPPED, Orders
from opticaldr.device.owner import require_owner
from opticaldr.device.perseverance import persevere, require_armed
from opticaldr.device.records import Event
from opticaldr.device.settings import Settings, read_settings
from opticaldr.device.status import Facts, Status
from opticaldr.device.voice import Session
from opticaldr.errors import Refusal

LOG, KEY, ESTIMATES = "audit.ndjson", "device.key", "estimates.ndjson"


def run(
    bundle: Path,
    *,
    rig: str = "simulated",
    source: str = "simulated:0",
    out: Path | None = None,
    trust: Path | None = None,
    frames: int | None = None,
    seconds: float | None = None,
    interval: float = 60.0,
    unmask_at: int | None = None,
    threads: int = 1,
    seed: int = 0,
    development: bool = False,
    settings: Path | None = None,
    on_entry: Callable[[Mapping[str, Any]], None] = lambda entry: None,
) -> dict[str, Any]:
    """Run until the source ends, the limits are reached, Ctrl-C, or the optics are not in place.

    Args:
        bundle: folder of the bundle.
        rig, source, unmask_at, seed: what eye looks at (see `opticaldr.device.rig`).
        out: folder for the audit log, the device's key and the delivered estimates; continued if it is there.
            By default ``runs/run-<random>``.
        trust: public key that must have signed the bundle; without it whatever key the bundle names.
        frames, seconds: limits; None for none.
        interval: least seconds between two estimates in the long run.
        threads: of the model.
        development: go on although a protection cannot be enforced.
        settings: a clinic's file: where estimates go, and the local page (`opticaldr.device.settings`).
        on_entry: called with each entry of the audit log as it is made.

    Returns:
        A summary; ``passed`` is False if the optics were not in place, eye could not start, failed or was
        stopped on suspicion, or something could not be logged.

    Raises:
        Refusal: the bundle, the source or the folder is not usable, the folder is another user's and this one is
            root, the interlock closed in an earlier run of the folder and was not armed again, or eye could not
            protect itself.
    """
    clinic = read_settings(settings) if settings is not None else Settings()
    signer = load_public_key(trust) if trust is not None else _named_signer(bundle)
    artefact, spec = verify_bundle(bundle, signer)
    require_fresh(spec)
    orders = Orders(
        bundle=bundle.absolute(),
        key=public_hex(signer),
        rig=rig,
        source=source,
        frames=frames,
        interval=interval,
        unmask_at=unmask_at,
        seed=seed,
        threads=threads,
        development=development,
    )
    folder = out if out is not None else Path("runs") / f"run-{secrets.token_hex(4)}"
    require_owner(folder)
    require_armed(folder / LOG)
    key = _device_key(folder / KEY)
    with AuditLog(folder / LOG, key) as log:
        sinks = [NdjsonFile(folder / ESTIMATES), *open_sinks(clinic, artefact.id, key)]
        deliveries = [Delivery(log, sink, folder) for sink in sinks]
        about = {"bundle": artefact.id}
        with Couriers(deliveries):
            if clinic.page is None:
                session = persevere(orders, log, about=about, seconds=seconds, on_entry=on_entry)
            else:
                facts = Facts(artefact.id, _calibrated(artefact), interval, spec.purpose)
                status = Status(facts, log, deliveries)
                session = attend_page(
                    clinic.page, status, orders, about=about, seconds=seconds, on_entry=on_entry
                )
        return {
            "passed": _passed(session) and not log.lost,
            "bundle": artefact.id,
            "signer": {"key": public_hex(signer), "trusted": trust is not None},
            "rig": rig,
            "window_frames": spec.window.frames,
            "development": development,
            **_summary(session, interval),
            "not_logged": log.lost,
            "audit": {"log": str(log.path), "entries": log.entries, "head": log.head},
            "delivery": [delivery.progress() for delivery in deliveries],
            "estimates_file": str(folder / ESTIMATES),
            "purpose": spec.purpose,
        }


def _calibrated(bundle: Artefact) -> datetime | None:
    """When the optics were measured, as the bundle's ancestry remembers it."""
    times = [ancestor.created for ancestor in bundle.manifest.ancestors if ancestor.kind == "calibration"]
    return max(times, default=None)


def _passed(session: Session) -> bool:
    never_looked = session.records == 0  # nobody opened the shutter
    ended_well = session.exit_code == OK and (session.farewell is not None or never_looked)
    return ended_well and not (session.not_started or session.suspicion)


def _summary(session: Session, interval: float) -> dict[str, Any]:
    last = session.farewell
    hourly = bits_per_hour(interval)
    return {
        "frames": session.frames if last else None,
        "dropped": session.dropped if last else None,
        "estimates": list(session.estimates),
        "estimated": session.estimated,
        "latency_ms": {"p50": last.latency * 1e3, "p99": last.latency_p99 * 1e3} if last else None,
        "interlock": _interlock(session),
        "event": None if session.event is Event.NONE else name_of(session.event),
        "bits": {
            "per_estimate": BITS_PER_ESTIMATE,
            "per_hour": hourly,
            "face_image": FACE_IMAGE_BITS,
            "hours_for_one_face_image": FACE_IMAGE_BITS / hourly,
        },
        "protections": [name_of(p) for p in Protection if p in session.protections],
        "eye": {
            "exit_code": session.exit_code,
            "said_farewell": last is not None,
            "bad_records": session.refused,
            "not_started": session.not_started or None,
            "suspicion": session.suspicion or None,
        },
    }


def _interlock(session: Session) -> str:
    if session.records == 0:
        return "not asked"
    return "optics not in place" if session.exit_code == TRIPPED else "in place"


def _named_signer(bundle: Path) -> Ed25519PublicKey:
    """The key that the bundle itself names: proves that it is whole, not who made it."""
    artefact = open_artefact(bundle, kind="bundle")
    if SIGNATURE not in artefact.manifest.files:
        raise Refusal(f"{bundle} is not signed", "export it again with --key")
    try:
        return Ed25519PublicKey.from_public_bytes(bytes.fromhex(artefact.json(SIGNATURE)["public_key"]))
    except (ValueError, KeyError, TypeError):
        raise Refusal(f"{bundle / SIGNATURE} names no key", "export the bundle again") from None


def _device_key(path: Path) -> Ed25519PrivateKey:
    """The key that signs the audit log; made at the first run."""
    return load_key(path) if path.exists() else create_key(path)
