"""`finetune`: networks adapted to the optics that were really built."""

import copy
import json
import shutil
from pathlib import Path
from typing import Any

from opticaldr.artefacts import Artefact, create
from opticaldr.calibration.measured import read_measured
from opticaldr.errors import Refusal
from opticaldr.models.networks import (
    FACTORS,
    Compact,
    FactorScale,
    TemporalHead,
    load_networks,
    save_networks,
)
from opticaldr.models.optics import Optic
from opticaldr.models.training.adaptation import (
    Adapter,
    MeasuredCamera,
    Places,
    align_statistics,
    glimpses,
)
from opticaldr.models.training.camera import Camera, designed_camera
from opticaldr.models.training.config import DesignConfig, FinetuneConfig, config_toml, load_config
from opticaldr.models.training.design import read_out
from opticaldr.models.training.figures import embed, factor_fit, score_error
from opticaldr.models.training.finetune_report import write_report
from opticaldr.models.training.loop import Progress, Work
from opticaldr.models.training.pool import Pool, film

OTHER_PEOPLE = 1_000_000
"""First number of the subjects that adapted networks are tested on: nobody has met them."""

STOPPING_PEOPLE = 1_500_000
"""First number of those that they are stopped by. On people that the design has met its networks look finished."""

STATES = 4
"""How often networks are judged: as designed, before, with aligned statistics, after."""

Seen = tuple[Pool, Camera]
"""People that nobody has learned from, and the camera in front of which they sit."""


def finetune(
    design: Artefact,
    calibration: Artefact,
    config: FinetuneConfig,
    out: Path | None = None,
    seed: int = 0,
    progress: Progress = lambda stage, done, total: None,
    *,
    accept_failed_gates: bool = False,
) -> Artefact:
    """Adapt a design's networks to measured PSFs; the lens is fixed.

    The design's own subjects are filmed again, so that what changes is the optics and not the people, and
    captured through the measured PSFs: either neighbour in depth, any field position, within the standard
    errors, with the measured noise. The temporal head always adapts, the network as the config says, held by
    a pull towards the weights it came with, and stopped by people that the design has not met.

    Errors on people that neither design nor adaptation has met: the design's networks on the optics as
    designed and as built, adapted ones on the built, and the design's with nothing but their normalisation
    aligned to unlabelled frames. Privacy is read out again by a recogniser trained from scratch on either
    optics; `export` refuses a head whose optics give away more than the design's and the margin.

    Args:
        design: what was designed.
        calibration: what was measured, of the same design.
        config: everything that can be chosen.
        out: the folder to make; ``runs/head-<id>`` if not given.
        seed: of subjects, batches and noise.
        progress: called as ``progress(stage, done, total)``.
        accept_failed_gates: go on although a quality gate of the calibration failed.

    Returns:
        The head: ``networks.safetensors``, ``psf.npz`` and ``optics.json`` as measured, ``config.toml``,
        ``metrics.json``, ``report.html``.

    Raises:
        Refusal: a calibration of another design, failed gates, or an artefact that cannot be read.
        Diverged: the loss is not finite.
    """
    require_descent(calibration, design)
    measured = read_measured(calibration, accept_failed_gates=accept_failed_gates)
    designed = Optic.read(design.path)
    made_with = load_config(DesignConfig, design.file("config.toml"))
    network, head, scale = load_networks(
        design.file("networks.safetensors"), measured.spec.sensor.binned_shape[0]
    )
    if scale.names != FACTORS:
        raise Refusal(
            f"{design.path} learned on data sets, and only designs of simulated subjects can be adapted yet",
            "give a design that was learned without data.pictures",
        )
    subjects = config.subjects.model_copy(
        update={"frames": made_with.subjects.frames, "fps": made_with.subjects.fps}
    )
    people = (
        range(subjects.train),
        range(STOPPING_PEOPLE, STOPPING_PEOPLE + subjects.validation),
        range(OTHER_PEOPLE, OTHER_PEOPLE + subjects.test),
    )
    with create("head", out, parents=[design, calibration], seed=seed) as draft:
        beside = out.absolute().parent if out is not None else Path("runs").absolute()
        work = Work(beside, "head", f"{config.model_dump_json()}\n{design.id}\n{calibration.id}\n{seed}")
        stage = design.manifest.seed or 0
        train, held_out, test = (film(those, subjects, measured.spec, stage, progress) for those in people)
        places = Places(measured, subjects.depths)
        bench = MeasuredCamera.of(measured, calibration)
        adapter = Adapter(config, train, held_out, bench, places, work, seed, progress)
        progress("PSFs of the design", 0, 1)
        ideal = designed_camera(designed.height, designed.spec, subjects.depths, made_with.lens.psf)
        progress("PSFs of the design", 1, 1)
        as_designed, as_built = (test, ideal), (places.fixed(test, seed), bench.known())
        metrics = {
            **_adapt(network, head, scale, adapter, as_designed, as_built),
            "privacy": _recognised(adapter, as_designed, as_built),
            "subjects": {"train": subjects.train, "test": subjects.test, "sessions": subjects.sessions},
            "window": {"frames": subjects.frames, "fps": subjects.fps},
            "accepted_failed_gates": accept_failed_gates,
        }
        save_networks(draft.path / "networks.safetensors", network, head, scale)
        shutil.copyfile(calibration.file("psf.npz"), draft.path / "psf.npz")
        (draft.path / "optics.json").write_text(measured.spec.model_dump_json(indent=2) + "\n", "utf-8")
        (draft.path / "config.toml").write_text(config_toml(config), encoding="utf-8")
        (draft.path / "metrics.json").write_text(json.dumps(metrics, indent=1) + "\n", encoding="utf-8")
        write_report(draft.path / "report.html", metrics, measured, subjects.depths, as_designed, as_built)
    work.remove()
    return draft.sealed()


