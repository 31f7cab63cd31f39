"""The optical twin: from a mask's height map to the image that the sensor reads, for NumPy arrays and torch
tensors.

Typical use::

    spec = preset("clinic")                                     # or load_spec(Path("mine.toml"))
    height = zernike_height({4: 2e-6, 7: 1e-6}, spec)           # metres [y, x] on the pupil's grid
    bank = psf_bank(height, spec, [0.4, 0.6, 1.2], shape=(33, 33))      # [depth, colour, y, x] energy
    fractions image = form_image(scene, bank[1])                          # scene [..., colour, y, x], linear,
    upright frame = expose(image, spec.sensor, rng=np.random.default_rng(0))    # binned RGB in [0, 1], black
    level taken off

* `psf_bank(height, spec, depths, *, fields=None, shape=None, binned=True)`: without `fields` (tangents (x, y)
  of field angles) there is no field axis. `binned=True` counts `shape` in superpixels, `binned=False` in raw
  pixels. Pass a torch tensor with gradient and the result is differentiable; the precision is that of
  `height`.
* `expose(irradiance, sensor, *, exposure, gain, temperature, rng)` reads binned RGB; `expose_raw(...)` a
  Bayer frame [..., y, x] of digital numbers (with `fixed_pattern=response_pattern(sensor, rng)` for PRNU).
  Irradiance is always in fractions of full well.
* `Optic(spec, height)`, `Optic.read(folder)`, `.write(folder)`: `optics.json` and `height.npy`.
* `magnification(spec, depth)`, `face_width(spec, depth)` in superpixels.
* Arrays are upright images: a point on the right of the scene is on the right of the array. Use odd sides for
  PSFs.
"""

from opticaldr.models.optics.field_varying import FieldVaryingPsf
from opticaldr.models.optics.geometry import face_width, magnification, pupil_mask, pupil_positions
from opticaldr.models.optics.imaging import form_image
from opticaldr.models.optics.optic import Optic
from opticaldr.models.optics.psf import psf, psf_bank
from opticaldr.models.optics.sampling import check_sampling
from opticaldr.models.optics.sensor import bayer_masks, expose, expose_raw, response_pattern
from opticaldr.models.optics.specs import (
    COLOURS,
    LensSpec,
    MaskSpec,
    Material,
    OpticsSpec,
    PupilSpec,
    SceneSpec,
    Seidel,
    SensorSpec,
    load_spec,
    preset,
)
from opticaldr.models.optics.surfaces import zernike_height
from opticaldr.models.optics.zernike import (
    fringe_to_noll,
    noll_to_fringe,
    noll_to_nm,
    noll_to_osa,
    osa_to_noll,
    zernike,
    zernike_basis,
)

__all__ = [
    "COLOURS",
    "FieldVaryingPsf",
    "LensSpec",
    "MaskSpec",
    "Material",
    "Optic",
    "OpticsSpec",
    "PupilSpec",
    "SceneSpec",
    "Seidel",
    "SensorSpec",
    "bayer_masks",
    "check_sampling",
    "expose",
    "expose_raw",
    "face_width",
    "form_image",
    "fringe_to_noll",
    "load_spec",
    "magnification",
    "noll_to_fringe",
    "noll_to_nm",
    "noll_to_osa",
    "osa_to_noll",
    "preset",
    "psf",
    "psf_bank",
    "pupil_mask",
    "pupil_positions",
    "response_pattern",
    "zernike",
    "zernike_basis",
    "zernike_height",
]
