"""Networks: what they are blind to by construction, what they output, and their way to disk and back."""

import pytest
import torch

from opticaldr.errors import Refusal
from opticaldr.models.networks import (
    FACTORS,
    Compact,
    FactorScale,
    MarginSoftmax,
    Recogniser,
    Sanet,
    TemporalHead,
    factor_loss,
    fit_recogniser,
    frame_network,
    gaussian_nll,
    load_networks,
    mirror,
    save_networks,
)
from opticaldr.models.networks.layers import Standardise
from opticaldr.models.networks.sanet import SplitAttention


@pytest.fixture(autouse=True)
def fixed_seed():
    torch.manual_seed(0)


def test_standardised_frames_do_not_depend_on_exposure():
    frames = 0.2 + 0.6 * torch.rand(4, 3, 32, 32)
    standard = Standardise()
    assert torch.allclose(standard(frames), standard(0.5 * frames), atol=2e-3)
    assert torch.allclose(standard(frames).mean(dim=(1, 2, 3)), torch.zeros(4), atol=1e-5)
    assert torch.isfinite(standard(torch.full((1, 3, 32, 32), -0.01))).all()


def test_recogniser_gives_unit_vectors_whatever_the_brightness():
    network = Recogniser().eval()
    frames = 0.1 + 0.5 * torch.rand(3, 3, 112, 112)
    one, other = network(frames), network(1.7 * frames)
    assert torch.allclose(one.norm(dim=1), torch.ones(3), atol=1e-5)
    assert (one * other).sum(dim=1).min() > 0.99


def test_margin_makes_the_true_identity_harder():
    embeddings = torch.nn.functional.normalize(torch.randn(20, 16), dim=1)
    labels = torch.arange(20) % 4
    with_margin, without = MarginSoftmax(4, 16, margin=0.3), MarginSoftmax(4, 16, margin=0.0)
    without.load_state_dict(with_margin.state_dict())
    assert with_margin(embeddings, labels) > without(embeddings, labels)


def test_a_fitted_recogniser_tells_people_apart_and_the_seed_decides():
    # "People" are mixtures of two patterns, seen at any brightness and in noise.
    patterns = torch.rand(2, 3, 16, 16)
    shares = torch.linspace(0, 1, 4)

    def sample(generator):
        labels = torch.randint(4, (16,), generator=generator)
        share = shares[labels][:, None, None, None]
        frames = share * patterns[0] + (1 - share) * patterns[1]
        noise = 0.05 * torch.randn(frames.shape, generator=generator)
        return torch.rand(16, 1, 1, 1, generator=generator).add(0.5) * frames + noise, labels

    def fit():
        return fit_recogniser(sample, 4, steps=40, seed=1, recogniser=small())

    def small():
        torch.manual_seed(1)
        return Recogniser(embedding=16, width=4, size=16)

    first, again = fit(), fit()
    frames, labels = sample(torch.Generator().manual_seed(9))
    with torch.no_grad():
        vectors = first(frames)
        assert torch.equal(vectors, again(frames))
    same = labels[:, None] == labels
    cosines = vectors @ vectors.T
    assert cosines[same].mean() > cosines[~same].mean() + 0.3
    assert not first.training


def test_head_speaks_in_points_and_ignores_where_the_window_begins():
    head = TemporalHead().eval()
    window = torch.rand(5, 12, 64)
    mean, sigma = head(window)
    assert ((mean >= 0) & (mean <= 63)).all()
    assert (sigma >= 1).all()
    # Backwards in time mean, spread and pace are the same.
    assert torch.allclose(head(window.flip(1))[0], mean, atol=1e-4)


def test_likelihood_is_best_at_the_true_sigma():
    errors = 5 * torch.randn(20_000)
    sigmas = torch.tensor([3.0, 5.0, 8.0])
    losses = [gaussian_nll(torch.zeros(20_000), sigma.expand(20_000), errors) for sigma in sigmas]
    assert losses[1] < losses[0]
    assert losses[1] < losses[2]


def test_networks_come_back_from_disk_as_they_were(tmp_path):
    network, head = Compact(size=32), TemporalHead()
    head.standardise(torch.rand(3, 12, 64))
    scale = FactorScale.of(torch.rand(4, 5, len(FACTORS)))
    save_networks(tmp_path / "n.safetensors", network, head, scale)
    again, head_again, scale_again = load_networks(tmp_path / "n.safetensors", 32)
    frames = torch.rand(2, 3, 32, 32)
    assert torch.allclose(network.eval()(frames), again(frames), atol=1e-6)
    window = torch.rand(1, 12, 64)
    assert torch.equal(head.eval()(window)[0], head_again(window)[0])
    assert torch.equal(scale.mean, scale_again.mean)


@pytest.mark.parametrize("damage", ["truncated", "other size", "absent"])
def test_a_file_of_weights_that_does_not_fit_is_refused(tmp_path, damage):
    file = tmp_path / "n.safetensors"
    save_networks(file, Compact(size=32), TemporalHead(), FactorScale.of(torch.rand(4, 5, len(FACTORS))))
    if damage == "truncated":
        file.write_bytes(file.read_bytes()[:-100])
    if damage == "absent":
        file.unlink()
    with pytest.raises(Refusal, match=r"n\.safetensors"):
        load_networks(file, 64 if damage == "other size" else 32)


