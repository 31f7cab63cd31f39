"""A plate with the relief on it as a watertight solid: binary STL and 3MF, written band by band.

Frame of both files: looking at the relief, X right, Y up, Z out of the material; the plate's flat back is at
Z = 0. STL carries no unit, so its 80-byte header says it.
"""

import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal

import numpy as np
from numpy.typing import NDArray

from opticaldr.hardware.fabrication import decimals

FACET = np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("attribute", "<u2")])
UNITS = {"mm": 1e-3, "um": 1e-6}
_BAND = 16


@dataclass(frozen=True)
class Plate:
    """The solid around a relief, in the file's unit.

    Args:
        height: ``[row, column]`` of the relief as seen, over the plate's front face.
        x: position of every column, rising.
        y: position of every row, falling.
        base: thickness of the plate below the relief's zero.
        outline: ``round`` or ``square``.
        size: diameter or side of the outline.
    """

    height: NDArray[np.float32]
    x: NDArray[np.float32]
    y: NDArray[np.float32]
    base: np.float32
    outline: Literal["round", "square"]
    size: float

    @classmethod
    def around(
        cls,
        seen: NDArray[np.float64],
        pitch: float,
        *,
        base: float,
        outline: Literal["round", "square"],
        size: float,
        unit: Literal["mm", "um"] = "mm",
        kept: NDArray[np.intp] | None = None,
    ) -> "Plate":
        """Everything in metres; ``kept`` are the rows and columns that stay after decimation."""
        per_metre = 1 / UNITS[unit]
        n = seen.shape[0]
        kept = np.arange(n) if kept is None else kept
        axis = ((kept - (n - 1) / 2) * pitch * per_metre).astype(np.float32)
        height = seen if len(kept) == n else seen[np.ix_(kept, kept)]
        return cls(
            (height * per_metre).astype(np.float32) + np.float32(base * per_metre),
            axis,
            -axis,
            np.float32(base * per_metre),
            outline,
            size * per_metre,
        )

    def rim(self) -> NDArray[np.float32]:
        """The relief's border ``[m, 3]``, counter-clockwise as seen, starting in the upper left corner."""
        n = len(self.x)
        rows = np.r_[np.arange(n - 1), np.full(n - 1, n - 1), np.arange(n - 1, 0, -1), np.zeros(n - 1, int)]
        columns = np.r_[
            np.zeros(n - 1, int), np.arange(n - 1), np.full(n - 1, n - 1), np.arange(n - 1, 0, -1)
        ]
        return np.column_stack([self.x[columns], self.y[rows], self.height[rows, columns]])

    def edge(self) -> NDArray[np.float32]:
        """The plate's outline ``[m, 2]``, one point for each point of the rim."""
        rim = self.rim()[:, :2].astype(np.float64)
        if self.outline == "round":
            scale = self.size / 2 / np.hypot(rim[:, 0], rim[:, 1])[:, np.newaxis]
        else:
            scale = np.full((1, 1), self.size / (2 * float(self.x[-1])))
        return (rim * scale).astype(np.float32)

    @property
    def triangles(self) -> int:
        """Triangles of the solid: the relief, flange and wall around it, and the back."""
        m = 4 * (len(self.x) - 1)
        return 2 * (len(self.x) - 1) ** 2 + 5 * m


def kept_within(
    seen: NDArray[np.float64], inside: NDArray[np.bool_], tolerance: float
) -> tuple[NDArray[np.intp], float]:
    """The coarsest regular choice of rows and columns whose facets stay within ``tolerance`` (metres).

    Returns the indices kept (first and last always) and the largest distance along Z between the facets
    and the heights inside the aperture.
    """
    n = seen.shape[0]
    best = np.arange(n), 0.0
    stride = 2
    while tolerance > 0 and stride < n // 8:
        kept = np.unique(np.r_[np.arange(0, n, stride), n - 1])
        deviation = float(np.abs(_facets(seen, kept) - seen)[inside].max())
        if deviation > tolerance:
            break
        best = kept, deviation
        stride += 1
    return best


