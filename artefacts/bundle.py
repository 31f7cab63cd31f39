"""What a deployed camera is given: the contents of ``bundle.json``, and the signature over the whole bundle.

Export writes it, the device reads it; they share nothing else.
"""

import hashlib
import json
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from opticaldr.artefacts.signing import sign, verify
from opticaldr.artefacts.store import Artefact, create, open_artefact
from opticaldr.errors import Refusal

SPEC = "bundle.json"
SIGNATURE = "signature.json"
FRAME_GRAPH = "frame.onnx"
INT8_GRAPH = "frame-int8.onnx"
HEAD_GRAPH = "head.onnx"
PSF_BANK = "psf.npz"

REMEMBERED = {"kind", "id", "created", "software", "parents"}

Count = Annotated[int, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class CameraMode(_Part):
    """The mode that the camera must be in: raw frames of another kind mean something else to the graph."""

    rows: Count
    columns: Count
    bayer: Literal["RGGB", "BGGR", "GRBG", "GBRG"]
    bits: Annotated[int, Field(ge=1, le=16)]
    black_level: NotNegative
    """Digital number of a dark pixel, as taken off inside the graph."""
    white_level: Count
    """Highest digital number."""
    binning: Count
    """Raw pixels along one side of a superpixel."""


class Window(_Part):
    """How many embeddings the head wants, and how quickly they follow each other."""

    frames: Annotated[int, Field(ge=2)]
    fps: Annotated[float, Field(gt=0)]


class Interlock(_Part):
    """When a frame was taken without the calibrated mask: see `opticaldr.calibration.interlock`.

    ``electrons`` is the charge of a superpixel at full scale, for each colour, and ``read_noise`` its read
    noise in electrons: the noise model that the statistic subtracts.
    """

    transfer_limit: Annotated[float, Field(gt=0, lt=1)]
    """Spatial frequencies at which no PSF of the bank transfers more than this are the stop band."""
    ceiling: Annotated[float, Field(gt=0)]
    """Highest stop-band fraction of a frame through the mask."""
    floor: Annotated[float, Field(gt=0)]
    """Lowest contrast-to-noise ratio of a frame that can be judged at all."""
    electrons: tuple[float, float, float]
    read_noise: tuple[float, float, float]
    temperatures: tuple[float, float] = (268.15, 323.15)
    """Lowest and highest temperature inside the housing (kelvin) at which the calibration is believed."""


class BundleSpec(_Part):
    """``bundle.json``: all that the device needs to know beside the graphs themselves.

    ``frame.onnx`` takes one raw frame, uint16 ``[rows, columns]`` or the same memory as int32 (see
    `opticaldr.artefacts.graphs.as_taken`), and gives ``embedding``, float32 ``[embedding]``, and
    ``superpixels``, float32 ``[3, y, x]`` linear RGB in fractions of full scale, for the interlock.
    ``head.onnx`` takes ``window``, float32 ``[frames, embedding]``, oldest first, and gives ``mean`` and
    ``sigma``, float32 scalars in BDI-II points.
    """

    version: Literal[1] = 1
    design: str
    """Ids of the artefacts it descends from."""
    calibration: str
    networks: str
    camera: CameraMode
    window: Window
    embedding: Count
    interlock: Interlock
    opset: Count
    expires: AwareDatetime | None = None
    """When the calibration is no longer to be relied on; None if it was not said."""
    frame_graph: Literal["frame.onnx", "frame-int8.onnx"] = "frame.onnx"
    """Which form of the frame graph the camera is to run: float32 or INT8; both take and give the same."""
    purpose: str = "Research use only. Not a diagnosis, not triage."


def sign_bundle(folder: Path, parents: tuple[str, ...], key: Ed25519PrivateKey) -> None:
    """Write ``signature.json``: Ed25519 over every other file in ``folder`` and the ids of the parents."""
    from cryptography.hazmat.primitives import serialization

    hashes = {}
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        with path.open("rb") as stream:
            hashes[path.relative_to(folder).as_posix()] = hashlib.file_digest(stream, "sha256").hexdigest()
    raw = key.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    signature = {
        "algorithm": "Ed25519",
        "public_key": raw.hex(),
        "signature": sign(key, _message(hashes, parents)).hex(),
    }
    (folder / SIGNATURE).write_text(json.dumps(signature, indent=2) + "\n", encoding="utf-8")


def require_fresh(spec: BundleSpec, now: datetime | None = None) -> None:
    """Refuse a bundle whose calibration has expired by ``now`` (the present if not given)."""
    if spec.expires is not None and (now or datetime.now(UTC)) >= spec.expires:
        raise Refusal(
            f"the bundle's calibration expired on {spec.expires:%Y-%m-%d}",
            "calibrate the camera again and export a new bundle",
        )


def verify_bundle(path: Path, key: Ed25519PublicKey) -> tuple[Artefact, BundleSpec]:
    """Open a bundle whose every byte is what the owner of ``key`` signed.

    Raises:
        Refusal: not a bundle, a file was changed, removed or added, it is unsigned or signed with another
            key, or its ``bundle.json`` is not understood.
    """
    bundle = open_artefact(path, kind="bundle")
    listed = {*bundle.manifest.files, "manifest.json"}
    if extra := sorted({p.relative_to(path).as_posix() for p in path.rglob("*") if p.is_file()} - listed):
        raise Refusal(f"{path / extra[0]} does not belong to the bundle", "copy the bundle again")
    if SIGNATURE not in bundle.manifest.files:
        raise Refusal(f"{path} is not signed", "export it again with --key")
    hashes = {name: digest for name, digest in bundle.manifest.files.items() if name != SIGNATURE}
    try:
        signature = bytes.fromhex(bundle.json(SIGNATURE)["signature"])
    except (ValueError, KeyError, TypeError):
        raise Refusal(f"{path / SIGNATURE} holds no signature", "export the bundle again") from None
    if not verify(key, _message(hashes, bundle.manifest.parents), signature):
        raise Refusal(f"{path} was not signed with this key", "ask who exported it for their public key")
    return bundle, read_spec(bundle)


def read_spec(bundle: Artefact) -> BundleSpec:
    """What ``bundle.json`` says; `Refusal` if it is not understood."""
    try:
        return BundleSpec.model_validate_json(bundle.file(SPEC).read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(map(str, first["loc"]))
        raise Refusal(
            f"{bundle.path / SPEC}: {name}: {first['msg']}", "export it again with this version of opticaldr"
        ) from None


def resign_bundle(bundle: Artefact, key: Ed25519PrivateKey, out: Path) -> Artefact:
    """Write a copy of a bundle with another signature; parents and all other files stay what they are."""
    known = {ancestor.id: ancestor for ancestor in bundle.manifest.ancestors}
    parents = [
        Artefact(
            bundle.path,  # they are elsewhere: only what the bundle remembers of them is needed
            bundle.manifest.model_copy(
                update={**known[number].model_dump(include=REMEMBERED), "files": {}, "seed": None}
            ),
        )
        for number in bundle.manifest.parents
    ]
    with create("bundle", out, parents=parents, seed=bundle.manifest.seed) as draft:
        for name in bundle.manifest.files:
            if name != SIGNATURE:
                (draft.path / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(bundle.file(name), draft.path / name)
        sign_bundle(draft.path, bundle.manifest.parents, key)
    return draft.sealed()


def _message(hashes: dict[str, str], parents: tuple[str, ...]) -> bytes:
    """Canonical JSON of file hashes and parents."""
    content = {"files": hashes, "parents": list(parents)}
    return json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
