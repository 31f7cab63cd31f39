"""The model card that travels in the bundle."""

from typing import Any

from opticaldr.artefacts.bundle import BundleSpec


def model_card(spec: BundleSpec, kind: str, metrics: dict[str, Any], parity: dict[str, Any]) -> str:
    """Markdown for the people who deploy it: data, intended use, limits, figures.

    Args:
        spec: of the bundle.
        kind: ``head`` or ``design``: what the networks came from.
        metrics: that artefact's ``metrics.json``.
        parity: of the graphs.
    """
    measured = metrics["after"] if kind == "head" else metrics
    score, people = measured["score"], metrics["subjects"]
    low, high = score["mae_interval"]
    adapted = "adapted to the measured optics" if kind == "head" else "NOT adapted to the measured optics"
    accepted = metrics.get("accepted_failed_gates", False)
    warning = "\n**The calibration failed a quality gate and was used all the same.**\n" if accepted else ""
    return f"""# Model card

{spec.purpose}
{warning}
* **What it does.** Estimates a BDI-II total (0 to 63) and its standard deviation from {spec.window.frames}
frames,
  {spec.window.fps:g} a second, of a face behind one particular phase mask. The networks are {adapted}.
* **Data.** Simulated subjects only: {people["train"]} people in training, {people["test"]} others in testing,
  {people["sessions"]} recordings each. The scores on that stage are drawn, not diagnosed. It has no
  clinical meaning.
* **Figures** on people never trained on: mean absolute error {score["mae"]:.2f} points (95 % interval
{low:.2f} to
  {high:.2f}); always saying the median: {score["constant_mae"]:.2f}. {100 * score["coverage"]:.0f} % of the
  scores lie within one sigma (68 % if it were calibrated).
* **Graphs.** float32, ONNX opset {spec.opset}. Largest difference to the networks on {parity["frames"]} raw
frames:
  {parity["worst_estimate_difference"]:.2g} points.
* **Limits.** Valid for this mask, this sensor and its mode alone; the interlock refuses frames taken
without the
  mask, but a blurred picture held before a bare sensor would pass it. Privacy is not proven here: see the
  evaluation of the same design.
* **Descent.** design {spec.design[:12]}, calibration {spec.calibration[:12]}, networks {spec.networks[:12]}.
"""
