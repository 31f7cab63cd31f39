"""Photographs: where their faces are, what is refused, and real ones where the machine has them."""

import os
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from opticaldr.errors import Refusal
from opticaldr.models.data import SimulatedSubjects, srgb_bytes
from opticaldr.models.data.photographs import place_template
from opticaldr.models.evaluation import landmarks as places
from opticaldr.models.evaluation.attackers import Ground
from opticaldr.models.evaluation.attackers.off_the_shelf import OffTheShelf
from opticaldr.models.evaluation.attackers.retrained import Retrained
from opticaldr.models.evaluation.budgets import BUDGETS
from opticaldr.models.evaluation.controls import gaussian_view
from opticaldr.models.evaluation.faces import check_repeated, photographed_faces
from opticaldr.models.evaluation.landmarks import find_landmarks, read_landmarks
from opticaldr.models.evaluation.metrics import roc
from opticaldr.models.evaluation.recognisers import OnnxRecogniser
from opticaldr.models.evaluation.retraining import Schedule
from opticaldr.models.evaluation.study import run_study
from opticaldr.models.evaluation.subject import Subject
from opticaldr.models.evaluation.verification import Embedded, compare
from opticaldr.models.evaluation.views import Captures, PsfView, capture, sharp
from opticaldr.models.optics import preset

FACES, RECOGNISER = (os.environ.get(f"OPTICALDR_{name}") for name in ("FACES", "RECOGNISER"))
real = pytest.mark.skipif(
    not (FACES and RECOGNISER),
    reason="name a folder of photographs in OPTICALDR_FACES and an ONNX recogniser in OPTICALDR_RECOGNISER",
)


@pytest.fixture
def album(tmp_path):
    """Two pictures of each of two simulated people, of different sizes, with the true landmarks beside them."""
    rows = []
    for person in range(2):
        for session, size in enumerate([(120, 140), (200, 160)]):
            clip = SimulatedSubjects(0).clip(person, session, 1, size, 70.0)
            folder = tmp_path / f"person{person}"
            folder.mkdir(exist_ok=True)
            cv2.imwrite(str(folder / f"{session}.png"), srgb_bytes(clip.frames[0])[..., ::-1])
            marks = ", ".join(f"{value:.2f}" for value in clip.landmarks[0].ravel())
            rows.append(f"person{person}/{session}.png, {marks}")
    (tmp_path / "landmarks.csv").write_text("# picture, x, y ...\n" + "\n".join(rows) + "\n")
    return tmp_path


def test_pictures_of_different_sizes_are_brought_to_their_place_by_given_landmarks(album):
    faces = photographed_faces(album, [60.0], seed=0)
    assert faces.scenes.shape == (4, 112, 112, 3)
    np.testing.assert_allclose(faces.landmarks[0], place_template((112, 112), 60.0), atol=1e-3)
    pupils = faces.landmarks[:, :2].round().astype(int)
    for scene, ((x, y), _) in zip(
        faces.scenes, pupils, strict=True
    ):  # a pupil is darker than the cheek below it
        assert scene[y - 1 : y + 2, x - 1 : x + 2].min() < 0.6 * scene[y + 12, x].mean()
    check_repeated(faces)


def test_smiles_are_known_where_the_name_of_every_picture_tells(album):
    assert photographed_faces(album, [60.0], seed=0).factors == {}
    for person in album.glob("person*"):
        (person / "0.png").rename(person / "neutral.png")
        (person / "1.png").rename(person / "Smile_2.png")
    (album / "landmarks.csv").unlink()
    faces = photographed_faces(album, [60.0], seed=0)
    assert sorted(faces.factors["smile"].tolist()) == [0, 0, 1, 1]


def test_a_face_with_too_few_pixels_is_refused_because_its_own_blur_would_count_as_the_lens_s(album):
    (album / "landmarks.csv").unlink()
    cv2.imwrite(str(album / "person1" / "1.png"), np.full((20, 20, 3), 90, np.uint8))
    with pytest.raises(Refusal, match=r"person1/1\.png are 3 pixels apart"):
        photographed_faces(album, [60.0], seed=0)


