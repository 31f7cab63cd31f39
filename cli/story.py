"""The demo's report: from the learned phase profile to the running camera, in pictures."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from opticaldr.artefacts import Artefact, Report
from opticaldr.calibration.measured import Measured, read_measured
from opticaldr.calibration.rig import Rig
from opticaldr.hardware.rig import load_rig
from opticaldr.models.data import (
    SimulatedSubjects,
    list_people,
    read_photograph,
    scene_from_photograph,
    srgb_bytes,
)
from opticaldr.models.evaluation.inversion import WIENER_NOISE, wiener
from opticaldr.models.optics import Optic, expose, face_width, form_image, psf_bank
from opticaldr.models.optics.metrics import ncc

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Image = NDArray[np.float32]
PEOPLE = 6


def tell_story(
    path: Path, steps: Mapping[str, Artefact], run: Mapping[str, Any], *, faces: Path | None, seed: int
) -> None:
    """Write the demo's ``report.html``.

    Args:
        path: file to write.
        steps: the artefacts by kind.
        run: summary of the running device; under ``unmasked`` that of the run whose mask was taken off.
        faces: folder of photographs that shall be shown behind the mask, too.
        seed: the demo's seed, which decides the hidden build of the simulated rig.
    """
    designed = Optic.read(steps["design"].path)
    measured = read_measured(steps["calibration"])
    page = Report(
        "From a learned lens to a running camera",
        "A phase mask was learned together with its network, made into fabrication files, built with errors by "
        "a simulated workshop, measured on a simulated bench, and put to work. Every number here was computed in "
        "this run; the faces, the bench and the scores are simulated and mean nothing clinically.",
    )
    _mask(page, designed, steps)
    _psfs(page, designed, measured, steps, seed)
    _faces(page, measured, faces, seed)
    _privacy(page, steps["evaluation"].json("metrics.json"))
    _utility(page, steps["head"].json("metrics.json"))
    _device(page, run)
    page.section("Where everything is").table(
        ["artefact", "id", "folder"], [[kind, a.id[:8], a.path.name] for kind, a in steps.items()],
        "Each folder is sealed; opticaldr show FOLDER verifies it and draws its ancestry.",
    )  # fmt: skip
    page.write(path)


def _mask(page: Report, designed: Optic, steps: Mapping[str, Artefact]) -> None:
    from matplotlib.figure import Figure

    process = steps["mask"].json("process.json")["process"]
    figure = Figure(figsize=(11, 3.6), layout="constrained")
    axes = figure.subplots(1, 3, width_ratios=(1, 1, 1.2))
    for axis, optic, title in zip(
        axes,
        (designed, Optic.read(steps["mask"].path)),
        ("as learned", f"as {process} lithography will make it"),
        strict=False,
    ):
        half = optic.spec.pupil.diameter / 2 * 1e3
        place = np.linspace(-half, half, len(optic.height))
        height = np.where(np.hypot(place[:, None], place) > half, np.nan, optic.height * 1e6)
        height -= np.nanmin(height)
        shown = axis.imshow(height, extent=(-half, half, half, -half), cmap="viridis")
        axis.set(title=title, xlabel="x (mm)")
        figure.colorbar(shown, ax=axis, shrink=0.8, label="height (µm)")
        axes[2].plot(place, height[len(height) // 2], label=title)
    axes[0].set_ylabel("y (mm)")
    axes[2].set(title="section through the middle", xlabel="x (mm)", ylabel="height (µm)")
    axes[2].margins(y=0.25)
    axes[2].legend(loc="upper center", fontsize="small")
    page.section("1. The learned mask, and what the workshop will make of it")
    page.figure(
        figure,
        "Thickness of the phase plate at the lens's pupil, seen from the sensor, above its lowest point; lithography "
        f"wraps it at one wave of green light. Files, drawing sheet and tolerances are in {steps['mask'].path.name}/.",
        "Maps of a circular plate, as learned and as it will be made, and a section through both",
    )


def _psfs(
    page: Report, designed: Optic, measured: Measured, steps: Mapping[str, Artefact], seed: int
) -> None:
    hidden = Rig(load_rig("simulated"), design=designed, seed=seed).truth
    fitted = Optic.read(steps["calibration"].path)
    shown = slice(None, None, 2)
    depths = measured.depths[shown]

    def bank(optic: Optic) -> NDArray[np.float32]:
        height = optic.height.astype(np.float32)
        return np.asarray(psf_bank(height, optic.spec, depths, shape=measured.bank.shape[-2:]))

    banks: dict[str, NDArray[np.floating]] = {
        "designed": bank(designed),
        "as built (hidden)": bank(hidden),
        "measured": measured.bank[shown, 0],
        "fitted": bank(fitted),
    }
    page.section("2. The point spread function: designed, built, measured, fitted")
    page.figure(
        psf_figure(banks, depths),
        "Each picture is the image of one point of light in red, green and blue, on a square-root scale. The bench "
        "never sees the second row: it is what the simulated workshop really made.",
        "Grid of point spread functions: rows designed, as built, measured and fitted; columns depths",
    )
    truth = banks["as built (hidden)"]
    page.table(
        ["PSF", *(f"{depth:.2f} m" for depth in depths)],
        [[name, *(float(ncc(banks[name][d], truth[d]).mean()) for d in range(len(depths)))]
         for name in ("designed", "measured", "fitted")],
        "Normalised cross-correlation with the hidden truth, mean over the colours; 1 is identical.",
    )  # fmt: skip


def psf_figure(banks: Mapping[str, NDArray[np.floating]], depths: tuple[float, ...]) -> "Figure":
    """Rows of PSFs ``[depth, colour, y, x]`` as colour images, one column a depth."""
    from matplotlib.figure import Figure

    rows, columns = next(iter(banks.values())).shape[-2:]
    figure = Figure(
        figsize=(1.9 * len(depths) + 0.9, (1.9 * rows / columns + 0.15) * len(banks) + 0.3),
        layout="constrained",
    )
    axes = figure.subplots(len(banks), len(depths), squeeze=False)
    for row, (name, bank) in enumerate(banks.items()):
        for column, depth in enumerate(depths):
            colours = np.moveaxis(np.clip(bank[column], 0, None), 0, -1)
            axis = axes[row, column]
            axis.imshow(np.sqrt(colours / colours.max()), interpolation="nearest")
            axis.set(xticks=[], yticks=[])
            if row == 0:
                axis.set_title(f"{depth:.2f} m")
            if column == 0:
                axis.set_ylabel(name.replace(" (", "\n("), fontsize="small")
    return figure


def _faces(page: Report, measured: Measured, faces: Path | None, seed: int) -> None:
    page.section("3. The same face: clean, captured, and the best reconstruction")
    middle = len(measured.depths) // 2
    depth = measured.depths[middle]
    width, size = face_width(measured.spec, depth), measured.spec.sensor.binned_shape
    stage = SimulatedSubjects(seed)
    scenes = [stage.clip(900 + who, 0, 1, size, width, start=7.0).frames[0] for who in range(PEOPLE)]
    words = (
        f"at {depth:.2f} m: as a bare lens would see it, as the sensor sees it, and what a Wiener filter with "
        "the measured PSF makes of that, its regularisation chosen to come as near to the clean picture as it can."
    )
    page.image(_rows(scenes, measured, middle, seed), f"Simulated subjects {words}", "Three rows of faces")
    if faces is not None:
        page.image(
            _rows(photographs(faces, size, width), measured, middle, seed),
            f"Your photographs {words}",
            "Three rows of photographs",
        )


def photographs(folder: Path, size: tuple[int, int], width: float) -> list[Image]:
    """One scene for each of the first few people of a folder."""
    people = list_people(folder)
    return [
        scene_from_photograph(read_photograph(paths[0]), size, width)
        for paths in list(people.values())[:PEOPLE]
    ]


def _rows(scenes: list[Image], measured: Measured, depth: int, seed: int) -> NDArray[np.uint8]:
    clean = np.stack(scenes)
    psf = measured.bank[depth, 0]
    image = form_image(np.moveaxis(clean, -1, -3).astype(np.float64), psf)
    seen = expose(image, measured.spec.sensor, rng=np.random.default_rng(seed))
    captured = np.moveaxis(np.asarray(seen, np.float32), -3, -1)
    attempts = [wiener(captured, psf, noise) for noise in WIENER_NOISE]
    best = min(attempts, key=lambda attempt: float(np.mean((attempt - clean) ** 2)))
    rows = [np.concatenate(list(np.clip(row, 0, 1)), axis=1) for row in (clean, captured, best)]
    return np.kron(srgb_bytes(np.concatenate(rows)), np.ones((2, 2, 1), np.uint8))


def _privacy(page: Report, evaluation: Mapping[str, Any]) -> None:
    headline = evaluation["headline"]
    page.section("4. Privacy and utility: the best attacker we tried")
    if evaluation["valid"]:
        page.text(
            "The evaluation's own controls hold: a mild blur is seen through, and shuffled names give chance."
        )
    page.text(
        f"Worst case: {headline['attacker']} ({headline['recogniser']}, {headline['protocol']}) reaches a "
        f"verification AUC of {_interval(headline['auc'])}; chance is 0.5, certainty 1. The attackers know "
        "the PSF and re-train on captured pictures of other people than those they are tested on."
    )
    learned = "The lens learned for a minute or so and shows the way of working; it is not one to deploy."
    page.verdict(evaluation["verdict"]["passed"], f"{evaluation['verdict']['why']} {learned}")
    for study in evaluation["studies"]:
        page.table(
            [
                "optic",
                "width of half the energy (superpixels)",
                "worst AUC [95 %]",
                "smile accuracy [95 %]",
            ],
            [
                [name, optic["ee50"], _interval(optic["worst_auc"]), _interval(optic["smile_accuracy"])]
                for name, optic in study["optics"].items()
            ],
            f"{study['population']}: {study['people']} unseen people, {study['pictures']} pictures. Every "
            "attacker and recogniser is listed in the evaluation's own report.",
        )


def _utility(page: Report, adapted: Mapping[str, Any]) -> None:
    page.section("5. What survives for the depression model")
    rows = []
    for state, name in (
        ("as_designed", "design's networks on the designed optics"),
        ("before", "the same on the optics as built"),
        ("after", "adapted to the measured PSFs"),
    ):
        score = adapted[state]["score"]
        mae = _interval([score["mae"], *score["mae_interval"]])
        rows.append([name, 1 - adapted[state]["factor_error"], mae])
    constant = adapted["after"]["score"]
    rows.append(
        [
            "always the same score",
            0.0,
            _interval([constant["constant_mae"], *constant["constant_mae_interval"]]),
        ]
    )
    page.table(
        ["networks", "expression, gaze and pose, mean R²", "BDI-II error, MAE [95 %]"],
        rows,
        "On simulated people that neither the design nor the adaptation has met.",
    )


def _device(page: Report, run: Mapping[str, Any]) -> None:
    latency, bits, unmasked = run["latency_ms"], run["bits"], run["unmasked"]
    page.section("6. The running device")
    page.table(
        ["what", "value"],
        [
            [
                "estimates (BDI-II ± σ)",
                ", ".join(f"{e['estimate']:.1f} ± {e['sigma']:.1f}" for e in run["estimates"]),
            ],
            ["frames seen / dropped", f"{run['frames']} / {run['dropped']}"],
            [
                "capture to record, median / 99th percentile",
                f"{latency['p50']:.1f} / {latency['p99']:.1f} ms",
            ],
            ["bits that leave in an hour", f"{bits['per_hour']:.0f} (one face image: {bits['face_image']})"],
            ["protections proven at start", ", ".join(run["protections"]) or "none"],
        ],
        "Two processes and a pipe: eye holds camera and model, voice the network; only 64-byte records pass.",
    )
    if run["unenforced"]:
        page.verdict(
            False,
            "This machine cannot enforce every protection, so the device ran in development mode: "
            + "; ".join(f"{name}: {why}" for name, why in run["unenforced"].items()),
        )
    page.verdict(
        unmasked["interlock"] != "in place",
        f"The mask was taken off while it ran: {unmasked['dropped']} of {unmasked['frames']} frames dropped, event "
        f'"{unmasked["event"]}", no estimate afterwards.',
    )


def _interval(value: list[float] | None) -> str:
    """``value [low, high]`` of a triple."""
    if value is None:
        return "not measured"
    return f"{value[0]:.3g} [{value[1]:.3g}, {value[2]:.3g}]"
