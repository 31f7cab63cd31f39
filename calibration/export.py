"""The PSF bank in other programs' formats, always float32: HDF5, TIFF, OpenEXR."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

import numpy as np

from opticaldr.calibration.bank import Bank

Format = Literal["hdf5", "tiff", "exr"]

AXES = ("depth", "field", "colour", "y", "x")


def export_bank(bank: Bank, form: Format, folder: Path) -> list[Path]:
    """Write the bank into `folder`.

    * ``hdf5``: psf.h5, a dataset for every array of `Bank`, axes and units as attributes.
    * ``tiff``: psf.tif, a page for every depth, field and colour in this order; the first page's description is JSON.
    * ``exr``: psf-<depth>-<field>.exr, channels R, G and B, with a psf.json beside them.

    Returns:
        The files.
    """
    return {"hdf5": _hdf5, "tiff": _tiff, "exr": _exr}[form](bank, folder)


def _about(bank: Bank) -> dict[str, object]:
    return {
        "axes": AXES,
        "shape": bank.psf.shape,
        "unit": "fraction of the energy in the window, raw pixels",
        "depths_m": bank.depths.tolist(),
        "fields_tangent": bank.fields.tolist(),
        "centre_pixels": bank.centre.tolist(),
        "scale_electrons_per_second": bank.scale.tolist(),
    }


def _hdf5(bank: Bank, folder: Path) -> list[Path]:
    import h5py

    path = folder / "psf.h5"
    with h5py.File(path, "w") as file:
        for name, values in vars(bank).items():
            file.create_dataset(name, data=values)
        for name in ("psf", "uncertainty"):
            file[name].attrs["axes"] = ",".join(AXES)
            file[name].attrs["unit"] = "fraction of the energy in the window"
    return [path]


def _tiff(bank: Bank, folder: Path) -> list[Path]:
    import tifffile

    path = folder / "psf.tif"
    pages = bank.psf.reshape(-1, *bank.psf.shape[-2:])
    tifffile.imwrite(
        path, pages, photometric="minisblack", description=json.dumps(_about(bank)), metadata=None
    )
    return [path]


def _exr(bank: Bank, folder: Path) -> list[Path]:
    import OpenEXR

    header = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage}
    files = []
    for depth, field in np.ndindex(bank.psf.shape[:2]):
        path = folder / f"psf-{depth}-{field}.exr"
        red, green, blue = (np.ascontiguousarray(plane) for plane in bank.psf[depth, field])
        OpenEXR.File(header, {"R": red, "G": green, "B": blue}).write(str(path))
        files.append(path)
    about = folder / "psf.json"
    about.write_text(json.dumps(_about(bank), indent=1) + "\n", encoding="utf-8")
    return [*files, about]
