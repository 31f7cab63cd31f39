"""The depression score that an artefact's own networks read from clips, on simulated people nobody was
trained on."""

import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from opticaldr.artefacts import Artefact
from opticaldr.models.data import Shot, SimulatedSubjects, Take, film_all
from opticaldr.models.evaluation.alignment import FloatArray
from opticaldr.models.evaluation.descent import descend
from opticaldr.models.evaluation.faces import Progress
from opticaldr.models.evaluation.metrics import Interval, verification
from opticaldr.models.evaluation.recognisers import unit
from opticaldr.models.evaluation.subject import Subject
from opticaldr.models.evaluation.utility import Estimates, regression
from opticaldr.models.evaluation.verification import Embedded, compare
from opticaldr.models.evaluation.views import read
from opticaldr.models.networks import FACTORS, Compact, TemporalHead, gaussian_nll, load_networks
from opticaldr.models.optics import face_width

SESSIONS = 3
"""Of each person whom an artefact's networks are judged on."""

CONSTANT_FROM = 400
"""Sessions of other people whose median score is what the constant predictor says."""


@dataclass(frozen=True)
class Window:
    """What the temporal head looks at: how many frames, how many a second."""

    frames: int = 16
    fps: float = 1.0


@dataclass(frozen=True)
class Clips:
    """Sessions of simulated subjects; first axis ``r``.

    Attributes:
        frames: linear RGB ``[r, t, y, x, 3]``, float16 to halve the memory.
        factors: ``[r, t, f]`` in the order of `FACTORS`.
        scores: BDI-II totals.
        people: who.
        sessions: which session of theirs.
        depths: index of the depth.
        landmarks: true positions (x, y) in pixels ``[r, t, 5, 2]``.
    """

    frames: NDArray[np.float16]
    factors: FloatArray
    scores: FloatArray
    people: NDArray[np.int64]
    sessions: NDArray[np.int64]
    depths: NDArray[np.int64]
    landmarks: FloatArray


def film_clips(
    people: range,
    sessions: int,
    window: Window,
    widths: list[float],
    *,
    seed: int,
    size: tuple[int, int] = (112, 112),
    through: Callable[[FloatArray, int], FloatArray] = lambda scenes, depth: scenes,
    progress: Progress = lambda stage, done, total: None,
) -> Clips:
    """Film sessions, each at one of the depths in turn.

    Args:
        people: numbers of the subjects.
        sessions: of each.
        window: frames of a clip and their rate.
        widths: width of a face in pixels at each depth.
        seed: of the subjects.
        size: rows and columns.
        through: from scenes ``[t, y, x, 3]`` and the index of their depth to what is kept of them.
        progress: called as ``progress("film clips", done, total)``.
    """
    recordings = [(person, session) for person in people for session in range(sessions)]
    depths = np.array([(person + session) % len(widths) for person, session in recordings])
    frames = np.empty((len(recordings), window.frames, *size, 3), np.float16)
    factors = np.empty((len(recordings), window.frames, len(FACTORS)), np.float32)
    scores = np.empty(len(recordings), np.float32)
    landmarks = np.empty((len(recordings), window.frames, 5, 2), np.float32)

    shots = [
        Shot(*recording, Take(window.frames, window.fps, size, widths[depth]))
        for recording, depth in zip(recordings, depths, strict=True)
    ]
    for row, clip in enumerate(film_all(SimulatedSubjects(seed), shots)):
        frames[row] = through(clip.frames, int(depths[row]))
        factors[row] = np.stack([clip.factors[name] for name in FACTORS], axis=1)
        assert clip.score is not None
        assert clip.landmarks is not None
        scores[row], landmarks[row] = clip.score, clip.landmarks
        progress("film clips", row + 1, len(recordings))
    who, which = np.array(recordings).T
    return Clips(frames, factors, scores, who, which, depths, landmarks)


def constant_score(first: int, seed: int) -> float:
    """Median score of simulated people from number `first` on: what the constant predictor says."""
    stage = SimulatedSubjects(seed)
    return float(np.median([stage.score(first + n, 0) for n in range(CONSTANT_FROM)]))


def embed_clips(network: Compact, clips: Clips) -> torch.Tensor:
    """Embeddings ``[r, t, e]`` of every frame."""
    network.eval()
    with torch.inference_mode():
        rows = [
            network(torch.from_numpy(clip.astype(np.float32)).permute(0, 3, 1, 2)) for clip in clips.frames
        ]
    return torch.stack(rows).clone()


