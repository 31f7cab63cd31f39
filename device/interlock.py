"""The mask interlock on the running device: every frame is judged before it is used.

The statistic and its thresholds are `opticaldr.calibration.interlock`'s. A frame without the calibrated
optics, or one that cannot be judged, is dropped. Two frames in a row without the optics trip the interlock,
and it stays so.

Optics that blur as strongly as the calibrated ones but in another way are found by `opticaldr.calibration.structure`,
a few times a second. Evidence against the calibrated mask adds up over frames (a cumulative sum: Page, Biometrika 41,
100, 1954); while there is enough of it frames are dropped. It does not trip: a scene far outside the calibrated
depths looks like other optics, too.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from opticaldr.artefacts import Artefact
from opticaldr.artefacts.bundle import PSF_BANK, BundleSpec, Interlock
from opticaldr.calibration.interlock import StopBand, superpixel_bank
from opticaldr.calibration.structure import Structure

PATIENCE = 2
"""Frames in a row without the optics, or without being judged, after which that is an event."""
STRIDE = 8
"""Frames from one look at the structure to the next."""
EVIDENCE, MOST_EVIDENCE = 1.0, 3.0
"""Sum of disagreement from which frames are dropped, and beyond which it is not added up."""


@dataclass(frozen=True)
class Verdict:
    """What is thought of one frame.

    Attributes:
        margin: stop-band fraction in units of its ceiling; above 1 the optics are not in place.
        trusted: whether the frame may be used.
        blind: whether too many frames in a row could not be judged (too dark, too plain), or their structure is
            not the calibrated mask's; passes with the cause.
        tripped: whether the optics count as not in place; stays so.
    """

    margin: float
    trusted: bool
    blind: bool
    tripped: bool


class InterlockWatch:
    """Judges frames one after another; once tripped it stays so.

    Args:
        interlock: noise model and thresholds.
        band: the statistic, for frames of the camera's shape.
        structure: the same.
    """

    def __init__(self, interlock: Interlock, band: StopBand, structure: Structure) -> None:
        self._interlock, self._band, self._structure = interlock, band, structure
        self._absent = self._unjudged = self._frames = 0
        self._evidence = 0.0
        self._tripped = False

    @classmethod
    def of(cls, bundle: Artefact, spec: BundleSpec) -> InterlockWatch:
        """The watch that a bundle describes, ready for its first frame."""
        with np.load(bundle.file(PSF_BANK)) as stored:
            bank = superpixel_bank(stored["psf"], spec.camera.binning)
        shape = spec.camera.rows // spec.camera.binning, spec.camera.columns // spec.camera.binning
        band = StopBand.of(bank, shape, spec.interlock)
        return cls(spec.interlock, band, Structure(bank, shape))

    def look(self, superpixels: NDArray[np.float32]) -> Verdict:
        """Judge one frame, linear RGB ``[3, y, x]``. What is not a number cannot be judged: it fails
        closed."""
        spectrum = self._band.spectrum(superpixels)
        fraction, contrast = self._band.fraction(spectrum)
        margin = fraction / self._interlock.ceiling
        judged = bool(np.isfinite(margin)) and contrast >= self._interlock.floor
        absent = judged and margin > 1
        self._absent = self._absent + 1 if absent else 0
        self._unjudged = 0 if judged else self._unjudged + 1
        self._tripped = self._tripped or self._absent >= PATIENCE
        if judged and not absent:
            if self._frames % STRIDE == 0:
                self._weigh(self._structure.agreement(spectrum))
            self._frames += 1
        foreign = self._evidence >= EVIDENCE
        trusted = judged and not absent and not foreign and not self._tripped
        blind = foreign or self._unjudged >= PATIENCE
        return Verdict(max(margin, 0.0) if judged else 0.0, trusted, blind, self._tripped)

    def _weigh(self, agreement: float) -> None:
        """Add to the evidence against the calibrated mask, or take from it; NaN says nothing."""
        if np.isfinite(agreement):
            self._evidence = min(max(self._evidence - agreement, 0.0), MOST_EVIDENCE)
