"""How a face moves through a session, and how the BDI-II score drives it.

The directions of the effects are those the literature reports for depressed against recovered or healthy
people; their sizes are this project's choice, made so that a stage for testing is neither hopeless nor
trivial. They carry no clinical meaning.

* fewer, weaker and briefer smiles, lip corners lower at rest; smaller and slower head movement: Girard,
  Cohn, Mahoor, Mavadati, Hammal & Rosenwald, *Nonverbal social withdrawal in depression*, Image and Vision
  Computing 32 (2014) 641-647; Fisch, Frey & Hirsbrunner, *Analyzing nonverbal behavior in depression*,
  Journal of Abnormal Psychology 92 (1983) 307-318;
* head held lower, moving less and more slowly: Alghowinem, Goecke, Wagner, Parker & Breakspear, *Head pose
  and movement analysis as an indicator of depression*, ACII 2013, 283-288;
* gaze turned down: Waxer, *Nonverbal cues for depression*, Journal of Abnormal Psychology 83 (1974) 319-322;
* longer blinks and narrower lid opening: Alghowinem, Goecke, Wagner, Parker & Breakspear, *Eye movement
  analysis for depression detection*, ICIP 2013, 4220-4224;
* brows drawn together and up at their inner ends: Schwartz, Fair, Salt, Mandel & Klerman, *Facial muscle
  patterning to affective imagery in depressed and nondepressed subjects*, Science 192 (1976) 489-491;
* less speech and longer pauses: Mundt, Snyder, Cannizzaro, Chappie & Geralts, *Voice acoustic measures of
  depression severity*, Journal of Neurolinguistics 20 (2007) 50-64.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from opticaldr.models.data.clips import FloatArray

BDI_MAXIMUM = 63
SESSION_SECONDS = 120.0  # a session repeats after this time, without a seam
TRACK_RATE = 30.0  # samples per second at which a session is drawn

# How far one channel of behaviour may disagree with the score, in units of the full scale. Drawn once per
# session and channel: a person may smile as rarely as at 40 points and move as quickly as at 10.
DISAGREEMENT = 0.2

Track = dict[str, FloatArray]  # a factor over time, by name
Moment = Mapping[str, float]  # all factors at one time
Samples = NDArray[np.float64]


def draw_score(rng: np.random.Generator) -> int:
    """Draw a BDI-II total: skewed towards few symptoms, mean about 20, as a mixed sample would show."""
    return round(BDI_MAXIMUM * float(rng.beta(1.0, 2.2)))


def draw_session(rng: np.random.Generator, score: int) -> Track:
    """Draw the behaviour of one session.

    Args:
        rng: source of all randomness.
        score: BDI-II total, 0 to 63.

    Returns:
        One float32 array per factor, ``SESSION_SECONDS * TRACK_RATE`` samples, periodic:
        ``smile`` (lip corner pull, 0 rest to 1 broad, negative when the corners hang), ``mouth`` (opening,
        0 to 1), ``brow`` (inner ends, 0 at rest to 1 raised in grief), ``blink`` (lid closure, 0 to 1),
        ``gaze_x``, ``gaze_y`` (eye in head, radians, right and down positive), ``yaw``, ``pitch``, ``roll``
        (head, radians; nose to the right of the image, nose down, clockwise in the image positive).
    """

    def severity() -> float:
        return float(np.clip(score / BDI_MAXIMUM + DISAGREEMENT * rng.standard_normal(), 0.0, 1.0))

    count = round(SESSION_SECONDS * TRACK_RATE)
    ill = severity()
    smile = (
        0.1
        - 0.4 * ill
        + _events(
            rng,
            count,
            per_minute=8.0 * (1 - 0.8 * ill),
            seconds=3.5 * (1 - 0.6 * ill),
            rise=0.35,
            amplitude=0.95 * (1 - 0.5 * ill),
        )
    )
    smile += 0.04 * _wander(rng, count, 0.3)

    ill = severity()
    speaking = _wander(rng, count, 0.15) > 0.9 * ill - 0.2
    syllables = np.clip(0.35 + 0.4 * _wander(rng, count, 4.0), 0.0, 1.0)
    mouth = _smooth(speaking * syllables, 0.08) * (1 - 0.3 * ill)

    ill = severity()
    brow = np.clip(0.05 + 0.5 * ill + 0.15 * _wander(rng, count, 0.2), 0.0, 1.0)

    ill = severity()
    droop = 0.02 + 0.25 * ill
    shut = _events(
        rng, count, per_minute=16.0, seconds=0.16 + 0.36 * ill, rise=0.06, amplitude=1.0, spread=0.15
    )
    blink = droop + (1 - droop) * shut

    ill = severity()
    gaze_x = np.radians(9.0) * _saccades(rng, count, per_second=0.9)
    gaze_y = np.radians(-1.0 + 20.0 * ill) + np.radians(5.0) * _saccades(rng, count, per_second=0.9)

    ill = severity()
    reach, pace = 1 - 0.65 * ill, 0.4 * (1 - 0.6 * ill)
    yaw = np.radians(11.0) * reach * _wander(rng, count, pace)
    pitch = np.radians(5.0) * reach * _wander(rng, count, pace) + np.radians(13.0 * ill - 3.0)
    roll = np.radians(4.0) * reach * _wander(rng, count, pace)

    samples = {
        "smile": np.clip(smile, -0.35, 1.0),
        "mouth": np.clip(mouth, 0.0, 1.0),
        "brow": brow,
        "blink": np.clip(blink, 0.0, 1.0),
        "gaze_x": np.clip(gaze_x, -0.5, 0.5),
        "gaze_y": np.clip(gaze_y, -0.35, 0.6),
        "yaw": np.clip(yaw, -0.5, 0.5),
        "pitch": np.clip(pitch, -0.35, 0.4),
        "roll": np.clip(roll, -0.3, 0.3),
    }
    return {name: values.astype(np.float32) for name, values in samples.items()}


def sample_session(track: Track, times: Samples) -> Track:
    """Read a session's factors at the given times in seconds, by linear interpolation and periodically."""
    count = round(SESSION_SECONDS * TRACK_RATE)
    grid = np.arange(count) / TRACK_RATE
    return {
        name: np.interp(times, grid, values, period=SESSION_SECONDS).astype(np.float32)
        for name, values in track.items()
    }


