"""`design_lens` in miniature: what it leaves, that it resumes, and that the lens is really learned."""

import numpy as np
import pytest
import torch

from opticaldr.artefacts import open_artefact
from opticaldr.calibration.interlock import derive_interlock
from opticaldr.errors import Refusal
from opticaldr.models.networks import FACTORS, Compact, Recogniser
from opticaldr.models.optics import Optic, check_sampling, preset, psf_bank
from opticaldr.models.training import DesignConfig, design_lens
from opticaldr.models.training.camera import Camera
from opticaldr.models.training.config import FitConfig, JointConfig, LensConfig, SubjectsConfig
from opticaldr.models.training.lens import Lens
from opticaldr.models.training.lens_stage import stop_band_transfer
from opticaldr.models.training.pool import film
from opticaldr.models.training.privacy import pair_scores, separation

MINIATURE = DesignConfig(
    subjects=SubjectsConfig(train=12, test=4, validation=4, frames=4, depths=(0.6, 0.9)),
    lens=LensConfig(steps=6, batch=18, modes=(4, 5, 6, 11), psf=21, start=1.0),
    networks=FitConfig(steps=3, batch=8),
    recogniser=FitConfig(steps=3, batch=8),
    head=FitConfig(steps=5, batch=8),
    joint=JointConfig(steps=3, windows=4),
    checkpoint_every=2,
)


def test_a_design_is_complete_and_the_same_whether_stopped_or_not(tmp_path):
    class Stop(Exception):
        pass

    def stop(stage, done, total):
        if stage == "lens" and done == 5:
            raise Stop

    with pytest.raises(Stop):
        design_lens(MINIATURE, tmp_path / "stopped", 3, stop)
    assert not (tmp_path / "stopped").exists()
    stages = []
    resumed = design_lens(MINIATURE, tmp_path / "stopped", 3, lambda *report: stages.append(report[:2]))
    assert ("lens", 4) not in stages
    assert ("lens", 5) in stages
    whole = design_lens(MINIATURE, tmp_path / "whole", 3)
    assert resumed.id == whole.id
    assert sorted(p.name for p in tmp_path.iterdir()) == ["stopped", "whole"]

    design = open_artefact(tmp_path / "whole", kind="design")
    optic = Optic.read(design.path)
    assert optic.spec == preset("clinic")
    inside = np.hypot(*np.meshgrid(*[np.linspace(-1, 1, optic.spec.pupil.samples)] * 2)) <= 1
    assert 0 < np.ptp(optic.height[inside]) <= optic.spec.mask.max_sag * 1.01
    zernike = design.json("zernike.json")["noll"]
    assert set(zernike) == {"4", "5", "6", "11"}
    every_stage = design.json("history.json")
    assert set(every_stage) == {"lens", "network", "attackers", "head", "joint", "attackers after all"}
    assert [len(every_stage[stage]) for stage in ("network", "head", "joint")] == [3, 5, 3]
    history = every_stage["lens"]
    assert len(history) == 6
    assert [1e6 * zernike[j] for j in zernike] == pytest.approx(
        [every_stage["joint"][-1][f"z{j}"] for j in zernike], abs=1e-4
    )
    assert history[0]["z4"] != history[-1]["z4"]
    metrics = design.json("metrics.json")
    assert set(metrics["factors"]) == {*FACTORS, "mean"}
    assert 0 <= metrics["adversary"]["auc"] <= 1
    low, high = metrics["score"]["mae_interval"]
    assert low <= metrics["score"]["mae"] <= high
    page = design.file("report.html").read_text()
    assert page.count("<img") >= 5
    assert "http" not in page.split("</style>")[1].replace("http://www.w3.org", "")


def test_an_unknown_preset_is_refused_before_anything_is_filmed(tmp_path):
    config = MINIATURE.model_copy(update={"preset": "kaleidoscope"})
    with pytest.raises(Refusal, match="kaleidoscope"):
        design_lens(config, tmp_path / "design")
    assert list(tmp_path.iterdir()) == []


