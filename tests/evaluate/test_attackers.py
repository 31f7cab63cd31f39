"""Every rung of the ladder on a few people: what each must be able to do, and what none may see."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from opticaldr.models.evaluation.attackers import OffTheShelf, Retrained, ladder
from opticaldr.models.evaluation.attackers.attributes import Attributes
from opticaldr.models.evaluation.attackers.fusion import Fusion
from opticaldr.models.evaluation.attackers.known_psf import OWN_DEPTH, Inversion, perturbed
from opticaldr.models.evaluation.attackers.learned_inversion import LearnedInversion
from opticaldr.models.evaluation.attackers.stored import StoredEmbedding, discriminants
from opticaldr.models.evaluation.controls import gaussian_view
from opticaldr.models.evaluation.inversion import total_variation, wiener
from opticaldr.models.evaluation.metrics import roc
from opticaldr.models.evaluation.subject import Subject
from opticaldr.models.evaluation.trial import Trial, people_key
from opticaldr.models.evaluation.verification import Embedded, compare
from opticaldr.models.evaluation.views import Captures, PsfView, burst, capture
from opticaldr.models.networks import Compact
from opticaldr.models.optics import preset

BLUR = 5.0


@pytest.fixture(scope="module")
def view():
    return gaussian_view(BLUR, 2, "blur")


@pytest.fixture(scope="module")
def captures(ground, view):
    return Captures(
        capture(view, ground.train, ground.sensor, seed=0), capture(view, ground.test, ground.sensor, seed=1)
    )


@pytest.fixture(scope="module")
def noise_free(ground, view):
    return Captures(capture(view, ground.train, None, seed=0), capture(view, ground.test, None, seed=1))


def auc(reading, ground) -> float:
    """Clean gallery against probes."""
    test = ground.test
    gallery, probes = (Embedded(v, test.people, test.sessions) for v in (reading.gallery, reading.probes))
    return roc(compare(gallery, probes)).auc


def test_a_known_psf_undone_beats_looking_at_a_noise_free_capture(ground, view, noise_free):
    [looked] = OffTheShelf().read(ground, view, noise_free)
    [undone] = Inversion("A3", wiener, (1e-6, 1e-4, 1e-2)).read(ground, view, noise_free)
    assert auc(undone, ground) > auc(looked, ground) + 0.03
    assert undone.restored.shape == (3, 96, 96, 3)
    clean, blurred = ground.test.scenes[ground.shown], noise_free.test[ground.shown]
    assert np.abs(undone.restored - clean).mean() < np.abs(blurred - clean).mean()


def test_a_known_psf_loses_its_edge_as_read_noise_grows(ground, view, noise_free):
    """The edge over looking at a capture without noise, for the regularisation also smooths noise away."""
    [looked] = OffTheShelf().read(ground, view, noise_free)
    attack, edges = Inversion("A3", wiener, (1e-6, 1e-4, 1e-2, 1e-1)), []
    for electrons in (0.0, 5_000.0, 60_000.0):
        sensor = ground.sensor.model_copy(update={"read_noise": electrons})
        seen = Captures(
            capture(view, ground.train, sensor, seed=0), capture(view, ground.test, sensor, seed=1)
        )
        [undone] = attack.read(ground, view, seen)
        edges.append(auc(undone, ground) - auc(looked, ground))
    assert edges[0] > 0.02
    assert edges[0] > edges[1] > edges[2]
    assert edges[2] < 0


def test_the_regularisation_is_the_one_that_recognises_the_tuning_people_best(ground, view, captures):
    attack = Inversion("A3", wiener, (1e-4, 1e-2, 1.0))
    [reading] = attack.read(ground, view, captures)
    tried = reading.notes["tuning_auc"]
    assert tried[f"{reading.notes['setting']:g}, own depth"] == max(
        value for name, value in tried.items() if "own" in name
    )
    assert len(tried) == 3 + 2


def test_an_attacker_who_has_only_one_depths_psf_right_takes_that_for_all(ground, view, captures):
    wrong = np.random.default_rng(0).random(view.bank[0].shape).astype(np.float32)
    bank = np.stack([view.bank[0], wrong / wrong.sum((1, 2), keepdims=True)])
    _, notes = Inversion("A3", wiener, (1e-2,)).tuned(ground, bank, captures.train[ground.tune])
    assert notes["depth"] == 0
    _, notes = Inversion("A3", wiener, (1e-2,)).tuned(ground, view.bank, captures.train[ground.tune])
    assert notes["depth"] == OWN_DEPTH


def test_a_careless_measurement_is_a_psf_still_but_not_the_same(view):
    wrong = perturbed(view.bank, seed=0)
    np.testing.assert_allclose(wrong.sum((2, 3)), view.bank.sum((2, 3)), rtol=1e-5)
    assert 0.05 < np.abs(wrong - view.bank).sum((2, 3)).mean() < 1.0


def test_total_variation_undoes_a_noise_free_blur_and_keeps_noise_down(ground, view, noise_free):
    clean, seen = ground.test.scenes[:8], noise_free.test[:8]
    blurred = np.abs(seen - clean).mean()
    assert np.abs(total_variation(seen, view.bank[0], 1e-5) - clean).mean() < 0.7 * blurred
    noisy = seen + 0.05 * np.random.default_rng(0).standard_normal(clean.shape).astype(np.float32)
    bare, kept = wiener(noisy, view.bank[0], 1e-5), total_variation(noisy, view.bank[0], 1e-2)
    assert np.abs(kept - clean).mean() < 0.5 * np.abs(bare - clean).mean()


def test_a_retrained_attacker_sees_through_blur_better_than_the_recogniser_it_started_from(
    ground, view, captures
):
    [looked] = OffTheShelf().read(ground, view, captures)
    [student] = Retrained().read(ground, view, captures)
    assert auc(student, ground) > auc(looked, ground)
    losses = student.notes["loss"]
    assert len(losses) == ground.schedule.epochs
    assert losses[-1] < losses[0]


def test_from_scratch_knows_nothing_of_the_clean_weights(ground, view, captures):
    [fresh] = Retrained("A1 from scratch", "scratch").read(ground, view, captures)
    [student] = Retrained().read(ground, view, captures)
    assert fresh.notes["loss"][0] > student.notes["loss"][0]
    assert len(fresh.notes["loss"]) > len(student.notes["loss"])


def test_a_learned_inversion_brings_faces_closer_to_clean_ones(ground, view, captures):
    few = replace(ground, train=ground.train.take(np.arange(64)))
    some = Captures(captures.train[:64], captures.test)
    [reading] = LearnedInversion(epochs=4, batch=16).read(few, view, some)
    assert reading.notes["loss"][-1] < 0.8 * reading.notes["loss"][0]
    assert reading.restored.shape == (3, 72, 72, 3)
    assert all(parameter.requires_grad for parameter in ground.base.network.parameters())


def test_a_burst_has_less_noise_and_its_sessions_share_one_vector(ground, view):
    sensor = ground.sensor.model_copy(update={"read_noise": 3000.0})
    few = ground.test.take(np.arange(6))
    truth = capture(view, few, None, seed=0)
    one, many = (capture(view, few, s, seed=0) - truth for s in (sensor, burst(sensor, 16)))
    assert many.std() == pytest.approx(one.std() / 4, rel=0.1)
    test = replace(ground.test, sessions=np.zeros_like(ground.test.sessions))
    fused = Fusion(Inversion("A3 Wiener", wiener, (1e-2,)))
    [reading] = fused.read(replace(ground, test=test), view, None)
    assert reading.attacker == "A6 fusion of frames"
    for person in np.unique(test.people):
        assert np.ptp(reading.probes[test.people == person], axis=0).max() == 0.0


def test_attributes_are_read_off_captures_and_nothing_is_where_none_are_known(ground, view, captures):
    [reading] = Attributes(epochs=8).read(ground, view, captures)
    assert reading.notes["attributes_r2"]["skin tone"][0] > 0.3
    assert reading.probes.shape == (len(ground.test), len(ground.test.attributes))
    unknown = replace(ground, train=replace(ground.train, attributes={}))
    assert list(Attributes(epochs=1).read(unknown, view, captures)) == []


def test_a_stored_embedding_is_compared_as_it_is_and_by_a_learned_metric(ground, view, captures):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = Compact(size=96)
    plain, learned = StoredEmbedding(network).read(ground, view, captures)
    assert plain.probes.shape == learned.probes.shape == (len(ground.test), 64)
    assert auc(plain, ground) > 0.5


def test_discriminants_find_the_direction_in_which_people_differ():
    rng = np.random.default_rng(0)
    people = np.repeat(np.arange(50), 4)
    vectors = rng.standard_normal((200, 5)).astype(np.float32)
    vectors[:, 2] = 0.3 * vectors[:, 2] + np.repeat(rng.standard_normal(50), 4)
    strongest = discriminants(vectors, people)[:, -1]
    assert np.abs(strongest[2]) > 3 * np.abs(np.delete(strongest, 2)).max()


def test_a_changed_psf_or_attacker_never_meets_a_stale_result(ground, view):
    asked = []

    class Spy(OffTheShelf):
        def read(self, ground, view, captures):
            asked.append(view.name)
            return super().read(ground, view, captures)

    ground = replace(ground, train=ground.train.take(np.arange(6)), tune=np.arange(6))
    key = people_key(ground)
    other = PsfView(view.name, view.bank[:, :, ::-1] ** 1.01)
    Trial(view, ground, key).readings(Spy())
    Trial(view, ground, key).readings(Spy())
    assert len(asked) == 1
    Trial(other, ground, key).readings(Spy())
    assert len(asked) == 2
    Trial(view, replace(ground, seed=9), key).readings(Spy())
    assert len(asked) == 3


def test_every_budget_has_its_rungs(view):
    subject = Subject(preset("clinic"), (0.5, 0.9), view, True, Compact(), view.bank)
    names = {budget: [a.name for a in ladder(budget, subject, 0)] for budget in ("quick", "standard", "full")}
    assert names["quick"][:2] == ["A0 off the shelf", "A1 retrained"]
    assert "A3 Wiener, PSF as designed" in names["standard"]
    assert {n.split()[0] for n in names["full"]} == {"A0", "A1", "A3", "A4", "A6", "A7", "stored"}
    bare = replace(subject, network=None, designed=None)
    assert not any("design" in a.name or "stored" in a.name for a in ladder("full", bare, 0))
