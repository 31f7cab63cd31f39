"""What masks are made of: refractive index over wavelength, with its source and its measured range."""

import tomllib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from opticaldr.errors import Refusal

_NOT_PUBLISHED = ("ip-s", "ip-dip", "ip-l", "ip-visio")


@dataclass(frozen=True)
class Material:
    """A dispersion curve that knows where it was measured.

    Args:
        name: as used on the command line.
        formula: ``sellmeier``, ``powers``, ``cauchy`` (see materials.toml) or ``table``.
        terms: pairs of the formula's coefficients (λ in micrometres), or (wavelength in micrometres, n).
        measured: shortest and longest measured wavelength, metres.
        source: publication or data sheet.
    """

    name: str
    formula: str
    terms: tuple[tuple[float, float], ...]
    measured: tuple[float, float]
    source: str

    def index(self, wavelength: ArrayLike) -> NDArray[np.float64]:
        """Refractive index at ``wavelength`` (metres, any shape).

        Raises:
            Refusal: a wavelength lies outside the measured range.
        """
        metres = np.asarray(wavelength, dtype=np.float64)
        shortest, longest = self.measured
        outside = (metres < shortest * (1 - 1e-9)) | (metres > longest * (1 + 1e-9)) | ~np.isfinite(metres)
        if np.any(outside):
            wrong = float(np.atleast_1d(metres)[np.atleast_1d(outside)][0])
            raise Refusal(
                f"{self.name} is measured from {shortest * 1e9:.0f} to {longest * 1e9:.0f} nm, "
                f"not at {wrong * 1e9:.0f} nm",
                "choose another material, or give a table of your own (CSV: wavelength_nm,n)",
            )
        first, second = np.array(self.terms).T
        micrometres = metres[..., np.newaxis] * 1e6
        match self.formula:
            case "sellmeier":
                return np.asarray(
                    np.sqrt(1 + np.sum(first * micrometres**2 / (micrometres**2 - second), axis=-1))
                )
            case "powers":
                return np.asarray(np.sqrt(np.sum(first * micrometres**second, axis=-1)))
            case "cauchy":
                return np.asarray(np.sum(first * micrometres**second, axis=-1))
        from scipy.interpolate import PchipInterpolator

        return np.asarray(PchipInterpolator(first, second)(np.clip(metres * 1e6, first[0], first[-1])))


@cache
def materials() -> dict[str, Material]:
    """All materials of ``materials.toml`` by name."""
    table = tomllib.loads(files("opticaldr.hardware").joinpath("materials.toml").read_text(encoding="utf-8"))
    return {
        name: Material(
            name,
            entry["formula"],
            tuple((float(a), float(b)) for a, b in entry["terms"]),
            (entry["range"][0] * 1e-6, entry["range"][1] * 1e-6),
            entry["source"],
        )
        for name, entry in table.items()
    }


def material(name: str) -> Material:
    """The material of that name, or the user's own measurement if ``name`` is the path of a CSV file.

    Raises:
        Refusal: unknown name, or a table that cannot be used.
    """
    known = materials()
    if name.lower() in known:
        return known[name.lower()]
    if name.lower().endswith(".csv"):
        return _measured(Path(name))
    why = (
        "no measurement in the visible is known to this project"
        if name.lower() in _NOT_PUBLISHED
        else "it is not one of " + ", ".join(sorted(known))
    )
    raise Refusal(
        f"no refractive index is known for {name}: {why}", "give a table of your own (CSV: wavelength_nm,n)"
    )


def index(name: str, wavelength: ArrayLike) -> NDArray[np.float64]:
    """Refractive index of the named material (or CSV table) at ``wavelength`` (metres)."""
    return material(name).index(wavelength)


def _measured(path: Path) -> Material:
    """Read a table ``wavelength_nm,n`` (or ``wavelength_um,n``) of at least two increasing wavelengths."""
    remedy = "write lines of wavelength and index below the heading 'wavelength_nm,n', wavelengths increasing"
    try:
        heading, *lines = path.read_text(encoding="utf-8").split()
        unit = {"wavelength_nm,n": 1e-3, "wavelength_um,n": 1.0}[heading.replace(" ", "")]
        wavelengths, indices = np.array([[float(cell) for cell in line.split(",")] for line in lines]).T
    except OSError as error:
        raise Refusal(f"{path} cannot be read ({error.strerror})", "check the path") from None
    except KeyError:
        raise Refusal(f"{path} does not say the unit of its wavelengths", remedy) from None
    except ValueError:
        raise Refusal(f"{path} is not a table of wavelength and index", remedy) from None
    if len(wavelengths) < 2 or np.any(np.diff(wavelengths) <= 0):
        raise Refusal(f"the wavelengths in {path} do not increase", remedy)
    if not np.all((indices > 1) & (indices < 5)):
        raise Refusal(f"{path} holds an index outside 1 to 5", remedy)
    points = tuple(zip((wavelengths * unit).tolist(), indices.tolist(), strict=True))
    return Material(
        path.stem, "table", points, (points[0][0] * 1e-6, points[-1][0] * 1e-6), f"table {path.name}"
    )
