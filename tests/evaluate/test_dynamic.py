"""Masks that change from frame to frame."""

import numpy as np

from opticaldr.models.data import SimulatedSubjects
from opticaldr.models.evaluation import dynamic
from opticaldr.models.evaluation.dynamic import dynamic_study
from opticaldr.models.evaluation.views import mean_width
from opticaldr.models.optics import preset


def test_a_changing_mask_is_as_wide_as_the_lens_and_differs_between_frames(monkeypatch):
    monkeypatch.setattr(dynamic, "KEYS", 6)
    (kept, _), (changing, attacks) = dynamic_study(preset("clinic"), (0.5,), 3.0, window=25, seed=0)
    assert abs(mean_width(kept.bank) / 3.0 - 1) < 0.15
    assert all(abs(mean_width(bank) / 3.0 - 1) < 0.15 for bank in changing.keys)
    assert changing.bank.shape == kept.bank.shape
    assert [attack.name.split()[0] for attack in attacks] == ["A0", "A1", "A3"]
    frames = SimulatedSubjects(0).clip(1, 0, 6, (64, 64), 40.0, fps=0.1).frames
    images = changing.optical_image(frames, 0)
    np.testing.assert_array_equal(images, changing.optical_image(frames, 0))
    alone = [
        [np.abs(image - other).max() for other in _through_all(changing, frame)]
        for image, frame in zip(images, frames, strict=True)
    ]
    chosen = [int(np.argmin(distances)) for distances in alone]
    assert max(min(distances) for distances in alone) < 1e-5
    assert len(set(chosen)) > 1


def _through_all(changing, frame):
    from opticaldr.models.evaluation.views import PsfView

    return [PsfView("key", bank).optical_image(frame[None], 0)[0] for bank in changing.keys]
