"""The cache of scenes: keyed by content, bounded, whole or not at all."""

import os

import numpy as np
import pytest

from opticaldr.errors import Refusal
from opticaldr.models.data import SceneCache, content_key


def made(cache, key, megabytes=1, calls=None):
    def make(folder):
        if calls is not None:
            calls.append(key)
        np.save(folder / "frames.npy", np.full(megabytes * 2**20, len(key), np.uint8))

    return cache.remember(key, megabytes * 2**20, make)["frames"]


def test_a_second_time_it_is_only_mapped(tmp_path):
    cache, calls = SceneCache(8 * 2**20, tmp_path), []
    assert made(cache, "a", calls=calls)[0] == 1
    assert isinstance(made(cache, "a", calls=calls), np.memmap)
    assert calls == ["a"]


def test_the_least_recently_used_makes_room(tmp_path):
    cache = SceneCache(int(3.5 * 2**20), tmp_path)
    for age, key in enumerate(("a", "b", "c")):
        made(cache, key)
        os.utime(tmp_path / key, (age, age))
    made(cache, "a")
    made(cache, "d")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "c", "d"]
    with pytest.raises(Refusal, match=r"raise data\.cache"):
        made(cache, "huge", 4)


def test_what_was_interrupted_or_damaged_is_made_again(tmp_path):
    cache, calls = SceneCache(8 * 2**20, tmp_path), []

    def fail(folder):
        np.save(folder / "frames.npy", np.zeros(4))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cache.remember("a", 100, fail)
    assert list(tmp_path.iterdir()) == []
    made(cache, "a", calls=calls)
    (tmp_path / "a" / "frames.npy").write_bytes(b"damaged")
    made(cache, "a", calls=calls)
    assert calls == ["a", "a"]


def test_the_key_follows_the_content_and_not_the_place(tmp_path):
    one, other = tmp_path / "x.bin", tmp_path / "y" / "x.bin"
    other.parent.mkdir()
    one.write_bytes(bytes(300_000))
    other.write_bytes(bytes(300_000))
    assert content_key([one], 1) == content_key([other], 1) != content_key([one], 2)
    other.write_bytes(bytes(299_999) + b"!")
    assert content_key([one], 1) != content_key([other], 1)
