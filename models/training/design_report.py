"""The design's page: what was learned, what it does to a face, and what that costs and buys."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from opticaldr.artefacts import Report
from opticaldr.models.data import srgb_bytes
from opticaldr.models.optics import Optic, OpticsSpec, pupil_mask, zernike_height
from opticaldr.models.training.camera import Camera
from opticaldr.models.training.config import DesignConfig
from opticaldr.models.training.loop import Record
from opticaldr.models.training.pool import Pool
from opticaldr.models.training.rays import Rays


def write_report(
    path: Path,
    optic: Optic,
    camera: Camera,
    people: Pool,
    metrics: dict[str, Any],
    history: list[Record],
    config: DesignConfig,
) -> None:
    """Write the page.

    Args:
        path: HTML file.
        optic: the finished lens.
        camera: with that lens.
        people: whom it shows.
        metrics: contents of ``metrics.json``.
        history: one record a step of the lens stage.
        config: what it was made from.
    """
    score, adversary, data = metrics["score"], metrics["adversary"], metrics["data"]
    sources = " and ".join(
        [*data["pictures"], *([data["clips"]] if data["clips"] not in data["pictures"] else [])]
    )
    report = Report(
        "A learned lens",
        f"Preset {optic.spec.name}, learned in {config.lens.steps} steps on {sources}. Every figure "
        "is taken on recordings that nothing was trained on, through wave-optical PSFs. Simulated scores have no "
        "clinical meaning.",
    )
    report.section("The mask").figure(
        _surface(optic), "Height map of the mask over the pupil.", "Height map with contour lines."
    )
    report.figure(
        _spots(camera.bank, config.subjects.depths),
        "PSF at the trained distances on superpixels, all colours together, square root of the energy.",
        "One spot for each distance.",
    )
    report.figure(
        transfer_figure(
            {f"{d} m": psf for d, psf in zip(config.subjects.depths, camera.bank.numpy(), strict=True)}
        ),
        "Modulation transfer of green against spatial frequency: mean over orientations, and their range.",
        "Curves falling from one.",
    )
    report.section("A face").image(
        face_sheet(people, [None, camera]),
        "Simulated subjects: the scene above, what the sensor delivers below.",
        "Rows of faces, sharp above and blurred below.",
    )
    report.section("What can still be read").table(
        ["factor", "R² on unseen people"], [[name, value] for name, value in metrics["factors"].items()]
    )
    report.table(
        ["BDI-II estimate", "mean absolute error", "95 % interval"],
        [
            ["temporal head", score["mae"], _interval(score["mae_interval"])],
            ["always the median", score["constant_mae"], _interval(score["constant_mae_interval"])],
        ],
        f"{score['sessions']} windows; intervals over people.",
    )
    _protocols(report, metrics["protocols"])
    report.section("Who can still be recognised").text(
        f"A recogniser trained from scratch on captured frames reaches a verification AUC of "
        f"{adversary['auc']:.3f} on unseen people (0.5 is chance; {adversary['auc_training_people']:.3f} on "
        f"the people it was trained on). It was trained briefly, on {metrics['subjects']['train']} people: read "
        "it as a lower bound. What the strongest attackers reach is the business of opticaldr evaluate."
    )
    report.section("How it was learned").figure(
        _path(history, config),
        "The lens stage, running means over 15 steps.",
        "Curves over the training steps.",
    )
    if data["remarks"] or data["skipped"]:
        report.section("What was mended or left out").text(
            f"{len(data['skipped'])} recordings could not be read and were skipped."
        )
        report.table(["what"], [[line] for line in (*data["remarks"], *data["skipped"])])
    report.write(path)


def _protocols(report: Report, protocols: dict[str, Any]) -> None:
    """The estimate beside a constant and a lookup of people, for all sessions and for those of strangers."""
    rows = [
        [
            protocol,
            who,
            *(f"{value:.2f} ({low:.2f} to {high:.2f})" for value, low, high in found[who].values()),
        ]
        for protocol, found in protocols.items()
        for who in ("estimate", "constant", "lookup")
    ]
    report.table(
        ["sessions", "who says it", "MAE", "RMSE", "CCC"],
        rows,
        "official: all tested sessions; subject-disjoint: those of people who are nowhere in training. The constant is "
        "the training mean; the lookup knows people by name and nothing else. 95 % intervals over people.",
    )


def face_sheet(people: Pool, cameras: Sequence[Camera | None], count: int = 6) -> NDArray[np.uint8]:
    """A row of faces for each camera (None: the scenes), sRGB bytes ``[y, x, 3]``, all equally bright."""
    chosen = torch.linspace(0, len(people) - 1, count).long()
    scenes, view = people.frames[chosen, 0].float(), people.view[chosen]
    bright = scenes.mean(dim=(1, 2, 3), keepdim=True)
    rows = []
    for camera in cameras:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            seen = scenes if camera is None else camera.capture(scenes, view)
        seen = seen * bright / seen.mean(dim=(1, 2, 3), keepdim=True).clamp(min=1e-6)
        rows.append(np.concatenate(list(srgb_bytes(seen.permute(0, 2, 3, 1).numpy())), axis=1))
    return np.concatenate(rows, axis=0).repeat(2, axis=0).repeat(2, axis=1)


def transfer_figure(banks: dict[str, NDArray[np.float32]], size: int = 112) -> Any:
    """Modulation transfer of green against spatial frequency for named PSFs ``[colour, y, x]``."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 3.4))
    axes = figure.subplots()
    y, x = np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)
    ring = np.round(np.hypot(y, x) * size).astype(int)
    rings = np.arange(size // 2)
    for name, psf in banks.items():
        transfer = np.abs(np.fft.rfft2(psf[1], (size, size))) / psf[1].sum()
        mean = [transfer[ring == r].mean() for r in rings]
        (line,) = axes.plot(rings / size, mean, label=name)
        low, high = zip(*[(transfer[ring == r].min(), transfer[ring == r].max()) for r in rings], strict=True)
        axes.fill_between(rings / size, low, high, color=line.get_color(), alpha=0.12, linewidth=0)
    axes.set(xlabel="cycles per superpixel", ylabel="modulation transfer", ylim=(0, 1), xlim=(0, 0.5))
    axes.legend(frameon=False)
    return figure


def _surface(optic: Optic) -> Any:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.2, 4.2))
    axes = figure.subplots()
    half = optic.spec.pupil.diameter / 2 * 1e3
    axis = np.linspace(-1, 1, len(optic.height))
    inside = axis[:, None] ** 2 + axis**2 <= 1
    height = np.where(inside, optic.height * 1e6, np.nan)
    picture = axes.imshow(height, extent=(-half, half, half, -half), cmap="viridis")
    axes.contour(np.linspace(-half, half, len(height)), np.linspace(-half, half, len(height)), height,
                 levels=12, colors="white", linewidths=0.4)  # fmt: skip
    axes.set(xlabel="x / mm", ylabel="y / mm")
    figure.colorbar(picture, label="height / µm")
    return figure