def test_a_lens_is_scaled_back_to_what_can_be_made():
    spec = preset("clinic")
    lens = Lens(spec, (4, 5), (0.6,), 21, 0.0, torch.Generator().manual_seed(0))
    with torch.no_grad():
        lens.bend.copy_(torch.tensor([40.0, 5.0]) / lens.micrometres_per_superpixel)
    lens.limit()
    height = lens.height()
    axis = np.linspace(-1, 1, spec.pupil.samples)
    inside = axis[:, None] ** 2 + axis**2 <= 1
    assert np.ptp(height[inside]) == pytest.approx(spec.mask.max_sag, rel=0.01)
    assert (lens.micrometres[0] / lens.micrometres[1]).item() == pytest.approx(8.0)


def test_the_steepest_lens_that_is_allowed_is_one_that_the_twin_accepts():
    spec = preset("clinic")
    lens = Lens(spec, (28,), (0.4,), 21, 0.0, torch.Generator().manual_seed(0))
    with torch.no_grad():
        lens.bend.copy_(30.0 / lens.micrometres_per_superpixel)
    lens.limit()
    check_sampling(lens.height(), spec)
    with pytest.raises(Refusal):
        check_sampling(1.3 * lens.height(), spec)


@pytest.mark.proves("OPTICS-2")
@pytest.mark.parametrize("loss", ["factors", "privacy"])
def test_gradient_to_the_mask_agrees_with_finite_differences_end_to_end(loss, monkeypatch):
    """From coefficients over rays, image and network to the loss; the noise is the same on both sides."""
    spec = preset("clinic")
    torch.manual_seed(0)
    people = film(range(4), SubjectsConfig(train=8, frames=4, depths=(0.6, 0.9)), spec, 0)
    lens = Lens(spec, (4, 5, 8), (0.6, 0.9), 21, 4.0, torch.Generator().manual_seed(1))
    network, adversary = Compact().eval(), Recogniser().eval()
    scenes, truth = people.frames[:, 0].float(), people.factors[:, 0]

    def value():
        torch.manual_seed(5)
        bank = torch.stack([lens.psf(depth) for depth in range(2)])
        captured = Camera(bank, spec.sensor).capture(scenes, people.view)
        if loss == "factors":
            return (network.factors(network(captured)) - truth).square().mean()
        pairs = pair_scores(adversary(captured), people.subject, torch.arange(len(people)))
        return separation(*pairs)

    value().backward()
    gradient = lens.bend.grad.clone()
    slopes = torch.zeros(3)
    for mode in range(3):
        for sign in (1, -1):
            with torch.no_grad():
                lens.bend[mode] += sign * 0.05
                slopes[mode] += sign * value() / 0.1
                lens.bend[mode] -= sign * 0.05
    cosine = torch.nn.functional.cosine_similarity(gradient, slopes, dim=0)
    assert cosine > 0.97
    assert float(gradient.norm() / slopes.norm()) == pytest.approx(1.0, abs=0.2)


def test_the_guard_gives_a_sharp_lens_a_stop_band_that_the_interlock_can_use():
    spec = preset("clinic")
    lens = Lens(spec, range(4, 29), (0.65,), 41, 1.0, torch.Generator().manual_seed(0))
    optimiser = torch.optim.Adam(lens.parameters(), 0.1, betas=(0.8, 0.95))
    for _ in range(600):  # how many it takes depends on the processor's rounding
        passed = stop_band_transfer(lens.psf(0), 0.15)
        if passed < 2e-3:
            break
        optimiser.zero_grad()
        torch.log(passed / 2e-3).backward()
        optimiser.step()
        lens.limit()
    assert passed < 2e-3
    wave = psf_bank(lens.height().astype(np.float32), spec, (0.65,), shape=(41, 41))
    assert stop_band_transfer(torch.as_tensor(wave), 0.15) < 3e-3
    assert 0 < derive_interlock(wave, spec.sensor).ceiling < 0.1
