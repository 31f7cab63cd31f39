"""What a changing key buys: a new random mask for every frame, as a spatial light modulator can show it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from opticaldr.models.evaluation.alignment import FloatArray
from opticaldr.models.evaluation.attackers import Attack, OffTheShelf, Retrained
from opticaldr.models.evaluation.attackers.known_psf import Inversion
from opticaldr.models.evaluation.controls import at_random, sized
from opticaldr.models.evaluation.inversion import WIENER_NOISE, wiener
from opticaldr.models.evaluation.spots import Spots
from opticaldr.models.evaluation.views import PsfView, View
from opticaldr.models.optics import OpticsSpec

KEYS = 48
"""Random masks that the modulator draws from."""

STATIC, CHANGING = "one random mask", "a random mask a frame"


@dataclass(frozen=True)
class ChangingView:
    """A mask drawn anew for every frame; the attacker does not know which.

    Attributes:
        keys: PSFs of every mask, ``[key, depth, colour, y, x]``.
        seed: of the draw; a frame's mask depends on it and on the frame's own light.
        name: what the report calls it.
    """

    keys: FloatArray
    seed: int
    name: str = CHANGING

    @property
    def bank(self) -> FloatArray:
        """The mean over all masks: what is known of the PSF without the key."""
        return np.asarray(self.keys.mean(0), np.float32)

    def optical_image(self, scenes: FloatArray, depth: int) -> FloatArray:
        """See `View`."""
        image = np.empty(scenes.shape, np.float32)
        for number, scene in enumerate(scenes):
            light = int(np.asarray(scene, np.float64).sum() * 1e3)
            key = int(np.random.default_rng([self.seed, light]).integers(len(self.keys)))
            image[number] = PsfView(self.name, self.keys[key]).optical_image(scene[None], depth)[0]
        return image


def dynamic_study(
    spec: OpticsSpec, depths: Sequence[float], width: float, *, window: int, seed: int
) -> list[tuple[View, list[Attack]]]:
    """One random mask kept, and random masks that change, all of the lens's mean EE50, with those who attack them:
    A0, A1 and the inversion of the known PSF (of the mean PSF, where the mask changes).

    The modulator's own limits (pixels, phase steps, one wavelength at a time) are left out: this is about keys.

    Args:
        spec: of the optics that the masks replace.
        depths: of the evaluation, metres.
        width: mean EE50, superpixels.
        window: odd side of the PSFs.
        seed: of the masks.
    """
    banks = []
    for key in range(KEYS):
        spots = Spots(at_random(np.random.default_rng([seed, key])), spec, depths)
        banks.append(spots.bank(sized(spots.width, width, start=1e-5), window))
    attacks: list[Attack] = [OffTheShelf(), Retrained(), Inversion("A3 Wiener", wiener, WIENER_NOISE)]
    return [(PsfView(STATIC, banks[0]), attacks), (ChangingView(np.stack(banks), seed), attacks)]