def _adapt(
    network: Compact,
    head: TemporalHead,
    scale: FactorScale,
    adapter: Adapter,
    as_designed: Seen,
    as_built: Seen,
) -> dict[str, Any]:
    """Adapt the networks, in place: their errors in four states, and how much of the gap was closed."""
    constant = float(adapter.train.score.median())
    judged = 0

    def judge(frame_network: Compact, seen: Seen) -> dict[str, Any]:
        nonlocal judged
        adapter.progress("judge networks", judged, STATES)
        found = errors(frame_network, head, scale, *seen, constant, adapter.seed)
        judged += 1
        adapter.progress("judge networks", judged, STATES)
        return found

    design = judge(network, as_designed)
    before = judge(network, as_built)
    aligned = copy.deepcopy(network)
    align_statistics(aligned, adapter.unlabelled())
    unlabelled = judge(aligned, as_built)
    best = {"network": adapter.network(network, scale), "head": adapter.head(head, network)}
    after = judge(network, as_built)
    return {
        "as_designed": design,
        "before": before,
        "after": after,
        "unlabelled": unlabelled,
        "adapted": adapter.config.adapt,
        "best_step": best,
        "closure": {
            "factors": closure(before["factor_error"], after["factor_error"], design["factor_error"]),
            "score": closure(before["score"]["mae"], after["score"]["mae"], design["score"]["mae"]),
        },
    }


def _recognised(adapter: Adapter, as_designed: Seen, as_built: Seen) -> dict[str, float]:
    """AUC of a recogniser trained from scratch on either optics, and by how much the built may be the worse."""
    known = {
        "design_auc": (adapter.train, as_designed),
        "built_auc": (adapter.places.fixed(adapter.train, adapter.seed), as_built),
    }
    found = {
        name: read_out(
            glimpses(people),
            glimpses(unknown),
            camera,
            adapter.config.recogniser,
            adapter.work,
            seed=adapter.seed,
            every=adapter.config.checkpoint_every,
            progress=adapter.progress,
            stage=name,
        )["auc"]
        for name, (people, (unknown, camera)) in known.items()
    }
    return {**found, "margin": adapter.config.privacy_margin}


def require_descent(calibration: Artefact, design: Artefact) -> None:
    """Refuse a calibration that was not made of this design's mask."""
    if design.id not in {ancestor.id for ancestor in calibration.manifest.ancestors}:
        raise Refusal(
            f"{calibration.path} is the calibration of another design than {design.path}",
            "give the design that was fabricated and measured",
        )


def errors(
    network: Compact,
    head: TemporalHead,
    scale: FactorScale,
    people: Pool,
    camera: Camera,
    constant: float,
    seed: int,
) -> dict[str, Any]:
    """Factor fit, factor error (1 - mean R²) and score error of networks on unseen people."""
    windows = embed(network, people, camera, seed)
    fit = factor_fit(network, windows, people, scale)
    return {
        "factors": fit,
        "factor_error": 1 - fit["mean"],
        "score": score_error(head, windows, people, constant, seed),
    }


def closure(before: float, after: float, reference: float) -> float | None:
    """Fraction of the gap between ``before`` and ``reference`` that ``after`` has closed.

    None where the gap is smaller than 2 % of the reference: its closing cannot be told from chance.
    """
    gap = before - reference
    return (before - after) / gap if gap > 0.02 * reference else None