def _wander(rng: np.random.Generator, count: int, bandwidth: float) -> Samples:
    """Periodic Gaussian noise of unit variance, low-pass filtered (second order) at `bandwidth` hertz."""
    frequency = np.fft.rfftfreq(count, 1 / TRACK_RATE)
    gain = 1.0 / (1.0 + (frequency / bandwidth) ** 4)
    gain[0] = 0.0
    power = 2.0 * np.sum(gain**2) / count
    noise = np.fft.rfft(rng.standard_normal(count))
    return np.asarray(np.fft.irfft(noise * gain, count) / np.sqrt(power))


def _smooth(values: NDArray[np.floating] | NDArray[np.bool_], seconds: float) -> Samples:
    """Periodic Gaussian smoothing with the given standard deviation."""
    frequency = np.fft.rfftfreq(len(values), 1 / TRACK_RATE)
    gain = np.exp(-2.0 * (np.pi * frequency * seconds) ** 2)
    return np.asarray(np.fft.irfft(np.fft.rfft(values) * gain, len(values)))


def _events(
    rng: np.random.Generator,
    count: int,
    *,
    per_minute: float,
    seconds: float,
    rise: float,
    amplitude: float,
    spread: float = 0.35,
) -> Samples:
    """Poisson events with raised-cosine onset and offset of `rise` seconds; the stronger of two counts."""
    total = np.zeros(count)
    for _ in range(rng.poisson(per_minute * SESSION_SECONDS / 60.0)):
        centre = rng.uniform(0.0, SESSION_SECONDS)
        length = seconds * rng.lognormal(0.0, spread)
        height = amplitude * rng.uniform(0.6, 1.0) if amplitude < 1.0 else amplitude
        reach = max(length / 2, rise)
        samples = np.arange(
            np.floor((centre - reach) * TRACK_RATE), np.ceil((centre + reach) * TRACK_RATE) + 1
        )
        phase = np.clip((np.abs(samples / TRACK_RATE - centre) - (reach - rise)) / rise, 0.0, 1.0)
        at = samples.astype(int) % count
        total[at] = np.maximum(total[at], height * (0.5 + 0.5 * np.cos(np.pi * phase)))
    return total


def _saccades(rng: np.random.Generator, count: int, *, per_second: float) -> Samples:
    """A gaze that rests and jumps: standard normal targets held for exponential times, 40 ms transitions."""
    jumps = rng.random(count) < per_second / TRACK_RATE
    jumps[0] = True
    targets = rng.standard_normal(count)
    return _smooth(targets[np.maximum.accumulate(np.where(jumps, np.arange(count), 0))], 0.04)
