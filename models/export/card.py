"""The model card that travels in the bundle."""

from typing import Any

from opticaldr.artefacts.bundle import BundleSpec


def model_card(spec: BundleSpec, kind: str, metrics: dict[str, Any], parity: dict[str, Any]) -> str:
    """Markdown for the people who deploy it: use, data, figures, attackers tried, graphs, limits, descent.

    The headings follow Mitchell et al., Model Cards for Model Reporting, FAT* 2019.

    Args:
        spec: of the bundle.
        kind: ``head`` or ``design``: what the networks came from.
        metrics: that artefact's ``metrics.json``.
        parity: of the graphs.
    """
    measured = metrics["after"] if kind == "head" else metrics
    people = metrics["subjects"]
    adapted = "adapted to the measured optics" if kind == "head" else "NOT adapted to the measured optics"
    accepted = metrics.get("accepted_failed_gates", False)
    warning = "\n**The calibration failed a quality gate and was used all the same.**\n" if accepted else ""
    until = f"{spec.expires:%Y-%m-%d}" if spec.expires else "a day that was not stated"
    return f"""# Model card

{spec.purpose}
{warning}
## Intended use

Estimates a BDI-II total (0 to 63) and its standard deviation from {spec.window.frames} frames, {spec.window.fps:g} a
second, of one face behind one particular phase mask. The networks are {adapted}. For studies of such cameras.
Not for diagnosis, triage, insurance, employment, or watching people who have not agreed.

## Data

Simulated subjects only: {people["train"]} people in training, {people["test"]} others in testing, {people["sessions"]}
recordings each. The scores on that stage are drawn, not diagnosed. It has no clinical meaning, and nothing is known
about differences between groups of real people.

## Figures on people never trained on

{_figures(measured)}

## Attackers tried

{_attackers(metrics)}

## Graphs

{_graphs(spec, parity)}

## Limits

* Valid for this mask, this sensor and this mode alone, until {until}; the interlock refuses frames taken without the
  mask, but a blurred picture held before a bare sensor would pass it.
* The estimate has never been compared with a questionnaire of a real person.
* Privacy is what the attackers above achieved, not a proof; stronger ones are in the evaluation of the design.

## Descent

design {spec.design[:12]}, calibration {spec.calibration[:12]}, networks {spec.networks[:12]}.
"""


def _figures(measured: dict[str, Any]) -> str:
    score = measured["score"]
    low, high = score["mae_interval"]
    lines = [
        "| what | value |",
        "|---|---|",
        f"| mean absolute error | {score['mae']:.2f} points (95 % interval over people {low:.2f} to {high:.2f}) |",
        f"| always saying the median | {score['constant_mae']:.2f} points |",
        f"| scores within one sigma | {100 * score['coverage']:.0f} % (68 % if it were calibrated) |",
    ]
    if "factors" in measured:
        lines.append(f"| expression and pose, mean R² | {measured['factors']['mean']:.3f} |")
    return "\n".join(lines)


def _attackers(metrics: dict[str, Any]) -> str:
    if privacy := metrics.get("privacy"):
        return (
            "A face recogniser trained from scratch on frames through the optics, judged on people it has not met:\n"
            f"verification AUC {privacy['built_auc']:.2f} through the optics as built, {privacy['design_auc']:.2f} "
            f"through the design's (0.5 is chance; a bundle\nis refused above the design's by more than "
            f"{privacy['margin']:g}). No other attacker was tried on these built optics."
        )
    if adversary := metrics.get("adversary"):
        return (
            "A face recogniser trained from scratch on frames through the optics as designed: verification AUC "
            f"{adversary['auc']:.2f}\n(0.5 is chance). No attacker was tried on the optics as built."
        )
    return "None on these optics: assume that faces can be recognised."


def _graphs(spec: BundleSpec, parity: dict[str, Any]) -> str:
    lines = [
        f"ONNX opset {spec.opset}; the camera runs `{spec.frame_graph}`.",
        f"Float32: largest difference to the networks on {parity['frames']} raw frames "
        f"{parity['worst_estimate_difference']:.2g} points.",
    ]
    if int8 := parity.get("int8"):
        if int8["passed"]:
            kept = ", ".join(int8["kept_in_float"]) or "none"
            lines.append(
                f"INT8 for {int8['target']}: mean absolute error {int8['mae']:.2f} points for "
                f"{int8['mae_float32']:.2f}, mean R² {int8['fit']:.3f} for {int8['fit_float32']:.3f}; "
                f"layers kept in float: {kept}."
            )
        else:
            lines.append("There is no INT8 graph: it would have broken its gates.")
    return "\n".join(lines)
