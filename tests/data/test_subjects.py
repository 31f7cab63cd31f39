"""The stage: the same people every time, and no factor that gives another away."""

import dataclasses

import numpy as np
import pytest

from opticaldr.models.data import SimulatedSubjects
from opticaldr.models.data.identity import Identity

STAGE = SimulatedSubjects(seed=11)


def numbers(who: Identity) -> np.ndarray:
    """An identity as a vector."""
    flat: list[float] = []
    for value in dataclasses.astuple(who):
        if isinstance(value, float):
            flat.append(value)
        elif len(value) == 3 and isinstance(value[0], float):
            flat.extend(value)
    return np.array(flat)


def test_a_clip_is_a_pure_function_of_seed_subject_and_session() -> None:
    one, two = (SimulatedSubjects(4).clip(3, 1, 3, face_width=40) for _ in range(2))
    np.testing.assert_array_equal(one.frames, two.frames)
    np.testing.assert_array_equal(one.landmarks, two.landmarks)
    assert (one.subject, one.session, one.score) == (two.subject, two.session, two.score)
    for other in (SimulatedSubjects(5).clip(3, 1, 3), STAGE.clip(4, 1, 3), STAGE.clip(3, 2, 3)):
        assert not np.array_equal(one.frames, other.frames)


def test_a_clip_is_a_window_on_its_session() -> None:
    long, late = STAGE.clip(0, 0, 6, face_width=40), STAGE.clip(0, 0, 2, face_width=40, start=4 / 30)
    np.testing.assert_allclose(long.frames[4:], late.frames, atol=2e-3)
    np.testing.assert_allclose(long.factors["smile"][4:], late.factors["smile"], atol=1e-5)


def test_a_clip_is_linear_light_in_range() -> None:
    clip = STAGE.clip(1, 0, 4, size=(96, 128), face_width=50)
    assert clip.frames.shape == (4, 96, 128, 3)
    assert clip.frames.dtype == np.float32
    assert clip.frames.min() >= 0
    assert clip.frames.max() <= 1
    assert clip.landmarks is not None
    assert clip.landmarks.shape == (4, 5, 2)
    assert all(len(values) == 4 for values in clip.factors.values())
    assert 0 <= (clip.score or 0) <= 63


def test_sessions_change_everything_but_the_person() -> None:
    assert STAGE.setting(7, 0) != STAGE.setting(7, 1)
    scores = {STAGE.score(7, session) for session in range(12)}
    assert len(scores) > 6
    people = [STAGE.identity(subject) for subject in range(30)]
    assert len({numbers(who).tobytes() for who in people}) == 30


def test_the_score_is_independent_of_who_somebody_is() -> None:
    """Largest correlation of any identity parameter with the score, against shuffled scores."""
    people = range(600)
    looks = np.array([numbers(STAGE.identity(subject)) for subject in people])
    scores = np.array([STAGE.score(subject, 0) for subject in people], float)

    def strongest(values: np.ndarray) -> float:
        centred = looks - looks.mean(axis=0)
        offset = values - values.mean()
        return float(
            np.abs(centred.T @ offset / np.linalg.norm(centred, axis=0) / np.linalg.norm(offset)).max()
        )

    rng = np.random.default_rng(0)
    chance = [strongest(rng.permutation(scores)) for _ in range(200)]
    assert strongest(scores) < np.quantile(chance, 0.99)
    again = np.array([STAGE.score(subject, 1) for subject in people], float)
    assert abs(np.corrcoef(scores, again)[0, 1]) < 0.12  # and one session's score says nothing about the next


def test_the_score_is_independent_of_the_setting() -> None:
    scores = np.array([STAGE.score(subject, 0) for subject in range(600)], float)
    settings = [STAGE.setting(subject, 0) for subject in range(600)]
    for measure in (
        [where.key[1] for where in settings],
        [where.wall[0] for where in settings],
        [where.place[1] for where in settings],
    ):
        assert abs(np.corrcoef(scores, measure)[0, 1]) < 0.12


def test_behaviour_tells_the_score_better_than_a_constant_but_not_exactly() -> None:
    """Ridge regression on the true factors of eight seconds, on unseen people."""
    statistics, scores = [], []
    for subject in range(240):
        columns = STAGE.behaviour(subject, 0, np.arange(48) / 6).values()
        statistics.append([s for c in columns for s in (c.mean(), c.std(), np.abs(np.diff(c)).mean())])
        scores.append(STAGE.score(subject, 0))
    features, truth = np.array(statistics), np.array(scores, float)
    features = (features - features.mean(axis=0)) / features.std(axis=0)
    known, unseen = slice(0, 170), slice(170, None)
    a = np.column_stack([features[known], np.ones(170)])
    weights = np.linalg.solve(a.T @ a + 10 * np.eye(a.shape[1]), a.T @ (truth[known]))
    guess = np.column_stack([features[unseen], np.ones(70)]) @ weights
    ratio = np.abs(guess - truth[unseen]).mean() / np.abs(truth[unseen] - np.median(truth[known])).mean()
    assert 0.25 < ratio < 0.6


@pytest.mark.parametrize("bad", [-1])
def test_people_are_numbered_from_zero(bad: int) -> None:
    with pytest.raises(ValueError, match="negative"):
        STAGE.clip(bad, 0, 1)


def test_a_numpy_number_for_the_faces_width_gives_the_same_pictures() -> None:
    film = [SimulatedSubjects(3).clip(0, 0, 2, (64, 64), width).frames for width in (50.0, np.float64(50.0))]
    np.testing.assert_array_equal(film[0], film[1])