def _facets(seen: NDArray[np.float64], kept: NDArray[np.intp]) -> NDArray[np.float64]:
    """Height of the two triangles of every kept cell at all pixels (diagonal: upper left to lower right)."""
    n = seen.shape[0]
    cell = np.clip(np.searchsorted(kept, np.arange(n), side="right") - 1, 0, len(kept) - 2)
    low, high = kept[cell], kept[cell + 1]
    share = (np.arange(n) - low) / (high - low)
    v, u = share[:, np.newaxis], share[np.newaxis, :]
    a, b = seen[np.ix_(low, low)], seen[np.ix_(low, high)]
    c, d = seen[np.ix_(high, low)], seen[np.ix_(high, high)]
    return np.where(v >= u, a + v * (c - a) + u * (d - c), a + u * (b - a) + v * (d - b))


def write_stl(path: Path, plate: Plate, title: str) -> None:
    """Write binary STL; ``title`` (unit and design) goes into the header, cut to 79 ASCII characters.

    Facet normals point out of the material. Memory does not grow with the number of rows.
    """
    header = title.encode("ascii", "replace")[:79].ljust(80)
    with path.open("wb") as stream:
        stream.write(header + np.uint32(plate.triangles).astype("<u4").tobytes())
        _write_front(stream, plate)
        for corners in _surround(plate):
            stream.write(_facet_records(corners).tobytes())


def _write_front(stream: BinaryIO, plate: Plate) -> None:
    """The relief: two triangles a cell, (A, C, D) and (A, D, B) for the corners A B over C D."""
    cells = len(plate.x) - 1
    band = np.zeros((_BAND, cells, 2), dtype=FACET)
    corners, normal = band["corners"], band["normal"]
    left, right = plate.x[:-1], plate.x[1:]
    for triangle, xs in enumerate(((left, left, right), (left, right, right))):
        for corner, x in enumerate(xs):
            corners[:, :, triangle, corner, 0] = x
    per_x = 1 / (right - left)
    for top in range(0, cells, _BAND):
        rows = min(_BAND, cells - top)
        z = plate.height[top : top + rows + 1]
        upper, lower = plate.y[top : top + rows, np.newaxis], plate.y[top + 1 : top + rows + 1, np.newaxis]
        a, b, c, d = z[:-1, :-1], z[:-1, 1:], z[1:, :-1], z[1:, 1:]
        per_y = 1 / (upper - lower)
        for triangle, (ys, zs, along_x, along_y) in enumerate(
            (
                ((upper, lower, lower), (a, c, d), (c - d) * per_x, (c - a) * per_y),
                ((upper, lower, upper), (a, d, b), (a - b) * per_x, (d - b) * per_y),
            )
        ):
            for corner in range(3):
                corners[:rows, :, triangle, corner, 1] = ys[corner]
                corners[:rows, :, triangle, corner, 2] = zs[corner]
            length = 1 / np.sqrt(along_x * along_x + along_y * along_y + 1)
            normal[:rows, :, triangle, 0] = along_x * length
            normal[:rows, :, triangle, 1] = along_y * length
            normal[:rows, :, triangle, 2] = length
        stream.write(band[:rows].data)


def _surround(plate: Plate) -> Iterator[NDArray[np.float32]]:
    """Corners ``[m, 3, 3]`` of flange, wall and back, counter-clockwise as seen from outside."""
    rim, edge = plate.rim(), plate.edge()
    m = len(rim)
    top = np.column_stack([edge, np.full(m, plate.base)])
    foot = np.column_stack([edge, np.zeros(m, np.float32)])
    following = np.roll(np.arange(m), -1)
    yield np.stack([rim, top, top[following]], axis=1)
    yield np.stack([rim, top[following], rim[following]], axis=1)
    yield np.stack([top, foot, foot[following]], axis=1)
    yield np.stack([top, foot[following], top[following]], axis=1)
    yield np.stack([np.zeros_like(foot), foot[following], foot], axis=1)


