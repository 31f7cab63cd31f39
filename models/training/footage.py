"""What a design learns from and is judged on: simulated subjects, or the data sets that its config names."""

import os
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from opticaldr.errors import Refusal
from opticaldr.models.data import (
    SPLITS,
    Clip,
    DataSet,
    Recording,
    SceneCache,
    Take,
    content_key,
    open_dataset,
)
from opticaldr.models.data.films import duration
from opticaldr.models.data.photographs import place_template
from opticaldr.models.optics import OpticsSpec, face_width
from opticaldr.models.training.config import DataConfig, DesignConfig, SubjectsConfig
from opticaldr.models.training.crew import first_alone
from opticaldr.models.training.loop import Progress
from opticaldr.models.training.pool import Pool, film

PEOPLE = 12
"""At least so many people have to be seen twice, or no recogniser can be trained and judged."""

Splits = dict[str, Pool]


@dataclass(frozen=True)
class Footage:
    """Scenes of the splits ``train``, ``validate`` and ``test``.

    Attributes:
        pictures: what lens and network learn from.
        clips: what the temporal head learns from; the same where one set serves both.
        who: for every split of the clips, person and session ``[r, 2]`` of each window, by name.
        about: where everything comes from, and what was mended, left out or skipped: a line each.
    """

    pictures: Splits
    clips: Splits
    who: dict[str, NDArray[np.str_]]
    about: dict[str, Any]


def gather(config: DesignConfig, spec: OpticsSpec, seed: int, progress: Progress) -> Footage:
    """Film everything that the config asks for.

    Raises:
        Refusal: a data set that cannot serve; says why.
    """
    subjects, data = config.subjects, config.data
    stills = [_open(name, data, seed) for name in data.pictures]
    films = _open(data.clips, data, seed) if data.clips is not None else None
    if films is not None and (not films.moving or any(r.score is None for r in films.recordings)):
        raise Refusal(
            f"{films.name} holds no films with BDI-II totals", "name avec2013:DIR or avec2014:DIR as clips"
        )
    simulated: Splits = {}
    if not stills or films is None:
        sizes = {"train": subjects.train, "test": subjects.test, "validate": subjects.validation}
        first = 0
        for split, count in sizes.items():
            simulated[split] = film(range(first, first + count), subjects, spec, seed, progress)
            first += count
    skipped: list[str] = []
    pictures = clips = simulated
    if stills:
        with first_alone():
            pictures = _shoot_all(stills, subjects, data, spec, seed, progress, skipped)
        _require_people(pictures["train"], " and ".join(data.pictures))
    if films is not None:
        with first_alone():
            clips, who = _shoot(films, subjects, data, spec, seed, progress, skipped)
    else:
        who = {
            split: np.array(
                [(f"{split} {person}", f"{row}") for row, person in enumerate(pool.subject.tolist())]
            )
            for split, pool in simulated.items()
        }
    remarks = [
        f"{one.name}: {line}" for one in [*stills, *([films] if films else [])] for line in one.remarks
    ]
    about = {
        "pictures": list(data.pictures) or ["simulated subjects"],
        "clips": data.clips or "simulated subjects",
        "remarks": remarks,
        "skipped": skipped,
    }
    return Footage(pictures, clips, who, about)


def _open(name: str, data: DataConfig, seed: int) -> DataSet:
    detector = Path(data.detector) if data.detector else None
    return open_dataset(name, detector, aligned=data.aligned, seed=seed)


def _require_people(pool: Pool, name: str) -> None:
    """Refuse pictures that teach nothing, or on which no recogniser can be trained and judged."""
    if not pool.names:
        raise Refusal(
            f"{name} holds no labels that a network could learn",
            "add celeba:DIR or expressions:PATH, or name a detector, whose landmarks are labels",
        )
    seen = Counter(pool.subject[pool.subject >= 0].tolist())
    twice = sum(count >= 2 for count in seen.values())
    if twice < PEOPLE:
        raise Refusal(
            f"{name} shows {twice} people twice or more in its training split; {PEOPLE} are needed",
            "add a set that says who is seen, such as celeba:DIR or people:DIR",
        )


