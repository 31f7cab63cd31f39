"""A3: undoing a known PSF, then recognising."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from opticaldr.models.evaluation.alignment import FloatArray
from opticaldr.models.evaluation.attackers.attack import Ground, Reading
from opticaldr.models.evaluation.attackers.off_the_shelf import read_restored
from opticaldr.models.evaluation.attackers.retrained import Retrained
from opticaldr.models.evaluation.scratch import scratch
from opticaldr.models.evaluation.views import BATCH, Captures, View

Invert = Callable[[FloatArray, NDArray[np.floating], float], FloatArray]

OWN_DEPTH = -1
"""Depth assumed: the true one of each face, as its size in the frame gives away."""


@dataclass(frozen=True)
class Inversion:
    """A3: undo the known PSF, with the regularisation and the depth that recognise the tuning people best.

    Attributes:
        name: what the report calls it.
        invert: frames, PSF and one setting to restored frames.
        settings: what the attacker tries.
        bank: the PSFs it believes in, ``[depth, colour, y, x]``; the camera's own if None.
        retrain: whether a recogniser is then trained on restored pictures (A3 then A1).
    """

    name: str
    invert: Invert
    settings: tuple[float, ...]
    bank: FloatArray | None = None
    retrain: bool = False

    def read(self, ground: Ground, view: View, captures: Captures) -> Iterator[Reading]:
        """See `Attack`."""
        bank = view.bank if self.bank is None else self.bank
        restore, notes = self.tuned(ground, bank, captures.train[ground.tune])
        restored = restore(captures.test, ground.test.depths)
        yield from read_restored(ground, self.name, restored, notes)
        if self.retrain:
            both = Captures(restore(captures.train, ground.train.depths), restored)
            for reading in Retrained(f"{self.name}, then A1").read(ground, view, both):
                shown = restored[ground.shown]
                yield replace(reading, restored=shown, notes=notes | reading.notes)

    def tuned(
        self, ground: Ground, bank: FloatArray, seen: FloatArray
    ) -> tuple[Callable[[FloatArray, NDArray[np.int64]], FloatArray], dict[str, Any]]:
        """What restores frames of given depths best, judged on captures of the tuning people, and what was tried.

        The regularisation is chosen first, at each face's own depth; then one depth for all is tried for every
        PSF of the bank: where the PSF is known badly, that of another depth may serve better.
        """
        depths = ground.train.depths[ground.tune]
        tried: dict[str, float] = {}

        def score(setting: float, assumed: int) -> float:
            auc = ground.tuning_auc(self.restore(bank, seen, depths, setting, assumed))
            tried[f"{setting:g}, {'own depth' if assumed == OWN_DEPTH else f'depth {assumed}'}"] = auc
            ground.progress(f"tune {self.name}", len(tried), len(self.settings) + len(bank))
            return auc

        setting = max(self.settings, key=lambda setting: score(setting, OWN_DEPTH))
        best = tried[f"{setting:g}, own depth"]
        grid = {depth: score(setting, depth) for depth in range(len(bank))} if len(bank) > 1 else {}
        assumed = max(grid, key=lambda depth: grid[depth], default=OWN_DEPTH)
        if grid and grid[assumed] <= best:
            assumed = OWN_DEPTH

        def restore(frames: FloatArray, depths: NDArray[np.int64]) -> FloatArray:
            return self.restore(bank, frames, depths, setting, assumed)

        return restore, {"setting": setting, "depth": assumed, "tuning_auc": tried}

    def restore(
        self, bank: FloatArray, frames: FloatArray, depths: NDArray[np.int64], setting: float, assumed: int
    ) -> FloatArray:
        """Undo the PSF of the assumed depth, a batch at a time."""
        restored = scratch(frames.shape)
        for depth in np.unique(depths).tolist():
            psf = bank[depth if assumed == OWN_DEPTH else assumed]
            index = np.flatnonzero(depths == depth)
            for start in range(0, len(index), BATCH):
                batch = index[start : start + BATCH]
                restored[batch] = self.invert(np.asarray(frames[batch], np.float32), psf, setting)
        return restored


def perturbed(bank: FloatArray, seed: int) -> FloatArray:
    """PSFs as a careless measurement would give them: 5 % too large, each pixel wrong by 1 % of the peak."""
    import cv2

    rng = np.random.default_rng(seed)
    side = bank.shape[-1]
    zoom = cv2.getRotationMatrix2D(((side - 1) / 2, (side - 1) / 2), 0, 1.05)
    wrong = np.empty_like(bank)
    for depth, colour in np.ndindex(bank.shape[:2]):
        psf = np.ascontiguousarray(bank[depth, colour], np.float32)
        large = cv2.warpAffine(psf, zoom, (side, side), flags=cv2.INTER_CUBIC)
        noisy = np.maximum(large + 0.01 * psf.max() * rng.standard_normal(psf.shape), 0)
        wrong[depth, colour] = noisy / noisy.sum() * psf.sum()
    return wrong
