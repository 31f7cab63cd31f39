"""Data sets in miniature, as they are distributed, showing simulated subjects: nobody real."""

from functools import cache
from pathlib import Path

import cv2
import numpy as np

from opticaldr.models.data import SimulatedSubjects, srgb_bytes

ATTRIBUTES = ("Smiling", "Mouth_Slightly_Open")
PARTITIONS = ("Training", "Development", "Testing")


@cache
def footage(person: int, session: int, frames: int, size: tuple[int, int], face_width: float):
    """Bytes ``[t, y, x, 3]`` (blue first, as OpenCV writes), the clip."""
    clip = SimulatedSubjects(11).clip(person, session, frames, size, face_width, fps=4.0)
    return np.ascontiguousarray(srgb_bytes(clip.frames)[..., ::-1]), clip


def celeba(folder: Path, people: int = 20, each: int = 2) -> Path:
    """CelebA as it unpacks: ``Anno``, ``Eval``, ``Img``; every fifth person is tested on, every tenth validates."""
    pictures = folder / "Img" / "img_align_celeba"
    pictures.mkdir(parents=True)
    (folder / "Anno").mkdir()
    (folder / "Eval").mkdir()
    lists = {
        "Anno/list_attr_celeba.txt": [str(people * each), " ".join(ATTRIBUTES)],
        "Anno/list_landmarks_align_celeba.txt": [
            str(people * each),
            "lefteye_x lefteye_y righteye_x righteye_y nose_x nose_y leftmouth_x leftmouth_y rightmouth_x rightmouth_y",
        ],
        "Anno/identity_CelebA.txt": [],
        "Eval/list_eval_partition.txt": [],
    }
    for person in range(people):
        for session in range(each):
            name = f"{person * each + session + 1:06d}.jpg"
            images, clip = footage(person, session, 1, (218, 178), 100.0)
            cv2.imwrite(str(pictures / name), images[0])
            smiles = clip.factors["smile"][0] > 0.2, clip.factors["mouth"][0] > 0.2
            marks = " ".join(str(round(float(v))) for v in clip.landmarks[0].ravel())
            part = {0: 2, 1: 1, 5: 2}.get(person % 10, 0)
            lists["Anno/list_attr_celeba.txt"].append(
                f"{name} {' '.join('1' if s else '-1' for s in smiles)}"
            )
            lists["Anno/list_landmarks_align_celeba.txt"].append(f"{name} {marks}")
            lists["Anno/identity_CelebA.txt"].append(f"{name} {2880 + person}")
            lists["Eval/list_eval_partition.txt"].append(f"{name} {part}")
    for place, lines in lists.items():
        (folder / place).write_text("\n".join(lines) + "\n")
    return folder


def write_film(file: Path, person: int, session: int, frames: int, fps: float = 4.0) -> None:
    images, _ = footage(person, session, frames, (96, 128), 40.0)
    file.parent.mkdir(parents=True, exist_ok=True)
    writer = cv2.VideoWriter(str(file), cv2.VideoWriter_fourcc(*"mp4v"), fps, (128, 96))
    for image in images:
        writer.write(image)
    writer.release()


def avec(folder: Path, year: int, each: int = 3, frames: int = 24) -> Path:
    """AVEC with ``each`` sessions a partition; person 203 is in all of them. The labels nest deeper."""
    for part, name in enumerate(PARTITIONS):
        for n in range(each):
            person = 203 if n == 0 else 203 + 10 * part + n
            session = part + 1 if n == 0 else 1
            stem = f"{person}_{session}"
            if year == 2013:
                write_film(folder / name / f"{stem}_cut_combined.mp4", person, session, frames)
            else:
                for task in ("Freeform", "Northwind"):
                    film = folder / "Video" / name / task / f"{stem}_{task}_video.mp4"
                    write_film(film, person, session, frames)
            label = folder / "Labels" / f"AVEC{year}_Labels_{name}" / "deep" / f"{stem}_Depression.csv"
            label.parent.mkdir(parents=True, exist_ok=True)
            label.write_text(f"{SimulatedSubjects(11).score(person, session)}\n")
    return folder


def people(folder: Path, count: int = 10, each: int = 2) -> Path:
    """A folder a person, aligned."""
    for person in range(count):
        (folder / f"person_{person}").mkdir(parents=True)
        for session in range(each):
            images, _ = footage(person, session, 1, (128, 128), 72.0)
            cv2.imwrite(str(folder / f"person_{person}" / f"{session}.png"), images[0])
    return folder