def _shoot_all(
    opened: Sequence[DataSet],
    subjects: SubjectsConfig,
    data: DataConfig,
    spec: OpticsSpec,
    seed: int,
    progress: Progress,
    skipped: list[str],
) -> Splits:
    """Several sets as one: factors side by side, unknown where a set does not label them."""
    names = tuple(dict.fromkeys(name for one in opened for name in one.factors))
    shot = [_shoot(one, subjects, data, spec, seed, progress, skipped, names)[0] for one in opened]
    if len({pools["train"].frames.shape[1] for pools in shot}) > 1:
        raise Refusal("stills and films cannot be mixed as pictures", "name films as clips")
    return {split: _join([pools[split] for pools in shot]) for split in SPLITS}


def _join(pools: Sequence[Pool]) -> Pool:
    """Pools end to end; people keep apart, and those seen often come last, as everywhere (see `_shoot`)."""
    if len(pools) == 1:
        return pools[0]
    offset, subjects = 0, []
    for pool in pools:
        subjects.append(torch.where(pool.subject >= 0, pool.subject + offset, -1))
        offset += pool.people
    return replace(
        pools[0],
        frames=torch.cat([pool.frames for pool in pools]),
        factors=torch.cat([pool.factors for pool in pools]),
        subject=_renumber(torch.cat(subjects)),
        view=torch.cat([pool.view for pool in pools]),
        score=torch.cat([pool.score for pool in pools]),
        landmarks=torch.cat([pool.landmarks for pool in pools]),
    )


def _renumber(subject: torch.Tensor) -> torch.Tensor:
    """Numbers by how often people are seen, most often last; -1 stays."""
    people, counts = torch.unique(subject[subject >= 0], return_counts=True)
    order = people[torch.argsort(counts, stable=True)]
    number = torch.full((int(subject.max()) + 2,), -1)
    number[order] = torch.arange(len(order))
    return number[subject]  # -1 indexes the last entry, which is -1


def _shoot(
    opened: DataSet,
    subjects: SubjectsConfig,
    data: DataConfig,
    spec: OpticsSpec,
    seed: int,
    progress: Progress,
    skipped: list[str],
    names: tuple[str, ...] | None = None,
) -> tuple[Splits, dict[str, NDArray[np.str_]]]:
    """Pools of all splits and, for each row, the names of person and session.

    People are numbered by how often they are seen, so that the last ones, on whom the lens stage judges its
    adversary, are seen more than once.
    """
    cache = SceneCache(round(data.cache * 2**30))
    pools: Splits = {}
    names_of: dict[str, NDArray[np.str_]] = {}
    for split in SPLITS:
        chosen = list(opened.split(split))
        if not chosen:
            raise Refusal(f"{opened.name} holds nothing to {split} on", "give it some people of each split")
        if data.limit is not None and len(chosen) > data.limit:
            picked = np.random.default_rng(seed).permutation(len(chosen))[: data.limit]
            chosen = [chosen[index] for index in sorted(picked)]
        rows, scenes, factors, landmarks = _film(
            opened, chosen, subjects, data, spec, cache, names or opened.factors, progress, skipped
        )
        who = [recording.subject or "" for recording, _, _ in rows]
        numbers = {name: number for number, name in enumerate(dict.fromkeys(filter(None, who)))}
        pools[split] = Pool(
            scenes,
            factors,
            _renumber(torch.tensor([numbers.get(name, -1) for name in who])),
            torch.tensor([view for _, _, view in rows]),
            torch.tensor([float("nan") if r.score is None else float(r.score) for r, _, _ in rows]),
            landmarks,
            names or opened.factors,
        )
        # The two tasks of AVEC 2014 are one session: 203_1_Freeform and 203_1_Northwind have one total.
        names_of[split] = np.array([(r.subject or "", r.session.partition("_")[0]) for r, _, _ in rows])
    return pools, names_of


Row = tuple[Recording, float, int]  # what, from when on (seconds), at which distance