def _facet_records(corners: NDArray[np.float32]) -> NDArray[np.void]:
    records = np.zeros(len(corners), dtype=FACET)
    records["corners"] = corners
    exact = corners.astype(np.float64)
    normal = np.cross(exact[:, 1] - exact[:, 0], exact[:, 2] - exact[:, 0])
    length = np.linalg.norm(normal, axis=1, keepdims=True)
    records["normal"] = np.divide(normal, length, out=np.zeros_like(normal), where=length > 0)
    return records


_CONTENT_TYPES = (
    '<?xml version="1.0" encoding="UTF-8"?>\n'
    '<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types">'
    '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
    '<Default Extension="model" ContentType="application/vnd.ms-package.3dmanufacturing-3dmodel+xml"/>'
    "</Types>"
)
_RELATIONSHIPS = (
    '<?xml version="1.0" encoding="UTF-8"?>\n'
    '<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">'
    '<Relationship Target="/3D/3dmodel.model" Id="model" '
    'Type="http://schemas.microsoft.com/3dmanufacturing/2013/01/3dmodel"/></Relationships>'
)


def write_3mf(path: Path, plate: Plate, title: str) -> None:
    """Write 3MF (core specification 1.3) in millimetres; ``plate`` must be in ``mm``."""
    from xml.sax.saxutils import escape

    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as package:
        for name, text in (("[Content_Types].xml", _CONTENT_TYPES), ("_rels/.rels", _RELATIONSHIPS)):
            package.writestr(zipfile.ZipInfo(name), text)
        with package.open(zipfile.ZipInfo("3D/3dmodel.model"), "w", force_zip64=True) as stream:
            stream.write(
                b'<?xml version="1.0" encoding="UTF-8"?>\n<model unit="millimeter" xml:lang="en" '
                b'xmlns="http://schemas.microsoft.com/3dmanufacturing/core/2015/02">\n'
                + f'<metadata name="Title">{escape(title)}</metadata>\n'.encode()
                + b'<resources><object id="1" type="model"><mesh><vertices>\n'
            )
            for vertices in _vertices(plate):
                texts = [decimals.signed(vertices[:, axis].astype(np.float64), 3, 7) for axis in range(3)]
                stream.write(decimals.lines('<vertex x="{}" y="{}" z="{}"/>\n', texts))
            stream.write(b"</vertices><triangles>\n")
            for corners in _indices(plate):
                texts = [decimals.natural(corners[:, corner], 10) for corner in range(3)]
                stream.write(decimals.lines('<triangle v1="{}" v2="{}" v3="{}"/>\n', texts))
            stream.write(
                b'</triangles></mesh></object></resources><build><item objectid="1"/></build></model>\n'
            )


def _vertices(plate: Plate) -> Iterator[NDArray[np.float32]]:
    """The relief row by row, the edge's top, the edge's foot, the middle of the back."""
    n = len(plate.x)
    for top in range(0, n, _BAND):
        z = plate.height[top : top + _BAND]
        yield np.column_stack([np.tile(plate.x, len(z)), np.repeat(plate.y[top : top + _BAND], n), z.ravel()])
    edge = plate.edge()
    yield np.column_stack([edge, np.full(len(edge), plate.base)])
    yield np.column_stack([edge, np.zeros(len(edge), np.float32)])
    yield np.zeros((1, 3), np.float32)


def _indices(plate: Plate) -> Iterator[NDArray[np.int64]]:
    n = len(plate.x)
    column = np.arange(n - 1)
    for row in range(n - 1):
        a = row * n + column
        c = a + n
        yield np.concatenate([np.column_stack([a, c, c + 1]), np.column_stack([a, c + 1, a + 1])])
    side = np.arange(n - 1)
    rim = np.r_[side * n, (n - 1) * n + side, (n - 1 - side) * n + n - 1, n - 1 - side]
    top = n * n + np.arange(len(rim))
    foot = top + len(rim)
    after = np.roll(np.arange(len(rim)), -1)
    middle = np.full(len(rim), n * n + 2 * len(rim))
    yield np.column_stack([rim, top, top[after]])
    yield np.column_stack([rim, top[after], rim[after]])
    yield np.column_stack([top, foot, foot[after]])
    yield np.column_stack([top, foot[after], top[after]])
    yield np.column_stack([middle, foot[after], foot])
