"""Where frames live: a fixed ring of locked buffers outside the heap, wiped when it is left."""

from __future__ import annotations

import ctypes
import mmap
import os
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

_libc = ctypes.CDLL(None, use_errno=True)


class FrameRing:
    """A few raw frames of one size in memory that is never swapped, dumped or inherited.

    The pages are private and anonymous, can be locked (``mlock``), are left out of core dumps
    (``MADV_DONTDUMP``) and of children (``MADV_DONTFORK``). As a context manager it wipes itself on the way
    out, whatever the reason.

    Attributes:
        slots: uint16 ``[slot, y, x]``, a view of the locked pages.
        locked: whether the kernel keeps the pages out of swap.
        why_not_locked: and if it would not, why.

    Args:
        count: number of slots.
        shape: rows and columns of a raw frame.
    """

    def __init__(self, count: int, shape: tuple[int, int]) -> None:
        size = count * shape[0] * shape[1] * 2
        self._memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        self._memory.madvise(mmap.MADV_DONTDUMP)
        self._memory.madvise(mmap.MADV_DONTFORK)
        self.slots: NDArray[np.uint16] = np.frombuffer(self._memory, np.uint16).reshape(count, *shape)
        self.locked = False
        self.why_not_locked = ""
        self._next = 0

    def lock(self) -> None:
        """Ask the kernel to keep the frames out of swap; sets ``locked``, or ``why_not_locked``."""
        size = self.slots.nbytes
        address = ctypes.c_void_p(self.slots.ctypes.data)
        self.locked = _libc.mlock(address, ctypes.c_size_t(size)) == 0
        if not self.locked:
            why = os.strerror(ctypes.get_errno())
            self.why_not_locked = (
                f"{size / 2**20:.0f} MiB of frame buffers cannot be locked ({why}): "
                f"raise the limit (ulimit -l {size // 1024 + 64}, or LimitMEMLOCK= in the unit)"
            )

    def take(self, raw: NDArray[np.uint16]) -> NDArray[np.uint16]:
        """Move a frame into the next slot: it is copied, then wiped where it came from; returns the slot."""
        slot: NDArray[np.uint16] = self.slots[self._next]
        self._next = (self._next + 1) % len(self.slots)
        slot[...] = raw
        if not raw.flags.writeable:
            raise ValueError("the camera's buffer cannot be wiped")
        erase(raw)
        return slot

    def wipe(self) -> None:
        """Overwrite every frame with zeros."""
        erase(self.slots)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.wipe()


def erase(array: NDArray[Any]) -> None:
    """Overwrite an array with zeros, contiguous ones as bytes: NumPy fills those twice as fast as words."""
    (array.view(np.uint8) if array.flags.c_contiguous else array).fill(0)
