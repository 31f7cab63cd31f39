"""Cutting faces out of captured frames by their true landmarks, differentiably: what an attacker looks at."""

import torch
from torch import Tensor
from torch.nn import functional

from opticaldr.models.data.photographs import TEMPLATE, TEMPLATE_SIZE


def aligned(frames: Tensor, landmarks: Tensor, size: int) -> Tensor:
    """Square crops ``[n, c, size, size]`` of frames ``[n, c, y, x]``, turned, scaled and shifted to the usual template.

    The template's points are brought to the landmarks ``[n, 5, 2]`` (x, y, pixels) by the similarity that is
    nearest in least squares; for the plane it is one complex factor (Umeyama, IEEE Trans. Pattern Anal. Mach.
    Intell. 13, 376, 1991). Pixels between are interpolated, beyond the frame its border goes on.
    """
    template = torch.as_tensor((TEMPLATE + 0.5) * (size / TEMPLATE_SIZE) - 0.5, dtype=frames.dtype)
    goal, marks = torch.view_as_complex(template.contiguous()), torch.view_as_complex(landmarks.contiguous())
    spread = goal - goal.mean()
    factor = (marks * spread.conj()).sum(1, keepdim=True) / spread.abs().square().sum()
    line = torch.arange(size, dtype=frames.dtype)
    pixels = torch.complex(*torch.meshgrid(line, line, indexing="xy")).flatten() - goal.mean()
    sides = torch.tensor([frames.shape[-1], frames.shape[-2]], dtype=frames.dtype)
    places = (2 * torch.view_as_real(marks.mean(1, keepdim=True) + factor * pixels) + 1) / sides - 1
    grid = places.reshape(len(frames), size, size, 2)
    return functional.grid_sample(frames, grid, padding_mode="border", align_corners=False)