def _spots(bank: Tensor, depths: tuple[float, ...]) -> Any:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(2.6 * len(depths), 2.9))
    row = figure.subplots(1, len(depths), squeeze=False)[0]
    for axes, psf, depth in zip(row, bank.numpy(), depths, strict=True):
        axes.imshow(np.sqrt(psf / psf.max(axis=(1, 2), keepdims=True)).clip(0, 1).transpose(1, 2, 0))
        axes.set(title=f"{depth} m", xticks=[0, psf.shape[-1] - 1], yticks=[])
    return figure


def _path(history: list[Record], config: DesignConfig) -> Any:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8.4, 5.2))
    axes = figure.subplots(2, 2).ravel()

    def draw(place: int, names: list[str], title: str) -> None:
        for name in names:
            values = np.array([record[name] for record in history])
            width = min(15, len(values))
            kernel = np.ones(width) / width
            axes[place].plot(np.convolve(values, kernel, mode="valid"), linewidth=1)
        axes[place].set(title=title, xlabel="step")

    draw(0, ["factors"], "factor loss (1 is no knowledge)")
    draw(1, ["auc"], "best opponent's AUC on people it has not met")
    axes[1].axhline(config.lens.target_auc, linestyle=":", color="gray")
    draw(2, ["multiplier"], "multiplier")
    draw(3, [name for name in history[0] if name.startswith("z")], "Zernike coefficients / µm")
    figure.tight_layout()
    return figure


def _moments(history: list[Record], spec: OpticsSpec, depths: tuple[float, ...], count: int = 5) -> Any:
    """Height maps and PSFs at a few steps of the lens stage, from the coefficients that its records hold."""
    from matplotlib.figure import Figure

    modes = [int(name[1:]) for name in history[0] if name[0] == "z" and name[1:].isdigit()]
    rays = Rays(spec, modes, depths, 41)
    coarse = spec.model_copy(update={"pupil": spec.pupil.model_copy(update={"samples": 96})})
    inside = pupil_mask(coarse)
    figure = Figure(figsize=(8.4, 3.6))
    rows = figure.subplots(2, count, squeeze=False)
    for column, step in enumerate(np.linspace(0, len(history) - 1, count).astype(int)):
        metres = {j: 1e-6 * history[step][f"z{j}"] for j in modes}
        height = zernike_height(metres, coarse)
        rows[0, column].imshow(np.where(inside, height, np.nan), cmap="viridis")
        rows[0, column].set(title=f"step {step + 1}")
        psf = rays.psf(torch.tensor(list(metres.values())), len(depths) // 2)[1]
        rows[1, column].imshow(psf.sqrt(), cmap="gray")
    for axes in rows.flat:
        axes.set(xticks=[], yticks=[])
    figure.tight_layout()
    return figure


def _trade_off(history: list[Record]) -> Any:
    from matplotlib.figure import Figure

    width = min(15, len(history))
    kernel = np.ones(width) / width
    factors, auc = (
        np.convolve([record[name] for record in history], kernel, mode="valid") for name in ("factors", "auc")
    )
    figure = Figure(figsize=(5.2, 3.6))
    axes = figure.subplots()
    dots = axes.scatter(factors, auc, c=np.arange(len(auc)), s=8, cmap="viridis")
    axes.set(xlabel="factor loss (1 is no knowledge)", ylabel="best opponent's AUC")
    figure.colorbar(dots, label="step")
    return figure


def _interval(bounds: list[float]) -> str:
    return f"{bounds[0]:.2f} to {bounds[1]:.2f}"
