"""AUC against an independent implementation, d' beside it, which pairs count, and the multiplier."""

import pytest
import torch
from sklearn.metrics import roc_auc_score

from opticaldr.models.training.privacy import Multiplier, pair_scores, separation, verification_auc


def test_auc_is_the_area_under_the_roc_curve_ties_included():
    generator = torch.Generator().manual_seed(0)
    genuine = torch.round(torch.randn(60, generator=generator) + 0.7, decimals=1)
    impostor = torch.round(torch.randn(200, generator=generator), decimals=1)
    truth = [1] * 60 + [0] * 200
    expected = roc_auc_score(truth, torch.cat([genuine, impostor]).numpy())
    assert verification_auc(genuine, impostor) == pytest.approx(expected, abs=1e-9)


def test_separation_gives_the_auc_of_normal_scores_and_still_pulls_where_the_auc_is_flat():
    generator = torch.Generator().manual_seed(1)
    genuine = (torch.randn(4000, generator=generator) + 1.5).requires_grad_()
    impostor = torch.randn(4000, generator=generator)
    auc = float(torch.special.ndtr(separation(genuine, impostor).detach() / 2**0.5))
    assert auc == pytest.approx(verification_auc(genuine.detach(), impostor), abs=0.01)
    far = (genuine.detach() + 10).requires_grad_()
    assert verification_auc(far.detach(), impostor) == 1.0
    (slope,) = torch.autograd.grad(separation(far, impostor), far)
    assert float(slope.sum()) == pytest.approx(1.0, abs=0.1)  # d' grows with the mean in units of the spread


def test_genuine_pairs_come_from_two_recordings():
    vectors = torch.eye(4)
    people = torch.tensor([0, 0, 0, 1])
    sessions = torch.tensor([0, 0, 1, 2])
    genuine, impostor = pair_scores(vectors, people, sessions)
    assert len(genuine) == 2  # frames 0 and 2, 1 and 2; frames 0 and 1 share their recording
    assert len(impostor) == 3


def test_multiplier_rises_while_the_constraint_is_broken_and_falls_to_zero_after():
    multiplier = Multiplier(target=0.6, start=1.0, rate=0.5, limit=20.0)
    for _ in range(40):
        multiplier.update(0.9)
    assert float(multiplier.value) > 3
    for _ in range(400):
        multiplier.update(0.5)
    assert float(multiplier.value) == 0.0
    fixed = Multiplier(target=0.6, start=1.0, rate=0.0, limit=20.0)
    fixed.update(0.9)
    assert float(fixed.value) == 1.0
