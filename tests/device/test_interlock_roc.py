"""How often the interlock cries wolf and how often it misses, over scenes, light, depths and changes of the optics.

The receiver operating characteristic is of single frames. The stop band trips on two in a row; disagreement of the
structure adds up over frames, and drops them.
"""

import json
import os
from pathlib import Path

import numpy as np
import pytest

from opticaldr.calibration.interlock import StopBand, derive_interlock
from opticaldr.calibration.structure import Structure
from opticaldr.models.data import SimulatedSubjects
from opticaldr.models.optics import expose, form_image, preset, psf_bank

DEPTHS, LIGHTS, SCENES = (0.5, 0.6, 0.8), (1.0, 0.3, 0.1), 20
SHAPE = (31, 31)


def random_mask(spec, seed, strength=4e-6, shift=0.0):
    """A smooth height map (metres): a dozen waves of one half to two periods across the pupil, moved sideways."""
    rng = np.random.default_rng(seed)
    axis = (np.arange(spec.pupil.samples) - (spec.pupil.samples - 1) / 2) * spec.pupil.pitch
    turns = rng.uniform(0.5, 2.0, 12) * 2 * np.pi / spec.pupil.diameter
    angles, phases = rng.uniform(0, 2 * np.pi, (2, 12))
    return (strength / 6**0.5) * sum(
        np.cos(turn * ((axis - shift) * np.cos(angle) + axis[:, None] * np.sin(angle)) + phase)
        for turn, angle, phase in zip(turns, angles, phases, strict=True)
    )


@pytest.fixture(scope="module")
def roc():
    spec = preset("clinic")
    spec = spec.model_copy(update={"sensor": spec.sensor.model_copy(update={"shape": (512, 512)})})
    sensor, index = spec.sensor, spec.mask.material.index(550e-9)
    mask = random_mask(spec, 1)
    axis = (np.arange(spec.pupil.samples) - (spec.pupil.samples - 1) / 2) * spec.pupil.pitch
    square = axis[:, None] ** 2 + axis**2

    def lens(dioptres):
        return mask - dioptres * square / 2 / (index - 1)

    optics = {
        "in place": mask,
        "mask removed": np.zeros_like(mask),
        "replaced by one a tenth as strong": random_mask(spec, 2, 0.4e-6),
        "replaced by another as strong": random_mask(spec, 3),
        "replaced by a third as strong": random_mask(spec, 4),
        "shifted by 0.2 mm": random_mask(spec, 1, shift=0.2e-3),
        "shifted by 1 mm": random_mask(spec, 1, shift=1e-3),
        "lens of +2 dioptres in front": lens(2.0),
        "lens of -2 dioptres in front": lens(-2.0),
        "lens of +4 dioptres in front": lens(4.0),
    }
    banks = {
        name: psf_bank(h.astype(np.float32), spec, list(DEPTHS), shape=SHAPE) for name, h in optics.items()
    }
    interlock = derive_interlock(banks["in place"], sensor)
    statistic = StopBand.of(banks["in place"], sensor.binned_shape, interlock)
    structure = Structure(banks["in place"][:, None], sensor.binned_shape)
    rng = np.random.default_rng(5)
    margins = {name: [] for name in banks}
    agreements = {name: [] for name in banks}
    doubts = dict.fromkeys(banks, 0)
    for person in range(SCENES):
        scene = (
            SimulatedSubjects(7).clip(person, 0, 1, sensor.binned_shape, 40.0).frames[0].transpose(2, 0, 1)
        )
        for name, bank in banks.items():
            for psf in bank:
                image = np.maximum(form_image(np.ascontiguousarray(scene), psf.astype(np.float32)), 0)
                for light in LIGHTS:
                    frame = expose(image * np.float32(light), sensor, rng=rng)
                    spectrum = statistic.spectrum(frame)
                    fraction, contrast = statistic.fraction(spectrum)
                    agreements[name].append(structure.agreement(spectrum))
                    doubts[name] += contrast < interlock.floor
                    margins[name].append(
                        fraction / interlock.ceiling if contrast >= interlock.floor else np.inf
                    )
    return margins, agreements, doubts


def areas(margins):
    """Area under the curve of each case against the mask in place."""
    good = np.array(margins["in place"])
    return {
        name: float((np.array(bad)[:, None] > good).mean() + (np.array(bad)[:, None] == good).mean() / 2)
        for name, bad in margins.items()
    }


@pytest.mark.proves("EYE-4")
@pytest.mark.slow
def test_false_alarms_and_misses(roc):
    margins, agreements, doubts = roc
    area = areas(margins)
    disagreements = {name: -np.array(each)[np.isfinite(each)] for name, each in agreements.items()}
    area_of_structure = areas(disagreements)
    found = {
        name: {
            "frames": len(each),
            "closed": float((np.array(each) > 1).mean()),
            "in doubt": doubts[name] / len(each),
            "area": area[name],
            "without a word on its structure": 1 - len(disagreements[name]) / len(each),
            "not its structure": float((disagreements[name] > 0).mean()),
            "mean agreement": -float(disagreements[name].mean()),
            "area of structure": area_of_structure[name],
        }
        for name, each in margins.items()
    }
    if out := os.environ.get("OPTICALDR_ROC"):
        draw({"stop band": margins, "structure": disagreements}, Path(out))
        Path(out).with_suffix(".json").write_text(json.dumps(found, indent=1))
    assert found["in place"]["closed"] == 0.0
    assert found["mask removed"]["closed"] == 1.0
    assert found["replaced by one a tenth as strong"]["closed"] > 0.9
    assert found["in place"]["not its structure"] == 0.0
    for name in ("replaced by another as strong", "replaced by a third as strong"):
        assert found[name]["area of structure"] > 0.95
    assert found["replaced by a third as strong"]["mean agreement"] < 0


def draw(statistics, out):
    """False alarms against misses for every threshold of both statistics, as a figure."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, panels = plt.subplots(1, 2, figsize=(11, 4.5), sharey=True)
    for axes, (title, values) in zip(panels, statistics.items(), strict=True):
        good = np.sort(values["in place"])
        for name, bad in values.items():
            if name == "in place":
                continue
            thresholds = np.quantile(np.concatenate([good, bad]), np.linspace(0, 1, 200), method="nearest")
            alarms = [(good > t).mean() for t in thresholds]
            misses = [(np.array(bad) <= t).mean() for t in thresholds]
            axes.step(alarms, misses, label=name)
        axes.set(xlabel="false alarms (frames through the mask)", title=title)
    panels[0].set_ylabel("misses (frames of the case)")
    panels[1].legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(out, dpi=110)
