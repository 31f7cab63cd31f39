"""The opponents inside the training: what they look at, whom they are taught, and that they learn."""

import numpy as np
import pytest
import torch

from opticaldr.models.data.photographs import TEMPLATE, TEMPLATE_SIZE
from opticaldr.models.training.crops import aligned
from opticaldr.models.training.opponents import CROP, Opponents


def test_a_turned_and_scaled_face_is_brought_upright():
    """A ramp is drawn so that, after alignment, brightness is the crop's own column."""
    turn, scale, size = 0.3, 0.8, 48
    template = (TEMPLATE + 0.5) * (size / TEMPLATE_SIZE) - 0.5
    rotation = scale * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    centre = np.array([60.0, 50.0])
    marks = (template - template.mean(0)) @ rotation.T + centre
    y, x = np.mgrid[:112, :112]
    back = (np.stack([x, y], -1) - centre) @ np.linalg.inv(rotation).T + template.mean(0)
    frame = torch.tensor(back[..., 0], dtype=torch.float32)[None, None]
    crop = aligned(frame, torch.tensor(marks, dtype=torch.float32)[None], size)
    expected = torch.arange(size, dtype=torch.float32).expand(size, size)
    assert torch.allclose(crop[0, 0], expected, atol=1e-3)


def test_they_learn_whom_they_are_taught_are_judged_on_others_and_point_away_from_identity():
    torch.manual_seed(0)
    faces = torch.rand(12, 3, 8, 8)  # a coarse pattern each

    def batch():
        people = torch.cat([torch.randint(8, (24,)), torch.arange(8, 12).repeat(2)])
        frames = torch.nn.functional.interpolate(faces[people], (112, 112)) + 0.05 * torch.randn(
            32, 3, 112, 112
        )
        template = (TEMPLATE + 0.5) * (CROP / TEMPLATE_SIZE) - 0.5
        marks = torch.as_tensor(2 * template, dtype=torch.float32).expand(32, 5, 2)
        return frames.requires_grad_(), marks, people, torch.arange(32)

    opponents = Opponents(2, 8, 3e-3)
    losses = []
    for _ in range(12):
        frames, *rest = batch()
        leak, auc, loss = opponents.study(frames, *rest)
        (away,) = torch.autograd.grad(leak, frames)
        opponents.learn()
        losses.append(loss)
    assert losses[-1] < 0.7 * losses[0]
    assert auc > 0.9
    # Those it was taught do not judge; only batch normalisation lets them have a say.
    assert away[24:].abs().mean() > 2 * away[:24].abs().mean()


def test_a_redrawn_opponent_has_forgotten_everything():
    opponents = Opponents(2, 4, 1e-3)
    before = [member.recogniser.project[2].weight.clone() for member in opponents.members]
    opponents.redraw(1)
    after = [member.recogniser.project[2].weight for member in opponents.members]
    assert torch.equal(before[0], after[0])
    assert not torch.equal(before[1], after[1])
    assert not opponents.optimisers[1].state


def test_the_fan_spreads_a_point_along_x_alone():
    from opticaldr.models.optics import preset
    from opticaldr.models.training.lens import Lens

    spec = preset("clinic")
    lens = Lens(spec, range(4, 29), (0.6,), 41, 0.0, torch.Generator().manual_seed(0), fan=8.0)
    lens.limit()
    psf = lens.psf(0)[1].detach().numpy()
    offset = np.arange(41) - 20
    across = np.sqrt(psf.sum(0) @ offset**2)
    assert across == pytest.approx(8.0 / np.sqrt(3), rel=0.15)  # an even line of half-length 8
    assert np.sqrt(psf.sum(1) @ offset**2) < 0.5
    assert np.ptp(lens.height()) <= spec.mask.max_sag
