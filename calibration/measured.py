"""A finished calibration as the rooms above read it: PSFs at superpixels and the optics as built."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from opticaldr.artefacts import Artefact
from opticaldr.calibration.interlock import superpixel_bank
from opticaldr.errors import Refusal
from opticaldr.models.optics import OpticsSpec


@dataclass(frozen=True)
class Measured:
    """What was measured.

    Attributes:
        spec: optics and sensor as built.
        bank: PSFs at superpixels, energy fractions, ``[depth, field, colour, y, x]``.
        depths: metres, increasing.
        fields: tangents (x, y) of the field angles, ``[field, 2]``.
    """

    spec: OpticsSpec
    bank: NDArray[np.float64]
    depths: tuple[float, ...]
    fields: NDArray[np.float64]


def read_measured(calibration: Artefact, *, accept_failed_gates: bool = False) -> Measured:
    """Read a calibration artefact.

    Raises:
        Refusal: a quality gate failed and that was not accepted, or the PSF bank cannot be used.
    """
    require_passed_gates(calibration, accept_failed_gates=accept_failed_gates)
    optics = [name for name in calibration.manifest.files if PurePosixPath(name).name == "optics.json"]
    if not optics:
        raise Refusal(f"{calibration.path} holds no optics.json", "calibrate again with this version")
    with np.load(calibration.file("psf.npz"), allow_pickle=False) as stored:
        bank, depths, fields = (np.asarray(stored[name]) for name in ("psf", "depths", "fields"))
    depths, fields = np.atleast_1d(depths), np.atleast_2d(fields)
    if bank.ndim != 5 or bank.shape[:3] != (len(depths), len(fields), 3):
        raise Refusal(
            f"{calibration.path}: psf.npz is {bank.shape} for {len(depths)} depths and {len(fields)} fields",
            "calibrate again: [depth, field, colour, y, x] is expected",
        )
    if not np.isfinite(bank).all():
        raise Refusal(f"{calibration.path}: psf.npz is not finite everywhere", "calibrate again")
    try:
        spec = OpticsSpec.model_validate_json(calibration.file(optics[0]).read_bytes())
    except ValidationError as error:
        where = ".".join(map(str, error.errors()[0]["loc"]))
        raise Refusal(
            f"{calibration.path / optics[0]}: {where} is wrong", "calibrate again with this version"
        ) from None
    order = np.argsort(depths)
    return Measured(
        spec,
        superpixel_bank(bank[order], spec.sensor.binning),
        tuple(float(depth) for depth in depths[order]),
        fields,
    )


def require_passed_gates(calibration: Artefact, *, accept_failed_gates: bool = False) -> None:
    """Go on only with a calibration that can be trusted.

    Raises:
        Refusal: a quality gate failed and that was not accepted.
    """
    failed = failed_gates(calibration.json("gates.json"))
    if failed and not accept_failed_gates:
        raise Refusal(
            f"{calibration.path} failed its gate{'s' if len(failed) > 1 else ''} {', '.join(failed)}",
            "measure again, or go on at your own risk with --accept-failed-gates",
        )


def failed_gates(gates: Any) -> list[str]:
    """Names of the gates that did not pass, from the contents of ``gates.json``."""
    entries = gates.get("gates", gates) if isinstance(gates, Mapping) else gates
    named = entries.items() if isinstance(entries, Mapping) else ((gate["name"], gate) for gate in entries)
    return [name for name, gate in named if isinstance(gate, Mapping) and not gate["passed"]]
