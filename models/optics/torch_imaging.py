"""Convolution in torch with its own gradient: two more products of spectra, no trace through every transform."""

from typing import Any

import torch

from opticaldr.models.optics.imaging import Convolution


def convolve(scene: torch.Tensor, psf: torch.Tensor) -> torch.Tensor:
    """`form_image` for tensors that need a gradient."""
    image: torch.Tensor = _Convolve.apply(scene, psf)  # type: ignore[no-untyped-call]
    return image


class _Convolve(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, scene: torch.Tensor, psf: torch.Tensor) -> torch.Tensor:
        ctx.plan = plan = Convolution.of(scene, psf)
        ctx.shapes = scene.shape, psf.shape
        scene_spectrum, psf_spectrum = plan.forward(scene), plan.forward(psf)
        ctx.save_for_backward(
            psf_spectrum if ctx.needs_input_grad[0] else None,
            scene_spectrum if ctx.needs_input_grad[1] else None,
        )
        image: torch.Tensor = plan.inverse(scene_spectrum * psf_spectrum, plan.top, plan.left, *plan.scene)
        return image

    @staticmethod
    @torch.autograd.function.once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, torch.Tensor | None]:
        plan: Convolution = ctx.plan
        spectrum = plan.forward(gradient)

        def correlate(other: torch.Tensor | None, shape: torch.Size) -> torch.Tensor | None:
            if other is None:
                return None
            product = (spectrum * other.conj()).sum_to_size(*shape[:-2], *spectrum.shape[-2:])
            result: torch.Tensor = plan.inverse(product, -plan.top, -plan.left, shape[-2], shape[-1])
            return result

        psf_spectrum, scene_spectrum = ctx.saved_tensors
        return correlate(psf_spectrum, ctx.shapes[0]), correlate(scene_spectrum, ctx.shapes[1])