@pytest.mark.parametrize(("name", "low", "high"), [("compact", 10e6, 20e6), ("sanet", 60e6, 90e6)])
def test_frame_networks_cost_what_they_say_and_answer_in_the_same_shapes(name, low, high):
    network = frame_network(name, 7, 112).eval()
    multiplications = 0

    def count(layer, inputs, output):
        nonlocal multiplications
        multiplications += layer.weight[0].numel() * output[0].numel()

    for layer in network.modules():
        if isinstance(layer, torch.nn.Conv2d | torch.nn.Linear):
            layer.register_forward_hook(count)
    embedding = network(torch.rand(1, 3, 112, 112))
    assert embedding.shape == (1, 64)
    assert (embedding >= 0).all()
    assert network.factors(embedding).shape == (1, 7)
    assert low <= multiplications <= high
    kinds = {type(layer).__name__ for layer in network.modules()}
    assert not kinds & {"Hardswish", "Hardsigmoid", "SiLU", "GELU"}


def test_sanet_has_the_parameters_of_its_drawing():
    block = SplitAttention(32)
    # Two groups, each from half of the channels to all of them; then 32 -> 8 -> 64 for the attention.
    assert sum(p.numel() for p in block.split.parameters()) == 64 * 16 * 9 + 2 * 64
    assert sum(p.numel() for p in block.weigh.parameters()) == 32 * 8 + 8 + 8 * 64 + 64
    assert 0.5e6 < sum(p.numel() for p in Sanet().parameters()) < 1e6


def test_attention_shares_one_among_the_groups_and_depends_on_the_frame():
    block = SplitAttention(16).eval()
    parts = torch.rand(3, 2, 16, 5, 7)
    weights = block.attention(parts)
    assert weights.shape == (3, 2, 16, 1, 1)
    assert torch.allclose(weights.sum(dim=1), torch.ones(3, 16, 1, 1), atol=1e-6)
    assert (weights[0] - weights[1]).abs().max() > 1e-4
    # Pooled over the frame: where something is does not matter, how much of it there is does.
    assert torch.allclose(block.attention(parts.flip(-1)), weights, atol=1e-6)
    assert block(torch.rand(2, 16, 9, 9)).shape == (2, 16, 9, 9)
    assert SplitAttention(16, stride=2)(torch.rand(2, 16, 9, 9)).shape == (2, 16, 5, 5)


def test_every_weight_of_sanet_is_reached_by_the_gradient():
    network = Sanet(factors=5, size=48)
    network.factors(network(torch.rand(6, 3, 48, 48))).square().sum().backward()
    idle = [n for n, p in network.named_parameters() if p.grad is None or not p.grad.abs().max() > 0]
    assert idle == []


def test_unknown_factors_teach_nothing():
    truth = torch.tensor([[1.0, float("nan")], [float("nan"), 2.0]])
    read = torch.zeros(2, 2, requires_grad=True)
    loss = factor_loss(read, truth)
    assert loss.item() == pytest.approx((1 + 4) / 2)
    loss.backward()
    assert torch.equal(read.grad, torch.tensor([[-1.0, 0.0], [0.0, -2.0]]))
    scale = FactorScale.of(torch.tensor([[1.0, float("nan")], [3.0, 5.0], [5.0, 5.0]]), ("a", "b"))
    assert scale.mean.tolist() == [3.0, 5.0]
    assert scale.spread.tolist() == [2.0, 1.0]  # a factor that never changes keeps its unit


def test_a_mirror_swaps_sides_and_turns_angles():
    names = ("yaw", "smile", "left_eye_x", "left_eye_y", "right_eye_x", "right_eye_y", "nose_x")
    order, sign = mirror(names)
    seen = (sign * torch.tensor([0.1, 0.5, -2.0, 3.0, 4.0, 5.0, 0.3])[order]).tolist()
    assert seen == pytest.approx([-0.1, 0.5, -4.0, 5.0, 2.0, 3.0, -0.3])


def test_an_overconfident_head_is_calibrated_by_people_it_has_not_met():
    head = TemporalHead()
    windows = torch.rand(4000, 6, 64)
    with torch.no_grad():
        mean, sigma = head.eval()(windows)
    score = mean + 2.5 * sigma * torch.randn(4000)
    assert head.calibrate(windows[:2000], score[:2000]) == pytest.approx(2.5, rel=0.06)
    with torch.no_grad():
        mean, sigma = head(windows[2000:])
    for factor, expected in ((1.0, 0.683), (1.96, 0.95)):
        inside = ((score[2000:] - mean).abs() <= factor * sigma).float().mean()
        assert float(inside) == pytest.approx(expected, abs=0.03)


def test_sanet_comes_back_from_disk_with_its_factors(tmp_path):
    network, head = frame_network("sanet", 2, 32), TemporalHead()
    scale = FactorScale.of(torch.rand(4, 5, 2), ("Smiling", "nose_x"))
    save_networks(tmp_path / "n.safetensors", network, head, scale)
    again, _, scale_again = load_networks(tmp_path / "n.safetensors", 32)
    assert isinstance(again, Sanet)
    assert scale_again.names == ("Smiling", "nose_x")
    frames = torch.rand(2, 3, 32, 32)
    assert torch.allclose(network.eval()(frames), again(frames), atol=1e-6)