@pytest.mark.parametrize("row", ["person0/0.png, 1, 2, 3", "person0/0.png" + ", 5" * 10, "a, b" + ", 1" * 9])
def test_a_row_that_is_not_five_points_is_refused_by_its_number(album, row):
    (album / "landmarks.csv").write_text("# comment\n" + row + "\n")
    with pytest.raises(Refusal, match="row 2"):
        read_landmarks(album / "landmarks.csv")


@pytest.mark.proves("PRIVACY-4")
def test_a_face_that_the_detector_does_not_find_is_refused_and_never_counted_as_private(album, monkeypatch):
    class Blind:
        def __init__(self, model):
            pass

        def landmarks(self, photograph):
            return None

    monkeypatch.setattr(places, "FaceDetector", Blind)
    pictures = sorted(album.glob("*/*.png"))
    given = (album / "landmarks.csv").read_text().splitlines()
    (album / "landmarks.csv").write_text("\n".join(given[:3]))
    with pytest.raises(Refusal, match="no face is found in 2 of 4 photographs"):
        find_landmarks(album, pictures, Path("any.onnx"))
    assert len(find_landmarks(album, pictures, None)) == 2


class Constant:
    name = "constant"

    def embed(self, images, landmarks):
        return np.ones((len(images), 4), np.float32) / 2


class Guess(Constant):
    name = "guess"

    def embed(self, images, landmarks):
        return np.random.default_rng(0).standard_normal((len(images), 8)).astype(np.float32)


@pytest.mark.parametrize("weak", [Constant(), Guess()], ids=["constant", "at chance"])
def test_a_recogniser_that_does_not_know_clean_faces_is_no_attacker(ground, weak):
    subject = Subject(preset("clinic"), (0.5, 0.9), replace(sharp(2), name="design"), False)
    with pytest.raises(Refusal, match=rf"no recogniser knows the clean faces \(AUC {weak.name} 0\.[45]"):
        run_study(
            "x", replace(ground, recognisers=[weak], base=weak), subject, replace(BUDGETS["quick"], utility=0)
        )


def auc(gallery, probes, faces) -> float:
    one, other = (Embedded(v, faces.people, faces.sessions) for v in (gallery, probes))
    return roc(compare(one, other)).auc


@pytest.fixture(scope="module")
def photographed() -> Ground:
    """Half of the people to learn from, the other half to be tested on, as large as the recogniser likes them."""
    faces = photographed_faces(Path(FACES), [112.0], seed=0, size=(160, 160))
    people = np.random.default_rng(0).permutation(np.unique(faces.people))
    learnt = np.isin(faces.people, people[: len(people) // 2])
    train, test = faces.take(learnt), faces.take(~learnt)
    known, sensor = OnnxRecogniser(Path(RECOGNISER)), preset("clinic").sensor
    epochs = 12_000 // len(train)
    tune = np.arange(len(train))
    return Ground(
        train, test, [known], known, sensor, Schedule(epochs, learning_rate=2e-3), 64, 0, tune, tune[:2]
    )


@real
def test_the_supplied_recogniser_knows_clean_photographs(photographed):
    vectors = photographed.gallery(photographed.base)
    assert auc(vectors, vectors, photographed.test) >= 0.97


@real
@pytest.mark.slow
def test_a_gaussian_blur_that_defeats_a_recogniser_is_undone_by_one_trained_on_it(photographed):
    view = gaussian_view(12.0, 1, "blur")
    captures = Captures(
        *(capture(view, faces, None, seed=0) for faces in (photographed.train, photographed.test))
    )
    [looked] = OffTheShelf().read(photographed, view, captures)
    [student] = Retrained().read(photographed, view, captures)
    defeated = auc(looked.gallery, looked.probes, photographed.test)
    undone = auc(student.gallery, student.probes, photographed.test)
    assert defeated < 0.6
    assert undone > defeated + 0.15


def test_a_bank_and_a_spec_of_other_colours_do_not_go_together():
    with pytest.raises(Refusal, match="shape"):
        PsfView("mono", np.ones((1, 1, 3, 3), np.float32) / 9)
