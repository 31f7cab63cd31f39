"""The evaluation as a page: who got how far, at what cost in utility, and what the faces look like."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray

from opticaldr.artefacts import Report
from opticaldr.models.data import srgb_bytes
from opticaldr.models.evaluation.metrics import Interval
from opticaldr.models.evaluation.study import PROTOCOLS, Study

if TYPE_CHECKING:
    from matplotlib.figure import Figure

THUMBNAIL = 112

NOT_ON_ANY_LADDER = (
    "attackers with millions of training pictures, generative models as a prior, video of moving faces, gait or "
    "voice, and light from outside the scene that a lens may be built for"
)
ONLY_BEYOND_QUICK = (
    "Richardson-Lucy and total variation, a carelessly measured PSF, learned inversion, fusion of frames, networks "
    "trained from scratch, and raw frames before binning (--budget standard)"
)


def write_report(path: Path, studies: list[Study], metrics: dict[str, Any]) -> None:
    """Write ``report.html`` from the studies and from what ``metrics.json`` says."""
    headline = metrics["headline"]
    who = ", ".join(headline[name] for name in ("recogniser", "protocol", "population"))
    page = Report(
        "How private is this lens?",
        f"Worst case over all attackers and recognisers: verification AUC {Interval(*headline['auc'])}, "
        f"by {headline['attacker']} ({who}). 0.5 is chance, 1 is certain recognition.",
    )
    page.verdict(metrics["verdict"]["passed"], metrics["verdict"]["why"])
    if metrics["valid"]:
        page.text(
            "The evaluation itself is sound: its attackers see through a mild blur, and shuffled names give chance."
        )
    for study in studies:
        _study(page, study)
    if metrics["linked_by_estimates"]:
        linked = Interval(*metrics["linked_by_estimates"]["auc"])
        page.section("Can people be linked by their estimates?").text(
            f"From nothing but the output records (score and its spread) of two sessions, verification reaches AUC "
            f"{linked}; 0.5 is chance. On this stage scores say nothing of who somebody is; real scores do persist."
        )
    if metrics["depression"]:
        page.section("What the lens is for")
        page.table(
            ["figure", "value", "95 % interval"],
            [[name, Interval(*v).value, _span(Interval(*v))] for name, v in metrics["depression"].items()],
            "Depression score (BDI-II points) of the artefact's own networks on clips of simulated people "
            "that nothing was trained on. A stage for testing, without clinical meaning.",
        )
    missing = [NOT_ON_ANY_LADDER] + ([ONLY_BEYOND_QUICK] if metrics["budget"] == "quick" else [])
    page.section("What was not tested").text(
        f"Not tested: {'; '.join(missing)}. An attacker not tried here may do better than the worst case."
    )
    page.write(path)


def _study(page: Report, study: Study) -> None:
    page.section(f"{study.population.capitalize()}: {study.people} people, {study.pictures} pictures")
    page.image(
        face_rows(study.shown),
        "From top to bottom: " + ", ".join(study.shown) + ".",
        "Rows of faces: clean, as captured, and after each reconstruction",
    )
    _attackers(page, study)
    _optics(page, study)
    depths = ", ".join(f"{depth} {auc}" for depth, auc in study.by_depth.items())
    page.text(f"The worst case by the probe's depth: {depths}. With names shuffled: {study.null}.")
    for name in study.refused:
        page.text(
            f"{name} was refused as an attacker: its AUC on clean pictures is {study.recognisers[name]}."
        )


def _attackers(page: Report, study: Study) -> None:
    """How far every attacker of the lens got, what the strongest saw, and how those that learn have learned."""
    page.table(
        [
            "attacker",
            "AUC [95 %]",
            "recogniser",
            "protocol",
            "EER",
            "TPR 10 %",
            "1 %",
            "0.1 %",
            "rank 1",
            "rank 5",
            "open set",
        ],
        [
            [
                row.attacker,
                _whole(row.auc),
                row.recogniser,
                row.protocol,
                *(
                    f"{row.figures[name].value:.3f}" if name in row.figures else "too few"
                    for name in ("eer", "tpr@0.1", "tpr@0.01", "tpr@0.001", "rank-1", "rank-5", "tpir@0.1")
                ),
            ]
            for row in sorted(study.of(study.subject), key=lambda row: -row.auc.value)
        ],
        "Attackers on this lens, strongest first. Intervals come from resampling people. TPR: true match rate at false "
        "match rates of 10, 1 and 0.1 %. Open set: enrolled people who are found and named when one stranger in ten "
        "raises an alarm.",
    )
    page.image(
        face_rows(study.cases),
        "The strongest attacker's clearest and least clear cases, from top to bottom: "
        + ", ".join(study.cases)
        + ".",
        "Rows of faces that the strongest attacker recognises best and worst",
    )
    _attributes(page, study)
    curves = {row.attacker: row.notes["loss"] for row in study.of(study.subject) if "loss" in row.notes}
    if curves:
        page.figure(
            training_figure(curves),
            "Training of the attackers that learn: mean loss of each epoch.",
            "Training curves of attackers",
        )


def _optics(page: Report, study: Study) -> None:
    """The lens beside its controls: what is recognised, and what is read, through each."""
    page.figure(
        roc_figure(study),
        "Receiver operating characteristics of the strongest attack on the lens and on each control.",
        "ROC curves with a logarithmic false match rate",
    )
    page.table(
        [
            "optic",
            "worst-case AUC [95 %]",
            "expression R²",
            "smile accuracy",
            "score error (points)",
            "strongest attacker",
            "EE50 (superpixels)",
        ],
        [
            [
                view,
                _whole(study.worst(view).auc),
                _whole(study.utility[view].expression) if view in study.utility else "",
                _whole(study.utility[view].accuracy) if view in study.utility else "",
                _whole(study.scores[view]["mae"], digits=1) if view in study.scores else "",
                study.worst(view).attacker,
                width,
            ]
            for view, width in study.widths.items()
        ],
        "The lens beside its controls, whose strength was tuned to the lens's expression R² "
        + ("on these people" if study.utility else "on simulated subjects")
        + "; they are attacked with A0 and A1 only.",
    )
    if study.scores:
        page.text(_score_text(study))
    missed = [found for found in study.matches if not found.within]
    if missed:
        page.text(
            "No strength was found at which the utility lies within the lens's interval for "
            + ", ".join(f"{found.view.name} ({found.reached} as against {found.goal})" for found in missed)
            + "."
        )
    if study.utility:
        page.figure(
            curve_figure(study),
            "Privacy against utility: up is worse privacy, right is better utility. Bars are 95 % intervals.",
            "Scatter of worst-case AUC against expression R² for the lens and its controls",
        )


def _score_text(study: Study) -> str:
    """How the error of the depression score behind the controls differs from that behind the lens."""
    apart = [
        f"{name} {above}"
        for name in study.controls
        if name in study.scores
        and ((above := study.scores[name]["mae_above_lens"]).low > 0 or above.high < 0)
    ]
    constant = study.scores[study.subject]["constant_mae"]
    return (
        "The error of the depression score is not tuned: the same network and head were trained behind each optic on "
        f"clips of the same people. Who always says the median errs by {constant} points. Controls whose error differs "
        "from the lens's (control less lens, points): " + ("; ".join(apart) or "none") + "."
    )


def _attributes(page: Report, study: Study) -> None:
    """What people look like, as read off captures."""
    for row in study.of(study.subject):
        if "attributes_r2" in row.notes and row.protocol == PROTOCOLS[0]:
            found = {name: Interval(*r2) for name, r2 in row.notes["attributes_r2"].items()}
            page.table(
                ["attribute", "R²", "95 %"],
                [[name, r2.value, _span(r2)] for name, r2 in found.items()],
                "A7: what a network reads of people's looks off captures (0 is chance, 1 certainty).",
            )


def training_figure(curves: dict[str, list[float]]) -> "Figure":
    """Loss of each epoch of every attacker that was trained."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.5, 3.2))
    axes = figure.subplots()
    for name, losses in curves.items():
        axes.plot(np.arange(1, len(losses) + 1), losses, label=name)
    axes.set(xlabel="epoch", ylabel="loss", yscale="log")
    axes.legend(fontsize=8)
    return figure


