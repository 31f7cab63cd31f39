"""Binary masks as layout: run-merged rectangles in GDSII and OASIS.

GDSII is written here as one array of 64-byte records, because building one Python object for each of
millions of rectangles takes more time and memory than the mask itself; OASIS is then converted from it by
gdstk, which reads the GDSII back on the way. Frame: X right, Y up, looking at the relief; database unit 1 nm.

Source: GDSII stream format manual, release 6.0 (Calma, 1987).
"""

import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Rectangles = NDArray[np.int32]
NANOMETRE = 1e-9

_BOUNDARY = np.dtype(
    [
        ("boundary", ">u2", 2),
        ("layer", ">u2", 3),
        ("datatype", ">u2", 3),
        ("xy", ">u2", 2),
        ("points", ">i4", (5, 2)),
        ("endel", ">u2", 2),
    ]
)
_CHUNK = 1 << 15


@dataclass(frozen=True)
class Layer:
    """One binary mask.

    Args:
        number: GDS layer.
        name: written as a text element in the layout.
        rectangles: ``[k, 4]`` as left, bottom, right, top in nanometres.
    """

    number: int
    name: str
    rectangles: Rectangles


def rectangles(plane: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Disjoint rectangles that cover ``plane``: runs along rows, merged down equal neighbours.

    Returns ``[k, 4]`` as top row, left column, bottom row, right column, the last two exclusive.
    """
    rows, columns = plane.shape
    padded = np.zeros((rows, columns + 2), dtype=bool)
    padded[:, 1:-1] = plane
    edges = np.flatnonzero(padded[:, 1:] != padded[:, :-1])
    row, left = np.divmod(edges[0::2], columns + 1)
    right = edges[1::2] % (columns + 1)
    if not len(row):
        return np.zeros((0, 4), dtype=np.int64)
    key = np.sort((left * (columns + 1) + right) * (rows + 1) + row)
    first = np.flatnonzero(np.diff(key, prepend=key[0] - 2) != 1)
    span, row = np.divmod(key, rows + 1)
    left, right = np.divmod(span[first], columns + 1)
    last = np.r_[first[1:], len(key)] - 1
    return np.column_stack([row[first], left, row[last] + 1, right])


def placed(cells: NDArray[np.int64], shape: tuple[int, int], pitch: float) -> Rectangles:
    """Pixel rectangles as left, bottom, right, top in nanometres, the grid's middle at the origin.

    Every grid line is rounded once, so neighbours keep a common edge.
    """
    rows, columns = shape
    across = np.rint((np.arange(columns + 1) - columns / 2) * pitch / NANOMETRE).astype(np.int32)
    up = np.rint((rows / 2 - np.arange(rows + 1)) * pitch / NANOMETRE).astype(np.int32)
    return np.column_stack([across[cells[:, 1]], up[cells[:, 2]], across[cells[:, 3]], up[cells[:, 0]]])


def write_gds(path: Path, layers: Iterable[Layer], cell: str) -> int:
    """Write one cell; returns the number of rectangles. Layers may come from a generator, one at a time."""
    total = 0
    stamp = struct.pack(">12H", *(2000, 1, 1, 0, 0, 0) * 2)
    with path.open("wb") as stream:
        stream.write(_record(0x0002, struct.pack(">H", 600)) + _record(0x0102, stamp))
        stream.write(_record(0x0206, _text("OPTICALDR")))
        stream.write(_record(0x0305, _real8(1e-3) + _real8(NANOMETRE)))
        stream.write(_record(0x0502, stamp) + _record(0x0606, _text(cell)))
        for number, layer in enumerate(layers):
            for records in _boundaries(layer):
                stream.write(records.data)
            stream.write(_label(layer, number))
            total += len(layer.rectangles)
        stream.write(_record(0x0700) + _record(0x0400))
    return total


def write_oasis(path: Path, gds: Path) -> None:
    """Convert a GDSII file to OASIS with gdstk, rectangles kept as rectangles."""
    import gdstk

    library = gdstk.read_gds(str(gds))
    library.write_oas(str(path), compression_level=6, detect_rectangles=True)


def box(x: float, y: float, width: float, height: float) -> Rectangles:
    """One rectangle by its centre and size, metres."""
    left, bottom = x - width / 2, y - height / 2
    edges = np.array([[left, bottom, left + width, bottom + height]])
    return np.rint(edges / NANOMETRE).astype(np.int32)


def alignment_marks(masks: int, x: float, y: float, size: float) -> list[Rectangles]:
    """Cross-in-frame marks for overlaying mask 2, 3 … on mask 1: one list entry a mask.

    Mask 1 prints a row of square frames, one for each later mask, from ``(x, y)`` upwards at 1.5 × ``size``;
    mask k prints its cross into the (k−1)th of them. All rectangles are disjoint within a mask.
    """
    if masks == 1:
        return [_cross(x, y, size)]
    frames = [_frame(x, y + 1.5 * size * k, size) for k in range(masks - 1)]
    crosses = [_cross(x, y + 1.5 * size * k, 0.6 * size) for k in range(masks - 1)]
    return [np.concatenate(frames), *crosses]


def _frame(x: float, y: float, size: float) -> Rectangles:
    line = size / 10
    inner = size - 2 * line
    return np.concatenate(
        [
            box(x, y + (size - line) / 2, size, line),
            box(x, y - (size - line) / 2, size, line),
            box(x - (size - line) / 2, y, line, inner),
            box(x + (size - line) / 2, y, line, inner),
        ]
    )


def _cross(x: float, y: float, size: float) -> Rectangles:
    line = size / 5
    arm = (size - line) / 2
    return np.concatenate(
        [
            box(x, y, size, line),
            box(x, y + (line + arm) / 2, line, arm),
            box(x, y - (line + arm) / 2, line, arm),
        ]
    )


def _boundaries(layer: Layer) -> Iterator[NDArray[np.void]]:
    records = np.zeros(min(_CHUNK, len(layer.rectangles)), dtype=_BOUNDARY)
    records["boundary"] = (4, 0x0800)
    records["layer"] = (6, 0x0D02, layer.number)
    records["datatype"] = (6, 0x0E02, 0)
    records["xy"] = (44, 0x1003)
    records["endel"] = (4, 0x1100)
    for start in range(0, len(layer.rectangles), _CHUNK):
        part = layer.rectangles[start : start + _CHUNK]
        points = records["points"][: len(part)]
        for corner, sides in enumerate(((0, 1), (2, 1), (2, 3), (0, 3), (0, 1))):
            points[:, corner] = part[:, sides]
        yield records[: len(part)]


def _label(layer: Layer, number: int) -> bytes:
    """A text element naming the layer, below the layout."""
    bottom = int(layer.rectangles[:, 1].min(initial=0)) - 100_000 * (number + 1)
    left = int(layer.rectangles[:, 0].min(initial=0))
    return (
        _record(0x0C00)
        + _record(0x0D02, struct.pack(">H", layer.number))
        + _record(0x1602, struct.pack(">H", 0))
        + _record(0x1003, struct.pack(">2i", left, bottom))
        + _record(0x1906, _text(layer.name))
        + _record(0x1100)
    )


def _record(kind: int, body: bytes = b"") -> bytes:
    return struct.pack(">2H", 4 + len(body), kind) + body


def _text(text: str) -> bytes:
    encoded = text.encode("ascii", "replace")
    return encoded + b"\0" * (len(encoded) % 2)


def _real8(value: float) -> bytes:
    """Excess-64, base-16 floating point."""
    exponent = 64
    while value < 1 / 16:
        value, exponent = value * 16, exponent - 1
    while value >= 1:
        value, exponent = value / 16, exponent + 1
    return struct.pack(">Q", (exponent << 56) | round(value * 2**56))


def area(layers: Sequence[Layer]) -> float:
    """Area of all rectangles, square metres."""
    sides = [layer.rectangles.astype(np.int64) for layer in layers]
    return float(sum(((s[:, 2] - s[:, 0]) * (s[:, 3] - s[:, 1])).sum() for s in sides)) * NANOMETRE**2
