"""Large sets of pictures lie in files, and nothing else changes."""

import mmap

import numpy as np

from opticaldr.models.evaluation import cache, scratch
from opticaldr.models.evaluation.controls import gaussian_view
from opticaldr.models.evaluation.views import capture


def backing(array: np.ndarray):
    """What an array's numbers lie in."""
    while isinstance(array, np.ndarray) and array.base is not None:
        array = array.base
    return array


def test_pictures_beyond_the_limit_are_mapped_from_a_file_that_nobody_sees(ground, monkeypatch):
    view, few = gaussian_view(2.0, 2, "blur"), ground.test.take(np.arange(4))
    inside = capture(view, few, ground.sensor, seed=0)
    assert not isinstance(backing(inside), mmap.mmap)
    monkeypatch.setattr(scratch, "LARGE", 1)
    mapped = capture(view, few, ground.sensor, seed=0)
    assert isinstance(backing(mapped), mmap.mmap)
    np.testing.assert_array_equal(mapped, inside)
    assert not [file for file in cache.folder().iterdir() if file.suffix != ".npz"]
    assert cache.content_key(mapped) == cache.content_key(inside)


def test_where_no_file_can_be_made_pictures_stay_in_memory(monkeypatch, tmp_path):
    monkeypatch.setattr(scratch, "LARGE", 1)
    (tmp_path / "occupied").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "occupied"))
    array = scratch.scratch((3, 4))
    array[:] = 1
    assert not isinstance(backing(array), mmap.mmap)
    assert array.sum() == 12
