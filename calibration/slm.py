"""A modulator on the bench, laser by laser: the tables and corrections that its patterns are made with."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Literal

import numpy as np

from opticaldr.artefacts import Artefact, Report, create
from opticaldr.calibration.report import drawing, tell_gates
from opticaldr.calibration.slm_flatness import measure_flatness
from opticaldr.calibration.slm_response import TURN, Bench, Measured, Progress, measure_response

OpenBench = Callable[[float], AbstractContextManager[Bench]]
"""Opens the bench with the laser of this wavelength (metres) switched on."""


def characterise_slm(
    open_bench: OpenBench,
    wavelengths: Sequence[float],
    out: Path | None = None,
    *,
    serial: str = "",
    temperature: float | None = None,
    polarity: Literal[1, -1] = 1,
    seed: int = 0,
    progress: Progress = lambda stage, done, total: None,
) -> Artefact:
    """Measure grey to phase and flatness for every laser, and write what ``fabricate --process slm`` reads.

    Args:
        open_bench: see `OpenBench`.
        wavelengths: metres.
        out: folder to make.
        serial, temperature: of the panel (kelvin), for the record.
        polarity: −1 for a panel whose brighter levels retard less.
        seed: of a simulated bench, for the record.
        progress: called with (stage, done, total).

    Returns:
        artefact of kind ``response``: for each laser ``lut-<nm>nm.csv`` and ``flatness-<nm>nm.npy``;
        ``response.json`` with gates; ``report.html``.

    Raises:
        Refusal: the bench shows no light, too much, or no difference between grey levels.
    """
    with create("response", out, seed=seed) as draft:
        entries: list[dict[str, Any]] = []
        report = Report("SLM response", "Grey to phase and flatness, measured in the focus of a lens.")
        for wavelength in wavelengths:
            name = f"{wavelength * 1e9:.0f}nm"

            def told(stage: str, done: int, total: int, name: str = name) -> None:
                progress(f"{stage} {name}", done, total)

            with open_bench(wavelength) as bench:
                measured = measure_response(
                    bench,
                    wavelength,
                    serial=serial,
                    temperature=temperature,
                    polarity=polarity,
                    progress=told,
                )
                correction, sharpened = measure_flatness(bench, measured.response, progress=told)
            measured.response.write(draft.path / f"lut-{name}.csv")
            np.save(draft.path / f"flatness-{name}.npy", correction.astype(np.float32))
            gates = measured.gates()
            entries.append(
                {
                    "wavelength_m": wavelength,
                    "panel": bench.panel.title,
                    "reach_rad": measured.response.reach,
                    "settling_s": measured.settling,
                    "sharpened": sharpened,
                    "passed": all(gate.passed for gate in gates),
                    "gates": [gate.record() for gate in gates],
                }
            )
            _tell(report, name, measured, correction, sharpened)
        (draft.path / "response.json").write_text(json.dumps(entries, indent=1) + "\n", encoding="utf-8")
        report.write(draft.path / "report.html")
    assert draft.artefact is not None
    return draft.artefact


def _tell(report: Report, name: str, measured: Measured, correction: Any, sharpened: float) -> None:
    gates = measured.gates()
    failed = [gate for gate in gates if not gate.passed]
    report.section(f"At {name.removesuffix('nm')} nm")
    report.verdict(
        not failed,
        "The table can be used."
        if not failed
        else "; ".join(f"{gate.name}: {gate.remedy}" for gate in failed),
    )
    tell_gates(report, gates)
    figure, axes = drawing(1, 3, 9.6, 3.4)
    curve, order, flat = axes[0]
    levels = np.arange(len(measured.response.phase))
    curve.plot(levels, measured.response.phase / TURN, color="black", linewidth=1)
    curve.plot(measured.greys, measured.interference / TURN, "o", markersize=3)
    curve.set(xlabel="grey level", ylabel="phase in turns", title="self-interference")
    order.plot(levels, np.sin(measured.response.phase / 2) ** 2, color="black", linewidth=1)
    order.plot(measured.greys, measured.first_order, "o", markersize=3)
    order.set(xlabel="grey level", ylabel="first order, relative", title="binary grating")
    drawn = flat.imshow(correction / TURN, cmap="RdBu_r")
    flat.set(xticks=[], yticks=[], title="flatness correction")
    figure.colorbar(drawn, label="turns", shrink=0.7)
    report.figure(
        figure,
        "Line: the table. Points: what was measured; the grating's points check the table, they do not make it. "
        "The correction holds where the laser lit the panel.",
        "Phase over grey level, light in a grating's first order over grey level, flatness correction as a colour map.",
    )
    report.text(
        f"A step settles to 2 % within {measured.settling * 1e3:.0f} ms. With the correction ΣI² of the focus is "
        f"{sharpened:.1f} times what it was. Intensities cannot tell a phase from its negative: the table's sign is "
        "the one that was asked for."
    )