def face_rows(shown: dict[str, NDArray[np.float32]]) -> NDArray[np.uint8]:
    """Pictures ``{name: [n, y, x, 3]}`` as one image, a row each, every picture `THUMBNAIL` pixels wide and high."""
    rows = [
        np.concatenate(
            [
                cv2.resize(p, (THUMBNAIL, THUMBNAIL), interpolation=cv2.INTER_AREA)
                for p in srgb_bytes(pictures)
            ],
            1,
        )
        for pictures in shown.values()
    ]
    return np.concatenate(rows, axis=0)


def roc_figure(study: Study) -> "Figure":
    """The strongest attack on every optic, false match rate on a logarithmic axis."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.5, 4.2))
    axes = figure.subplots()
    for view in study.widths:
        row = study.worst(view)
        bold = view == study.subject
        axes.plot(
            np.maximum(row.roc["false_match"], 1e-4),
            row.roc["true_match"],
            lw=2.6 if bold else 1.2,
            color="black" if bold else None,
            label=f"{view}: {row.auc.value:.3f}",
        )
    chance = np.geomspace(1e-3, 1, 50)
    axes.plot(chance, chance, ":", color="grey", label="chance")
    axes.set(
        xscale="log", xlim=(1e-3, 1), ylim=(0, 1.01), xlabel="false match rate", ylabel="true match rate"
    )
    axes.legend(fontsize=8, title="optic: worst-case AUC", title_fontsize=8)
    return figure


def curve_figure(study: Study) -> "Figure":
    """Worst-case AUC of every optic against expression R²."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.5, 4.2))
    axes = figure.subplots()
    for view, measured in study.utility.items():
        utility = measured.expression
        auc = study.worst(view).auc
        axes.errorbar(
            utility.value,
            auc.value,
            xerr=[[utility.value - utility.low], [utility.high - utility.value]],
            yerr=[[auc.value - auc.low], [auc.high - auc.value]],
            fmt="s" if view == study.subject else "o",
            color="black" if view == study.subject else None,
            ms=8 if view == study.subject else 5,
            lw=1,
            label=view,
        )
    axes.axhline(0.5, ls=":", color="grey")
    axes.set(xlabel="expression R² (0 is chance)", ylabel="worst-case AUC (0.5 is chance)")
    axes.legend(fontsize=8)
    return figure


def _whole(interval: Interval, digits: int = 3) -> str:
    """Value and interval, which may wrap only between the two."""
    value, low, high = (f"{figure:.{digits}f}" for figure in interval.json())
    return f"{value} [{low},\u00a0{high}]"


def _span(interval: Interval) -> str:
    return f"{interval.low:.3f} to {interval.high:.3f}"
