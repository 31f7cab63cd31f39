"""The reference design that ships in examples/: small, whole, what its coefficients say, and ready to be made."""

from pathlib import Path

import numpy as np
import pytest

from opticaldr.artefacts import open_artefact
from opticaldr.models.networks import load_networks
from opticaldr.models.optics import Optic, check_sampling, pupil_mask, zernike_height
from opticaldr.models.training.config import DesignConfig, load_config
from opticaldr.models.training.lens import unlearned

CLINIC = Path(__file__).parents[2] / "examples" / "clinic"


def test_it_is_small_and_what_its_own_config_and_coefficients_say():
    design = open_artefact(CLINIC / "design", kind="design")
    assert sum(file.stat().st_size for file in CLINIC.rglob("*") if file.is_file()) <= 5 * 2**20
    optic = Optic.read(design.path)
    check_sampling(optic.height, optic.spec)
    made_with = load_config(DesignConfig, design.file("config.toml"))
    assert optic.spec == made_with.optics()
    assert made_with.lens == load_config(DesignConfig, CLINIC / "config.toml").lens
    noll = design.json("zernike.json")["noll"]
    inside = pupil_mask(optic.spec)
    surface = zernike_height({int(j): value for j, value in noll.items()}, optic.spec)[inside]
    difference = optic.height[inside] - surface
    assert np.ptp(difference) < 1e-11  # float32 keeps picometres
    assert np.ptp(surface) <= 1.01 * optic.spec.mask.max_sag
    load_networks(design.file("networks.safetensors"), optic.spec.sensor.binned_shape[0])


def test_it_began_as_the_fan_that_an_ablation_sets_beside_it():
    design = open_artefact(CLINIC / "design", kind="design")
    start = unlearned(load_config(DesignConfig, design.file("config.toml")))
    noll = design.json("zernike.json")["noll"]
    assert set(start) == {int(j) for j in noll}
    before, after = np.array(list(start.values())), np.array([noll[str(j)] for j in start])
    assert 0.02 < np.linalg.norm(after - before) / np.linalg.norm(before) < 0.5


@pytest.mark.slow
def test_it_can_be_fabricated(tmp_path):
    from opticaldr.hardware.fabrication import fabricate

    mask = fabricate(open_artefact(CLINIC / "design"), "grayscale", tmp_path / "mask", parts=0, seed=0)
    assert mask.kind == "mask"
    assert mask.manifest.parents == (open_artefact(CLINIC / "design").id,)
