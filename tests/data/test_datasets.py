"""Data sets in miniature: every layout is found, every label read, and what is wrong is named with its place."""

import cv2
import numpy as np
import pytest

from opticaldr.errors import Refusal
from opticaldr.models.data import IncompleteDataSet, SimulatedSubjects, Take, open_dataset
from opticaldr.models.data.films import UnreadableVideo, read_frames
from opticaldr.models.data.photographs import place_template
from tests.data import miniatures

TAKE = Take(4, 2.0, (64, 64), 34.0)


@pytest.fixture(scope="module")
def celeba(tmp_path_factory):
    return miniatures.celeba(tmp_path_factory.mktemp("celeba"))


@pytest.fixture
def own_celeba(tmp_path):
    return miniatures.celeba(tmp_path, people=10)


def replace(file, old, new):
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new, 1))


def test_celeba_gives_people_splits_attributes_and_landmarks(celeba):
    opened = open_dataset(f"celeba:{celeba}")
    assert len(opened.recordings) == 40
    assert {split: len(opened.split(split)) for split in ("train", "validate", "test")} == {
        "train": 28, "validate": 4, "test": 8,
    }  # fmt: skip
    assert opened.factors[:2] == miniatures.ATTRIBUTES
    assert len(opened.factors) == 12
    assert opened.shared_people() == {}
    first = opened.recordings[0]
    assert first.subject == "2880"
    assert set(first.factors.values()) <= {0.0, 1.0}
    truth = SimulatedSubjects(11).clip(0, 0, 1, (218, 178), 100.0, fps=4.0)
    assert first.factors["Smiling"] == (truth.factors["smile"][0] > 0.2)
    np.testing.assert_allclose(first.landmarks, truth.landmarks[0], atol=0.51)


def test_a_still_is_linear_light_with_its_face_in_place(celeba):
    opened = open_dataset(f"celeba:{celeba}")
    clip = opened.film(opened.recordings[0], TAKE)
    assert clip.frames.shape == (1, 64, 64, 3)
    np.testing.assert_allclose(
        clip.landmarks[0].mean(axis=0), place_template((64, 64), 34.0).mean(axis=0), atol=0.2
    )
    away = np.array([clip.factors[name][0] for name in opened.factors[2:]]).reshape(5, 2)
    np.testing.assert_allclose(clip.landmarks[0], place_template((64, 64), 34.0) + 34.0 * away, atol=1e-4)
    # The same face filmed at the same size without a detour over sRGB and JPEG is as bright.
    straight = SimulatedSubjects(11).clip(0, 0, 1, (218, 178), 100.0, fps=4.0).frames[0]
    assert clip.frames[0, 24:40, 24:40].mean() == pytest.approx(straight[90:130, 70:110].mean(), rel=0.15)


@pytest.mark.parametrize(
    ("absent", "says"),
    [
        ("Anno/identity_CelebA.txt", r"identity_CelebA.txt is missing.*identities are given on request"),
        ("Anno/list_landmarks_align_celeba.txt", r"list_landmarks_align_celeba.txt is missing"),
        ("Img/img_align_celeba/000007.jpg", r"1 of 20 pictures are missing: .*img_align_celeba/000007.jpg"),
    ],
)
def test_what_celeba_lacks_is_named_with_its_place(own_celeba, absent, says):
    (own_celeba / absent).unlink()
    with pytest.raises(IncompleteDataSet, match=says):
        open_dataset(f"celeba:{own_celeba}")


