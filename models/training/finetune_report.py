"""The page of an adaptation: how far the built optics are from the design, and what adapting mended."""

from pathlib import Path
from typing import Any

import numpy as np

from opticaldr.artefacts import Report
from opticaldr.calibration.measured import Measured
from opticaldr.models.networks import FACTORS
from opticaldr.models.training.camera import Camera
from opticaldr.models.training.design_report import face_sheet, transfer_figure
from opticaldr.models.training.pool import Pool


def write_report(
    path: Path,
    metrics: dict[str, Any],
    measured: Measured,
    depths: tuple[float, ...],
    designed: tuple[Pool, Camera],
    built: tuple[Pool, Camera],
) -> None:
    """Write the page.

    Args:
        path: HTML file.
        metrics: contents of ``metrics.json``.
        measured: what was measured.
        depths: distances of training, metres.
        designed: unseen people and the camera as designed.
        built: the same people and the camera as built.
    """
    states = ("as_designed", "before", "after")
    titles = ("as designed", "as built, not adapted", "as built, adapted")
    report = Report(
        "Adapted to the built optics",
        f"Figures are taken on {metrics['subjects']['test']} simulated people that neither the design nor "
        "the adaptation has met.",
    )
    rows: list[list[Any]] = [
        ["factor error (1 - mean R²)", *(metrics[state]["factor_error"] for state in states)],
        ["BDI-II, mean absolute error", *(metrics[state]["score"]["mae"] for state in states)],
    ]
    interval = [metrics[state]["score"]["mae_interval"] for state in states]
    rows.append(["95 % interval over people", *(f"{low:.2f} to {high:.2f}" for low, high in interval)])
    rows.append(["always the median", *(metrics[state]["score"]["constant_mae"] for state in states)])
    report.section("Error").table(["", *titles], rows)
    report.text(_sentence("factor error", metrics["closure"]["factors"]))
    report.text(_sentence("BDI-II error", metrics["closure"]["score"]))
    if not any(metrics["best_step"].values()):
        report.text(
            "Nothing that was tried lowered the loss on the people that stop the adaptation, so the head holds the "
            "design's own weights."
        )
    blind, privacy = metrics["unlabelled"], metrics["privacy"]
    report.text(
        "With nothing but normalisation aligned to unlabelled captured frames: factor error "
        f"{blind['factor_error']:.3f}, BDI-II error {blind['score']['mae']:.2f}."
    )
    report.text(
        f"A recogniser trained from scratch reaches a verification AUC of {privacy['built_auc']:.3f} through the "
        f"built optics and {privacy['design_auc']:.3f} through the design's; export refuses more than "
        f"{privacy['margin']:g} above it."
    )
    report.table(
        ["factor", *titles],
        [[name, *(metrics[state]["factors"][name] for state in states)] for name in FACTORS],
        "R² on unseen people.",
    )
    middle = len(depths) // 2
    axis = int(np.argmin(np.linalg.norm(measured.fields, axis=1)))
    nearest = int(np.argmin(np.abs(np.array(measured.depths) - depths[middle])))
    report.section("The optics").figure(
        transfer_figure(
            {
                f"designed, {depths[middle]:g} m": designed[1].bank[middle].numpy(),
                f"measured, {measured.depths[nearest]:g} m": measured.bank[nearest, axis],
            }
        ),
        "Modulation transfer of green on axis: mean over orientations, and the range over them.",
        "Two curves falling from one.",
    )
    designed_row, built_row = ((people, [camera]) for people, camera in (designed, built))
    report.image(
        np.concatenate([face_sheet(*designed_row), face_sheet(*built_row)]),
        "The same people through the designed optics (above) and the built ones (below).",
        "Rows of blurred faces.",
    )
    report.write(path)


def _sentence(what: str, closed: float | None) -> str:
    if closed is None:
        return (
            f"The {what} is hardly larger on the built optics than on the design: there is no gap to close."
        )
    return (
        f"Adapting closes {100 * closed:.0f} % of the gap in {what} between the built optics and the design."
    )
