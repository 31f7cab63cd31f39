"""The optical twin: from a mask's height map to the image that the sensor reads, for NumPy and torch alike.

Typical use::

    spec = preset("clinic")                              # or load_spec(Path("mine.toml"))
    height = zernike_height({4: 2e-6, 7: 1e-6}, spec)    # metres, [y, x] on the pupil's grid
    bank = psf_bank(height, spec, [0.4, 0.6, 1.2], shape=(33, 33))  # energy, [depth, colour, y, x]
    image = form_image(scene, bank[1])                   # scene [..., colour, y, x], linear, upright
    frame = expose(image, spec.sensor, rng=np.random.default_rng(0))  # binned RGB, black level off

* `psf_bank` has a field axis only if given `fields`, the tangents (x, y) of field angles. `binned=True` counts
  `shape` in superpixels, `binned=False` in raw pixels. Pass a torch tensor with gradient and the result is
  differentiable; the precision is that of the height map. `psf` gives single wavelengths.
* `expose` reads binned RGB, `expose_raw` a Bayer frame [..., y, x] of digital numbers (with `response_pattern`
  for PRNU). Irradiance is always in fractions of full well.
* `Optic(spec, height)` is what exists or shall exist; `Optic.read`, `.write`: `optics.json` and `height.npy`.
* `surfaces`: Zernike, radial, spline and per-pixel masks; `fabrication`: sag limit, wrap, levels, blur, errors.
* `metrics`: Strehl, encircled energy, MTF, registration, NCC; `draw`: matplotlib figures of all this.
* `FieldVaryingPsf`: PSFs that change over the field, by a few convolutions.
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
