"""Behaviour against the score: the directions the literature reports, on many sessions."""

import numpy as np
import pytest

from opticaldr.models.data.dynamics import (
    SESSION_SECONDS,
    TRACK_RATE,
    Track,
    draw_score,
    draw_session,
    sample_session,
)


def sessions(score: int, count: int = 40) -> list[Track]:
    return [draw_session(np.random.default_rng(number), score) for number in range(count)]


WELL, ILL = sessions(3), sessions(50)


def mean_of(tracks: list[Track], measure) -> float:  # type: ignore[no-untyped-def]
    return float(np.mean([measure(track) for track in tracks]))


def lengths(active: np.ndarray) -> np.ndarray:
    """Durations in seconds of the runs of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], active.astype(int), [0]])))
    return (edges[1::2] - edges[::2]) / TRACK_RATE


def test_smiles_are_rarer_weaker_and_briefer() -> None:
    smiling = [np.concatenate([lengths(track["smile"] > 0.3) for track in tracks]) for tracks in (WELL, ILL)]
    assert len(smiling[1]) < 0.7 * len(smiling[0])
    assert smiling[1].mean() < 0.7 * smiling[0].mean()
    assert mean_of(ILL, lambda t: t["smile"].max()) < 0.7 * mean_of(WELL, lambda t: t["smile"].max())


def test_blinks_are_longer() -> None:
    def half_shut(track: Track) -> float:
        droop = np.median(track["blink"])
        return float(np.median(lengths(track["blink"] > 0.5 * (1 + droop))))

    assert mean_of(ILL, half_shut) > 1.4 * mean_of(WELL, half_shut)


def test_the_head_moves_less_and_slower_and_hangs() -> None:
    for angle in ("yaw", "pitch", "roll"):
        assert mean_of(ILL, lambda t, a=angle: t[a].std()) < 0.8 * mean_of(
            WELL, lambda t, a=angle: t[a].std()
        )
        assert mean_of(ILL, lambda t, a=angle: np.abs(np.diff(t[a])).mean()) < 0.6 * mean_of(
            WELL, lambda t, a=angle: np.abs(np.diff(t[a])).mean()
        )
    assert mean_of(ILL, lambda t: t["pitch"].mean()) > mean_of(
        WELL, lambda t: t["pitch"].mean()
    ) + np.radians(4)


def test_gaze_is_turned_down_but_not_aside() -> None:
    assert mean_of(ILL, lambda t: t["gaze_y"].mean()) > mean_of(
        WELL, lambda t: t["gaze_y"].mean()
    ) + np.radians(6)
    assert abs(mean_of(ILL, lambda t: t["gaze_x"].mean())) < np.radians(1.5)


def test_people_of_one_score_differ() -> None:
    """No single channel gives the score away: at one score, sessions scatter more than ten points' worth."""
    per_point = (
        mean_of(ILL, lambda t: t["gaze_y"].mean()) - mean_of(WELL, lambda t: t["gaze_y"].mean())
    ) / 47
    middle = [track["gaze_y"].mean() for track in sessions(25)]
    assert np.std(middle) > 8 * per_point


def test_scores_are_bdi_totals_skewed_to_few_symptoms() -> None:
    scores = np.array([draw_score(np.random.default_rng(number)) for number in range(2000)])
    assert scores.min() >= 0
    assert scores.max() <= 63
    assert np.median(scores) < scores.mean() < 25
    assert scores.std() > 10


def test_a_session_repeats_without_a_seam() -> None:
    track = WELL[0]
    step = 1 / TRACK_RATE
    around = sample_session(track, SESSION_SECONDS + np.arange(-3, 3) * step)
    again = sample_session(track, np.arange(-3, 3) * step)
    inside = max(np.abs(np.diff(track["yaw"])).max(), 1e-3)
    np.testing.assert_allclose(around["yaw"], again["yaw"], atol=1e-6)
    assert np.abs(np.diff(around["yaw"])).max() <= inside


@pytest.mark.parametrize("fps", [4.0, 30.0, 60.0])
def test_factors_do_not_depend_on_the_pace_they_are_read_at(fps: float) -> None:
    times = np.arange(5) / fps
    one_by_one = [sample_session(WELL[0], np.array([time]))["smile"][0] for time in times]
    np.testing.assert_array_equal(sample_session(WELL[0], times)["smile"], one_by_one)