def train_head(
    windows: torch.Tensor,
    clips: Clips,
    steps: int,
    seed: int,
    progress: Progress = lambda stage, done, total: None,
    batch: int = 64,
) -> TemporalHead:
    """Train the temporal head on windows of embeddings, shortened and jittered at random."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        head = TemporalHead(windows.shape[-1])
        head.standardise(windows)
        scores = torch.from_numpy(clips.scores)

        def losses() -> Iterator[torch.Tensor]:
            for _ in range(steps):
                row = torch.randint(len(windows), (batch,))
                start = int(torch.randint(windows.shape[1] // 4 + 1, ()))
                window = windows[row, start:] + 0.1 * head.spread * torch.randn_like(windows[row, start:])
                mean, sigma = head(window)
                yield gaussian_nll(mean, sigma, scores[row])

        def tell(step: int) -> None:
            progress("train head", step, steps)

        descend(head, losses(), steps=steps, rate=3e-3, decay=3e-2, progress=tell)
    return head


def estimate(head: TemporalHead, windows: torch.Tensor, clips: Clips, constant: float) -> Estimates:
    """What the head says of windows of embeddings, beside the truth."""
    head.eval()
    with torch.inference_mode():
        said, _ = head(windows)
    return Estimates(said.double().numpy(), clips.scores.astype(np.float64), clips.people, constant)


@dataclass(frozen=True)
class Judged:
    """What an artefact's networks say of people they have not seen.

    Attributes:
        figures: MAE, RMSE and CCC of the score, beside the constant predictor's MAE.
        linkage: verification of people between sessions by nothing but what is put out, score and spread.
    """

    figures: dict[str, Interval]
    linkage: dict[str, Interval]


def link_records(mean: FloatArray, sigma: FloatArray, clips: Clips, *, seed: int) -> dict[str, Interval]:
    """Can people be recognised by their output records? Verification between sessions by the distance of records.

    Score and log of the spread are laid on two arcs, so that the cosine of two records falls with their distance.
    """
    values = np.stack([mean, np.log(sigma)], axis=1).astype(np.float64)
    span = np.maximum(np.ptp(values, axis=0), 1e-9)
    angle = (values - values.min(0)) / span * np.pi
    vectors = unit(np.concatenate([np.cos(angle), np.sin(angle)], axis=1))
    records = Embedded(vectors, clips.people, clips.sessions)
    return verification(compare(records, records), seed=seed)


def judge_networks(
    artefact: Artefact,
    optics: Subject,
    people: range,
    *,
    seed: int,
    progress: Progress = lambda stage, done, total: None,
) -> Judged | None:
    """The artefact's networks on captured clips; None if it holds no networks.

    Args:
        artefact: a design or a head.
        optics: its optics; noise included.
        people: numbers of simulated subjects that its training has not seen.
        seed: of subjects and noise.
        progress: of filming.
    """
    if "networks.safetensors" not in artefact.manifest.files:
        return None
    spec = optics.spec
    network, head, _ = load_networks(artefact.file("networks.safetensors"), spec.sensor.binned_shape[0])

    def through(scenes: FloatArray, depth: int) -> FloatArray:
        rng = np.random.default_rng([seed, int(scenes.sum()) % 2**32])
        return read(optics.view.optical_image(scenes, depth), spec.sensor, rng)

    widths = [face_width(spec, depth) for depth in optics.depths]
    clips = film_clips(
        people,
        SESSIONS,
        _window(artefact),
        widths,
        seed=seed,
        size=spec.sensor.binned_shape,
        through=through,
        progress=progress,
    )
    constant = constant_score(people.stop, seed)
    with torch.inference_mode():
        mean, sigma = head(embed_clips(network, clips))
    said = Estimates(mean.double().numpy(), clips.scores.astype(np.float64), clips.people, constant)
    return Judged(regression(said, seed=seed), link_records(mean.numpy(), sigma.numpy(), clips, seed=seed))


def _window(artefact: Artefact) -> Window:
    """The window its head was trained with."""
    if "config.toml" not in artefact.manifest.files:
        return Window()
    config = tomllib.loads(artefact.file("config.toml").read_text(encoding="utf-8")).get("subjects", {})
    return Window(int(config.get("frames", Window.frames)), float(config.get("fps", Window.fps)))
