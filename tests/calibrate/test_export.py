"""Every format is read back by a program that did not write it."""

import json
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest

from opticaldr.calibration.bank import Bank
from opticaldr.calibration.export import export_bank
from opticaldr.calibration.field import low_rank

DEPTHS, FIELDS, SIDE = 2, 5, 12


@pytest.fixture
def bank() -> Bank:
    """PSFs that are sums of two kernels, and a little noise."""
    rng = np.random.default_rng(0)
    kernels, weights = rng.random((2, 3, SIDE, SIDE)), rng.random((DEPTHS, FIELDS, 2))
    psf = np.einsum("dfk,kcyx->dfcyx", weights, kernels)
    psf += 1e-3 * rng.standard_normal(psf.shape)
    return Bank(
        psf=psf.astype(np.float32),
        uncertainty=np.full(psf.shape, 1e-3, np.float32),
        depths=np.array([0.4, 1.2]),
        fields=rng.random((FIELDS, 2)),
        scale=rng.random((DEPTHS, FIELDS, 3)),
        background=rng.random((DEPTHS, FIELDS, 3)),
        centre=rng.random((DEPTHS, FIELDS, 2)),
    )


def test_the_bank_itself_comes_back(bank, tmp_path):
    bank.write(tmp_path / "psf.npz")
    found = Bank.read(tmp_path / "psf.npz")
    assert all(np.array_equal(value, getattr(found, name)) for name, value in vars(bank).items())


def test_hdf5_through_pyfive(bank, tmp_path):
    pyfive = pytest.importorskip("pyfive")
    (path,) = export_bank(bank, "hdf5", tmp_path)
    with pyfive.File(str(path)) as file:
        assert file["psf"].dtype == np.float32
        for name, value in vars(bank).items():
            assert np.array_equal(file[name][()], value)


def test_tiff_through_libtiff(bank, tmp_path):
    import cv2

    (path,) = export_bank(bank, "tiff", tmp_path)
    read, pages = cv2.imreadmulti(str(path), flags=cv2.IMREAD_UNCHANGED)
    assert read
    assert pages[0].dtype == np.float32
    assert np.array_equal(np.stack(pages).reshape(bank.psf.shape), bank.psf)


def test_openexr_read_from_its_specification(bank, tmp_path):
    *files, about = export_bank(bank, "exr", tmp_path)
    assert len(files) == DEPTHS * FIELDS
    blue, green, red = scanlines(tmp_path / "psf-1-3.exr")
    assert np.array_equal(np.stack([red, green, blue]), bank.psf[1, 3])
    assert json.loads(about.read_text())["depths_m"] == [0.4, 1.2]


def scanlines(path: Path) -> np.ndarray:
    """Float32 channels [channel, y, x], in alphabetical order, of a ZIP-compressed scan-line OpenEXR 2 file."""
    data = path.read_bytes()
    assert struct.unpack_from("<I", data)[0] == 20000630
    at, header = 8, {}
    while data[at]:
        name, kind, rest = data[at:].split(b"\0", 2)
        (size,) = struct.unpack_from("<I", rest)
        header[name] = rest[4 : 4 + size]
        at += len(name) + len(kind) + 6 + size
    assert header[b"compression"] == b"\3"  # ZIP, 16 lines a block
    left, top, right, bottom = struct.unpack("<4i", header[b"dataWindow"])
    rows, columns, channels = bottom - top + 1, right - left + 1, 3
    image = np.empty((channels, rows, columns), np.float32)
    at += 1
    for (offset,) in struct.iter_unpack("<Q", data[at : at + 8 * -(-rows // 16)]):
        first, size = struct.unpack_from("<iI", data, offset)
        count = min(16, rows - first)
        packed = data[offset + 8 : offset + 8 + size]
        if size < 4 * channels * columns * count:
            differences = np.frombuffer(zlib.decompress(packed), np.uint8).astype(np.int64)
            differences[1:] -= 128
            halves = (np.cumsum(differences) % 256).astype(np.uint8)
            woven = np.empty_like(halves)
            woven[::2], woven[1::2] = halves[: (len(halves) + 1) // 2], halves[(len(halves) + 1) // 2 :]
            packed = woven.tobytes()
        lines = np.frombuffer(packed, "<f4").reshape(count, channels, columns)
        image[:, first : first + count] = lines.swapaxes(0, 1)
    return image


def test_the_field_model_has_the_rank_that_the_noise_leaves_visible(bank):
    model = low_rank(bank)
    assert model.kernels.shape == (DEPTHS, 2, 3, SIDE, SIDE)
    assert np.all(model.residual <= model.noise)
    off = np.linalg.norm(model.psf() - bank.psf) / np.linalg.norm(bank.psf)
    assert off <= model.residual.max() * 1.01
    assert np.all(model.variation > 10 * model.residual)
