"""Data sets in miniature as a design sees them: pools, splits, what is skipped, what is refused."""

import numpy as np
import pytest
import torch

from opticaldr.errors import Refusal
from opticaldr.models.optics import preset
from opticaldr.models.training.config import DataConfig, DesignConfig, SubjectsConfig
from opticaldr.models.training.design import SHOWN, shown_people
from opticaldr.models.training.footage import gather
from tests.data import miniatures

SPEC = preset("clinic")


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def config(**data):
    subjects = SubjectsConfig(train=8, test=4, validation=4, frames=4, fps=2.0, depths=(0.6, 0.9))
    return DesignConfig(subjects=subjects, data=DataConfig(aligned=True, windows=2, **data))


def look(settings):
    return gather(settings, SPEC, 0, lambda stage, done, total: None)


def test_celeba_and_avec_become_pools_and_what_cannot_be_read_is_counted_and_named(tmp_path):
    celeba = miniatures.celeba(tmp_path / "celeba", people=30)
    avec = miniatures.avec(tmp_path / "avec", 2014)
    (celeba / "Img" / "img_align_celeba" / "000020.jpg").write_bytes(b"")
    broken = avec / "Video" / "Training" / "Freeform" / "204_1_Freeform_video.mp4"
    broken.write_bytes(b"no film")
    settings = config(pictures=(f"celeba:{celeba}",), clips=f"avec2014:{avec}")
    footage = look(settings)

    pictures = footage.pictures["train"]
    assert pictures.frames.shape == (41, 1, 3, 112, 112)
    assert pictures.names[:2] == miniatures.ATTRIBUTES
    assert not pictures.factors.isnan().any()
    assert set(pictures.view.tolist()) == {0, 1}
    counts = torch.bincount(pictures.subject)
    assert (
        counts.tolist() == [1] + [2] * 20
    )  # who was seen once comes first: nobody can be verified on one picture
    clips = footage.clips["train"]
    assert clips.frames.shape == (10, 4, 3, 112, 112)  # 5 films that play, 2 windows each
    assert (clips.frames[:, 0] - clips.frames[:, -1]).abs().amax(dim=(1, 2, 3)).min() > 0.01
    assert set(map(tuple, footage.who["train"])) == {("203", "1"), ("204", "1"), ("205", "1")}
    assert len(footage.about["skipped"]) == 2
    assert any("000020.jpg is empty" in line for line in footage.about["skipped"])
    assert any(f"{broken} is not a video" in line for line in footage.about["skipped"])

    again = look(settings)  # from the cache
    assert torch.equal(again.pictures["train"].frames, pictures.frames)
    assert again.about == footage.about


def test_sets_side_by_side_leave_unknown_what_they_do_not_label(tmp_path):
    celeba = miniatures.celeba(tmp_path / "celeba", people=30)
    faces = miniatures.people(tmp_path / "faces", count=6)
    both = look(config(pictures=(f"celeba:{celeba}", f"expressions:{faces}"))).pictures["train"]
    one, other = both.factors[:42, 0].isnan(), both.factors[42:, 0].isnan()
    labels = both.names.index("person_0")
    assert not one[:, :labels].any()
    assert one[:, labels:].all()
    assert other[:, :labels].all()
    assert not other[:, labels:].any()
    assert (both.subject[42:] == -1).all()
    assert both.people == 21


def test_a_limit_takes_some_recordings_of_each_split(tmp_path):
    celeba = miniatures.celeba(tmp_path / "celeba", people=30)
    with pytest.raises(Refusal, match=r"people twice or more in its training split; 12 are needed"):
        look(config(pictures=(f"celeba:{celeba}",), limit=5))


@pytest.mark.parametrize(
    ("data", "says"),
    [
        ({"pictures": ("people:{}",)}, "holds no labels that a network could learn"),
        ({"pictures": ("expressions:{}",)}, "shows 0 people twice or more"),
        ({"clips": "people:{}"}, "holds no films with BDI-II totals"),
        ({"pictures": ("people:{}",), "cache": 1e-5}, r"raise data\.cache"),
    ],
)
def test_sets_that_cannot_serve_are_refused(tmp_path, data, says):
    folder = miniatures.people(tmp_path / "faces", count=10)
    filled = {
        key: value.format(folder) if isinstance(value, str) else
        tuple(name.format(folder) for name in value) if isinstance(value, tuple) else value
        for key, value in data.items()
    }  # fmt: skip
    with pytest.raises(Refusal, match=says):
        look(config(**filled))


@pytest.mark.proves("PRIVACY-3")
def test_every_process_sees_the_same_simulated_people_in_disjoint_splits():
    footage = look(config())
    names = [set(footage.who[split][:, 0]) for split in ("train", "validate", "test")]
    assert not names[0] & names[1] | names[1] & names[2] | names[0] & names[2]
    assert footage.clips is footage.pictures
    assert np.isfinite(footage.clips["validate"].score.numpy()).all()


def test_a_design_that_learned_on_real_people_shows_simulated_ones():
    spec, unseen = preset("clinic"), object()
    assert shown_people(config(), spec, unseen, 0) is unseen  # simulated anyway
    shown = shown_people(config(pictures=("celeba:/data/CelebA",)), spec, unseen, 0)
    assert len(shown) == SHOWN
