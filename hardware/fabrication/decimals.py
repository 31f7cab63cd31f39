"""Numbers as fixed-width decimal text, for files of millions of lines."""

import numpy as np
from numpy.typing import NDArray


def signed(values: NDArray[np.float64], whole: int, fraction: int) -> NDArray[np.uint8]:
    """ASCII of ``values [...]`` as sign, ``whole`` digits, point, ``fraction`` digits: ``[..., width]``.

    Leading zeros keep every number equally wide, so that the text is one array. The values must fit.
    """
    scaled = np.rint(values * 10.0**fraction).astype(np.int64)
    text = np.empty((*values.shape, whole + fraction + 2), dtype=np.uint8)
    text[..., 0] = np.where(scaled < 0, ord("-"), ord("+"))
    text[..., 1 + whole] = ord(".")
    digits = [*range(1, whole + 1), *range(whole + 2, whole + fraction + 2)]
    _fill(text, np.abs(scaled), digits)
    return text


def natural(values: NDArray[np.integer], width: int) -> NDArray[np.uint8]:
    """ASCII of non-negative integers, zero-padded to ``width``: ``[..., width]``."""
    text = np.empty((*values.shape, width), dtype=np.uint8)
    _fill(text, values.astype(np.int64), list(range(width)))
    return text


def _fill(text: NDArray[np.uint8], rest: NDArray[np.int64], places: list[int]) -> None:
    for place in reversed(places):
        quotient = rest // 10
        text[..., place] = rest - 10 * quotient + ord("0")
        rest = quotient
    if np.any(rest):
        raise OverflowError("a number is too large for its column")


def lines(template: str, fields: list[NDArray[np.uint8]]) -> bytes:
    """Join columns of text into lines: every ``{}`` of ``template`` takes the next field ``[n, width]``."""
    count = len(fields[0])
    pieces = template.split("{}")
    parts: list[NDArray[np.uint8]] = []
    for number, piece in enumerate(pieces):
        constant = np.frombuffer(piece.encode(), dtype=np.uint8)
        parts.append(np.broadcast_to(constant, (count, len(constant))))
        if number < len(fields):
            parts.append(fields[number])
    return np.concatenate(parts, axis=1).tobytes()
