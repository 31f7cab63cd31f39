"""Rates against closed forms and scikit-learn; intervals against the truth they claim to cover."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from opticaldr.models.evaluation.metrics import (
    Trials,
    identification,
    open_set,
    proportion,
    roc,
    verification,
)
from opticaldr.models.evaluation.verification import Embedded, compare, shuffled_null


def trials(genuine: list[float], impostor: list[float]) -> Trials:
    """Genuine scores of people 0, 1, …, impostor scores of each of them with the next."""
    g, i = np.arange(len(genuine)), np.arange(len(impostor)) % max(len(genuine), 2)
    return Trials(
        np.array([*genuine, *impostor], float), np.r_[g, i], np.r_[g, (i + 1) % max(len(genuine), 2)]
    )


def faces(rng: np.random.Generator, people: int, pictures: int, spread: float) -> Embedded:
    """Pictures of people as unit vectors around a direction of their own."""
    centres = rng.standard_normal((people, 16))
    vectors = np.repeat(centres, pictures, 0) + spread * rng.standard_normal((people * pictures, 16))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    who = np.repeat(np.arange(people), pictures)
    return Embedded(vectors.astype(np.float32), who, np.tile(np.arange(pictures), people))


def test_a_perfect_and_a_reversed_recogniser_lie_at_the_two_ends():
    perfect, reversed_ = roc(trials([0.9, 0.8], [0.1, 0.2])), roc(trials([0.1, 0.2], [0.9, 0.8]))
    assert (perfect.auc, perfect.eer, perfect.tpr(1e-3)) == (1.0, 0.0, 1.0)
    assert (reversed_.auc, reversed_.eer, reversed_.tpr(1e-3)) == (0.0, 1.0, 0.0)


def test_a_constant_recogniser_is_at_chance_and_identifies_nobody():
    curve = roc(trials([0.5] * 6, [0.5] * 9))
    assert curve.auc == pytest.approx(0.5)
    assert curve.eer == pytest.approx(0.5)
    assert curve.tpr(0.1) == 0.0
    people = np.arange(20)
    ranks = identification(np.zeros((20, 20)), people, people, seed=0)
    assert ranks["rank-1"].value == 0.0


@given(
    st.lists(st.integers(0, 6), min_size=2, max_size=30), st.lists(st.integers(0, 6), min_size=2, max_size=30)
)
def test_auc_is_the_chance_that_a_genuine_pair_scores_higher(genuine, impostor):
    g, i = np.array(genuine)[:, None], np.array(impostor)[None, :]
    assert roc(trials(genuine, impostor)).auc == pytest.approx(np.mean((g > i) + 0.5 * (g == i)))


def test_auc_and_rates_agree_with_scikit_learn():
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(1)
    sample = trials(list(rng.normal(1, 1, 200).round(1)), list(rng.normal(0, 1, 900).round(1)))
    false, true, _ = metrics.roc_curve(sample.genuine, sample.scores, drop_intermediate=False)
    curve = roc(sample)
    assert curve.auc == pytest.approx(metrics.roc_auc_score(sample.genuine, sample.scores))
    assert curve.tpr(0.1) == pytest.approx(true[false <= 0.1].max())


def test_two_normals_give_the_binormal_auc_and_error_rate():
    rng = np.random.default_rng(2)
    curve = roc(trials(list(rng.normal(1.5, 1, 40_000)), list(rng.normal(0, 1, 40_000))))
    assert curve.auc == pytest.approx(norm.cdf(1.5 / np.sqrt(2)), abs=4e-3)
    assert curve.eer == pytest.approx(norm.cdf(-0.75), abs=4e-3)


def test_pictures_of_one_session_are_never_compared_and_no_pair_counts_twice():
    sample = faces(np.random.default_rng(3), people=4, pictures=3, spread=1.0)
    same_light = Embedded(sample.vectors, sample.people, np.zeros_like(sample.sessions))
    assert compare(sample, sample).genuine.sum() == 4 * 3
    assert len(compare(sample, sample).scores) == 12 * 11 // 2
    assert compare(same_light, same_light).genuine.sum() == 0
    other = sample.take(np.arange(12))
    assert compare(sample, other).genuine.sum() == 4 * 3 * 2


@pytest.mark.proves("PRIVACY-6")
def test_an_interval_over_people_is_wider_than_one_that_takes_pairs_for_independent():
    rng = np.random.default_rng(4)
    sample = compare(*[faces(rng, people=20, pictures=6, spread=1.6)] * 2)
    over_people = verification(sample, seed=0)["auc"]
    alone = Trials(
        sample.scores,
        np.arange(len(sample.scores)),
        np.where(sample.genuine, np.arange(len(sample.scores)), -1 - np.arange(len(sample.scores))),
    )
    over_pairs = verification(alone, seed=0, replicates=100)["auc"]
    assert over_people.low < over_people.value < over_people.high
    assert over_people.high - over_people.low > 1.5 * (over_pairs.high - over_pairs.low)


def test_rates_that_too_few_impostors_can_support_are_left_out():
    small = verification(compare(*[faces(np.random.default_rng(5), 12, 2, 1.0)] * 2), seed=0)
    assert "tpr@0.1" in small
    assert "tpr@0.001" not in small


def test_an_open_set_names_the_enrolled_while_strangers_raise_few_alarms():
    rng = np.random.default_rng(8)
    gallery, probes = np.arange(0, 40, 2), np.repeat(np.arange(40), 5)
    scores = rng.normal(0, 1, (200, 20))
    scores[probes[:, None] == gallery] += 9
    found = open_set(scores, gallery, probes, seed=0)
    assert found["tpir@0.1"].value > 0.99
    assert set(found) == {"tpir@0.1"}  # a hundred probes of strangers say nothing of one alarm in a hundred
    constant = open_set(np.zeros((200, 20)), gallery, probes, seed=0)
    assert constant["tpir@0.1"].value == 0.0
    alarms = scores[probes % 2 == 1].max(1)
    threshold = np.sort(alarms)[-11]
    assert np.mean(alarms > threshold) == pytest.approx(0.1)
    hits = [
        p in gallery and scores[i].argmax() * 2 == p and scores[i].max() > threshold
        for i, p in enumerate(probes)
    ]
    assert found["tpir@0.1"].value == pytest.approx(sum(hits) / 100)


def test_all_hits_leave_the_doubt_that_the_number_of_people_leaves():
    people = np.repeat(np.arange(30), 4)
    sure = proportion(np.ones(120, bool), people, seed=0)
    assert sure.value == sure.high == 1.0
    assert sure.low == pytest.approx(0.025 ** (1 / 30))


def test_shuffled_names_give_chance_even_for_a_perfect_recogniser():
    sample = faces(np.random.default_rng(6), people=30, pictures=3, spread=0.1)
    assert roc(compare(sample, sample)).auc > 0.99
    null = shuffled_null(sample, sample, seed=0)
    assert null.low < 0.5 < null.high
    assert null.value == pytest.approx(0.5, abs=0.03)


@pytest.mark.proves("PRIVACY-6")
@pytest.mark.slow
def test_a_95_percent_interval_covers_the_truth_93_to_97_times_in_a_hundred():
    """Many draws of forty people; the truth is the AUC over a very large population."""
    truth = roc(compare(*[faces(np.random.default_rng(99), people=1500, pictures=3, spread=1.8)] * 2)).auc
    covered = 0
    draws = 600
    for draw in range(draws):
        sample = faces(np.random.default_rng([7, draw]), people=40, pictures=3, spread=1.8)
        interval = verification(compare(sample, sample), seed=draw, replicates=300)["auc"]
        covered += interval.low <= truth <= interval.high
    assert 0.93 <= covered / draws <= 0.97