def _film(
    opened: DataSet,
    chosen: Sequence[Recording],
    subjects: SubjectsConfig,
    data: DataConfig,
    spec: OpticsSpec,
    cache: SceneCache,
    names: tuple[str, ...],
    progress: Progress,
    skipped: list[str],
) -> tuple[list[Row], torch.Tensor, torch.Tensor, torch.Tensor]:
    """Rows that could be filmed; scenes ``[r, t, 3, y, x]``, factors ``[r, t, f]``, landmarks ``[r, t, 5, 2]``.

    Where landmarks are not known, they are taken to be where an average face has them. What cannot be read is left
    out and named in ``skipped``.
    """
    frames = subjects.frames if opened.moving else 1
    size = spec.sensor.binned_shape
    widths = [face_width(spec, depth) for depth in subjects.depths]
    rows: list[Row] = []
    seen: Counter[str] = Counter()
    for recording in chosen:
        starts = _starts(recording, frames / subjects.fps, data.windows) if opened.moving else [0.0]
        person = recording.subject or recording.session
        view = (seen[person] + len(seen)) % len(widths)
        seen[person] += 1
        rows += [(recording, start, view) for start in starts]

    def one(row: Row) -> Clip | Refusal:
        recording, start, view = row
        try:
            return opened.film(recording, Take(frames, subjects.fps, size, widths[view], start))
        except Refusal as refusal:
            return refusal

    shape = (len(rows), frames, 3, *size)

    def make(folder: Path) -> None:
        scenes = np.lib.format.open_memmap(folder / "scenes.npy", "w+", np.float16, shape)
        factors = np.full((len(rows), frames, len(names)), np.nan, np.float32)
        landmarks = np.empty((len(rows), frames, 5, 2), np.float32)
        kept: list[int] = []
        lost: list[str] = []
        with ThreadPoolExecutor(os.cpu_count()) as crew:
            for number, clip in enumerate(crew.map(one, rows)):
                progress(f"film {opened.name.partition(':')[0]}", number + 1, len(rows))
                if isinstance(clip, Refusal):
                    lost.append(clip.what)
                    continue
                place = len(kept)
                scenes[place] = clip.frames.transpose(0, 3, 1, 2)
                assert clip.landmarks is not None
                usual = place_template(size, widths[rows[number][2]])
                landmarks[place] = np.where(np.isnan(clip.landmarks), usual, clip.landmarks)
                for index, name in enumerate(names):
                    if name in clip.factors:
                        factors[place, :, index] = clip.factors[name]
                kept.append(number)
        scenes.flush()
        np.save(folder / "factors.npy", factors[: len(kept)])
        np.save(folder / "landmarks.npy", landmarks[: len(kept)])
        np.save(folder / "kept.npy", np.array(kept, np.int64))
        np.save(folder / "lost.npy", np.array(lost, dtype=np.str_))

    detector = Path(data.detector) if data.detector else None
    key = content_key(
        (*(recording.file for recording in chosen), detector),
        [(r.session, dict(r.factors), None if r.landmarks is None else r.landmarks.tolist()) for r in chosen],
        [(start, view) for _, start, view in rows],
        (frames, subjects.fps, size, widths, names),
    )
    arrays = cache.remember(key, 2 * int(np.prod(shape)), make)
    skipped += [line for line in arrays["lost"].tolist() if line not in skipped]
    kept = arrays["kept"].tolist()
    if not kept:
        raise Refusal(f"nothing in {opened.name} can be read", "extract it again")
    return (
        [rows[number] for number in kept],
        torch.from_numpy(arrays["scenes"])[: len(kept)],
        torch.from_numpy(np.array(arrays["factors"])),
        torch.from_numpy(np.array(arrays["landmarks"])),
    )


def _starts(recording: Recording, seconds: float, windows: int) -> list[float]:
    """When the windows of a film begin, evenly spaced; one at its start where it has no room for more."""
    assert recording.file is not None
    room = max(0.0, duration(recording.file) - seconds)
    count = max(1, min(windows, int(room // seconds) + 1))
    return [room * index / max(count - 1, 1) for index in range(count)]
