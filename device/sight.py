"""From frames to estimates: take a frame, judge the optics, run the network, speak, forget."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from opticaldr.device.estimator import Estimator
from opticaldr.device.interlock import InterlockWatch
from opticaldr.device.mouth import Mouth
from opticaldr.device.quality import QualityWatch
from opticaldr.device.records import MAX_LATENCY, Event, Kind, Quality
from opticaldr.device.ring import FrameRing, erase
from opticaldr.hardware.cameras import Camera

NO_MARKS = Quality(0)
_KNOWING_NOTHING = 63 / 12**0.5
"""Standard deviation of a guess that is even over 0 to 63."""


@dataclass
class Count:
    """Frames seen, frames dropped, and the seconds each took from capture until it was done with."""

    frames: int = 0
    dropped: int = 0

    def __post_init__(self) -> None:
        self._histogram = np.zeros(round(MAX_LATENCY * 1e4) + 1, np.int64)  # bins of 0.1 ms

    def took(self, seconds: float) -> None:
        """Note how long one frame took."""
        self._histogram[min(round(seconds * 1e4), len(self._histogram) - 1)] += 1

    def latency(self, fraction: float) -> float:
        """The time that ``fraction`` of all frames did not exceed, seconds; 0 without frames."""
        reached = np.cumsum(self._histogram)
        if reached[-1] == 0:
            return 0.0
        return float(np.searchsorted(reached, fraction * reached[-1]) / 1e4)


class Sight:
    """Looks at one frame after another and says what the model makes of them.

    Args:
        camera: open, in the bundle's mode.
        estimator: the model, warm.
        interlock: watches that the optics are in place.
        ring: where frames live.
        mouth: where records go.
        marks: quality flags that every record carries.
    """

    def __init__(
        self,
        camera: Camera,
        estimator: Estimator,
        interlock: InterlockWatch,
        ring: FrameRing,
        mouth: Mouth,
        marks: Quality = NO_MARKS,
    ) -> None:
        self.count = Count()
        self._camera, self._estimator, self._interlock = camera, estimator, interlock
        self._ring, self._mouth, self._marks = ring, mouth, marks
        self._quality = QualityWatch()
        self._filled = 0
        self._blind = False
        self._flags = Quality(0)
        self._margin = 0.0

    def look(self) -> bool:
        """Take one frame and do everything with it; returns whether the optics may still be in place.

        Raises:
            Refusal: the camera gives no frame.
        """
        frame = self._camera.capture()
        captured = time.monotonic()
        raw = self._ring.take(frame.raw)
        embedding, superpixels = self._estimator.understand(raw)
        verdict = self._interlock.look(superpixels)
        self._margin = max(self._margin, verdict.margin)
        self.count.frames += 1
        if verdict.trusted:
            self._flags |= self._quality.look(superpixels)
            self._remember(embedding)
            self._speak(captured)
        else:
            self.count.dropped += 1
            self.wipe()
            self._flags = Quality.DOUBTFUL_OPTICS
        self._mention_doubt(verdict.blind)
        for array in (raw, embedding, superpixels):
            erase(array)
        self.count.took(time.monotonic() - captured)
        return not verdict.tripped

    def wipe(self) -> None:
        """Forget every frame, and what was made of them."""
        self._ring.wipe()
        self._estimator.window.fill(0)
        self._quality.forget()
        self._filled = 0

    def _mention_doubt(self, blind: bool) -> None:
        """Say once that frames cannot be judged, and again only after they could be."""
        if blind and not self._blind and self._mouth.may_speak():
            self._mouth.say(Kind.EVENT, event=Event.OPTICS_IN_DOUBT, quality=self._marks)
            self._blind = True
        self._blind = self._blind and blind

    def _remember(self, embedding: NDArray[np.float32]) -> None:
        """Put an embedding at the end of the window."""
        window = self._estimator.window
        if self._filled == len(window):
            window[:-1] = window[1:]
            self._filled -= 1
        window[self._filled] = embedding
        self._filled += 1

    def _speak(self, captured: float) -> None:
        """Say an estimate, if the window is full and the rate allows it, and begin a new window."""
        window = self._estimator.window
        if self._filled == len(window) and self._mouth.may_speak():
            self._say(*self._estimator.estimate(window), captured)
            self.wipe()
            self._flags, self._margin = Quality(0), 0.0

    def _say(self, mean: float, sigma: float, captured: float) -> None:
        flags = self._flags | self._marks
        if not (0 <= mean <= 63 and sigma <= _KNOWING_NOTHING):
            flags |= Quality.OUT_OF_RANGE
        self._mouth.say(
            Kind.ESTIMATE,
            estimate=round(min(max(mean, 0.0), 63.0), 1),
            sigma=round(min(max(sigma, 0.1), 25.5), 1),
            quality=flags,
            margin=self._percent(),
            latency=min(time.monotonic() - captured, MAX_LATENCY),
        )

    def farewell(self, event: Event = Event.NONE) -> None:
        """The last words: what happened, if something did, and the counts."""
        if event is not Event.NONE:
            self._mouth.say(Kind.EVENT, event=event, quality=self._marks, margin=self._percent())
        self._mouth.say(
            Kind.FAREWELL,
            quality=self._marks,
            margin=self._percent(),
            frames=self.count.frames,
            dropped=self.count.dropped,
            latency=self.count.latency(0.5),
            latency_p99=self.count.latency(0.99),
        )

    def _percent(self) -> int:
        return round(min(self._margin, 10.0) * 100)