@pytest.mark.parametrize(
    ("file", "old", "new", "says"),
    [
        ("Anno/list_attr_celeba.txt", "000003.jpg ", "000003.jpg 0 ", "columns in line 5, not 3"),
        ("Anno/list_attr_celeba.txt", "000003.jpg -1", "000003.jpg 2", "says 2 in line 5; allowed: -1, 1"),
        (
            "Eval/list_eval_partition.txt",
            "000002.jpg 2",
            "000002.jpg 4",
            "says 4 in line 2; allowed: 0, 1, 2",
        ),
        (
            "Eval/list_eval_partition.txt",
            "000002.jpg 2",
            "000002.jpg 0",
            r"1 people in more than one split: 2880",
        ),
        ("Anno/identity_CelebA.txt", "000002.jpg 2880\n", "", "lacks 1 pictures: 000002.jpg"),
    ],
)
def test_what_celeba_cannot_say_is_refused(own_celeba, file, old, new, says):
    if file.endswith("attr_celeba.txt") and old not in (own_celeba / file).read_text():
        old = old.replace("-1", "1")
    replace(own_celeba / file, old, new)
    with pytest.raises(Refusal, match=says):
        open_dataset(f"celeba:{own_celeba}")


@pytest.fixture
def avec2014(tmp_path):
    return miniatures.avec(tmp_path, 2014)


@pytest.mark.parametrize("year", [2013, 2014])
def test_avec_is_found_however_it_nests(tmp_path, year):
    opened = open_dataset(f"avec{year}:{miniatures.avec(tmp_path, year)}", aligned=True)
    assert opened.moving
    assert len(opened.recordings) == 9 * (1 if year == 2013 else 2)
    for recording in opened.recordings:
        session = int(recording.session.split("_")[0])
        assert recording.score == SimulatedSubjects(11).score(int(recording.subject), session)
    assert opened.shared_people() == {"203": ("train", "validate", "test")}
    assert any("Training holds 3 sessions, not 50" in remark for remark in opened.remarks)
    assert any("1 people are in more than one partition: 203" in remark for remark in opened.remarks)
    clip = opened.film(opened.recordings[0], TAKE)
    assert clip.frames.shape == (4, 64, 64, 3)
    assert np.abs(clip.frames[0] - clip.frames[-1]).max() > 0.02  # it moves
    assert clip.score == opened.recordings[0].score


def test_a_film_is_sampled_at_the_pace_that_is_asked_for(tmp_path):
    file = tmp_path / "film.mp4"
    writer = cv2.VideoWriter(str(file), cv2.VideoWriter_fourcc(*"mp4v"), 10.0, (64, 48))
    for level in range(20, 240, 10):
        writer.write(np.full((48, 64, 3), level, np.uint8))
    writer.release()
    found = read_frames(file, 4, 2.5, start=0.4)
    levels = 255 * np.clip(found.mean(axis=(1, 2, 3)), 0, 1) ** (1 / 2.2)
    np.testing.assert_allclose(levels, [60, 100, 140, 180], atol=6)
    with pytest.raises(UnreadableVideo, match=r"ends after 22 frames; 31 are needed"):
        read_frames(file, 4, 1.0)
    file.write_bytes(file.read_bytes()[:200])
    with pytest.raises(UnreadableVideo, match="not a video"):
        read_frames(file, 4, 1.0)


def test_the_known_mixed_up_label_is_matched_by_person_and_remarked_on(avec2014):
    label = next(avec2014.rglob("204_1_Depression.csv"))
    label.rename(label.with_name("204_2_Depression.csv"))
    opened = open_dataset(f"avec2014:{avec2014}", aligned=True)
    (one, _) = [r for r in opened.recordings if r.subject == "204"]
    assert one.score == SimulatedSubjects(11).score(204, 1)
    assert any("204_1 (train) takes the label 204_2_Depression.csv" in remark for remark in opened.remarks)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("64\n", "BDI-II total of 64; totals lie between 0 and 63"),
        ("-1", "total of -1"),
        ("x", "one integer"),
    ],
)
def test_an_impossible_total_is_refused(avec2014, text, says):
    next(avec2014.rglob("204_1_Depression.csv")).write_text(text)
    with pytest.raises(Refusal, match=says):
        open_dataset(f"avec2014:{avec2014}", aligned=True)


def test_what_avec_lacks_is_named(avec2014):
    next(avec2014.rglob("204_1_Depression.csv")).unlink()
    with pytest.raises(IncompleteDataSet, match=r"1 sessions have a film and no label: 204_1 \(train\)"):
        open_dataset(f"avec2014:{avec2014}", aligned=True)
    for film in (avec2014 / "Video" / "Testing").rglob("*.mp4"):
        film.unlink()
    with pytest.raises(
        IncompleteDataSet, match=r"no film of the Testing .*Video/Testing/Northwind/203_1_Northwind_video.mp4"
    ):
        open_dataset(f"avec2014:{avec2014}", aligned=True)


def test_avec_without_a_way_to_find_faces_is_refused(avec2014):
    with pytest.raises(Refusal, match=r"name a YuNet detector .* or set data\.aligned"):
        open_dataset(f"avec2014:{avec2014}")


def test_people_are_divided_whole(tmp_path):
    opened = open_dataset(f"people:{miniatures.people(tmp_path)}")
    assert opened.shared_people() == {}
    assert [len(opened.split(s)) for s in ("train", "validate", "test")] == [14, 2, 4]
    assert opened.film(opened.recordings[0], TAKE).frames.shape == (1, 64, 64, 3)


def test_expressions_from_folders_and_from_tables(tmp_path):
    folder = miniatures.people(tmp_path / "faces", count=4)
    opened = open_dataset(f"expressions:{folder}")
    assert opened.factors == tuple(f"person_{n}" for n in range(4))
    for recording in opened.recordings:
        assert recording.factors[recording.file.parent.name] == 1.0
        assert sum(recording.factors.values()) == 1.0

    table = tmp_path / "table.csv"
    lines = [
        f"faces/person_{p}/{s}.png,{'happy' if s else 'neutral'},p{p}" for p in range(4) for s in range(2)
    ]
    table.write_text("\n".join(["file,expression,person", *lines]) + "\n")
    opened = open_dataset(f"expressions:{table}")
    assert opened.factors == ("happy", "neutral")
    assert opened.shared_people() == {}
    table.write_text("\n".join(["file,expression,person,split",
                                *(f"{line},{'test' if '/1.' in line else 'train'}" for line in lines)]))  # fmt: skip
    with pytest.raises(Refusal, match=r"4 people in more than one split: p0 \(train and test\)"):
        open_dataset(f"expressions:{table}")
    table.write_text("file,expression\nfaces/nobody.png,sad\n")
    with pytest.raises(IncompleteDataSet, match=r"names 1 files that are not there: .*faces/nobody\.png"):
        open_dataset(f"expressions:{table}")


def test_fer_2013_is_read_from_its_own_table(tmp_path):
    rng = np.random.default_rng(0)
    table = tmp_path / "fer2013.csv"
    pixels = [" ".join(map(str, rng.integers(0, 255, 48 * 48))) for _ in range(3)]
    usage = ("Training", "PublicTest", "PrivateTest")
    rows = [f"{e},{p},{u}" for e, p, u in zip((3, 0, 6), pixels, usage, strict=True)]
    table.write_text("\n".join(["emotion,pixels,Usage", *rows]))
    opened = open_dataset(f"expressions:{table}")
    assert [r.split for r in opened.recordings] == ["train", "validate", "test"]
    assert opened.recordings[0].factors["happy"] == 1.0
    frames = opened.film(opened.recordings[0], TAKE).frames
    assert frames.shape == (1, 64, 64, 3)
    assert np.ptp(frames, axis=-1).max() == 0
    table.write_text("\n".join(["emotion,pixels,Usage", rows[0].replace("3,", "9,", 1)]))
    with pytest.raises(Refusal, match="emotion 9 and 2304 pixels in line 2"):
        open_dataset(f"expressions:{table}")


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("daic-woz:/data", "holds no video.*no lens can be put before them"),
        ("e-daic:/data", "holds no video"),
        ("lfw:/data", "names no data set; allowed: celeba:PATH"),
        ("celeba", "names no data set"),
        ("celeba:/nowhere/at/all", "/nowhere/at/all is missing; expected there: CelebA"),
    ],
)
def test_what_is_no_data_set_is_refused_in_one_line(name, says):
    with pytest.raises(Refusal, match=says) as refusal:
        open_dataset(name)
    assert "\n" not in str(refusal.value)
