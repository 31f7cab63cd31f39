"""`finetune`: networks adapted to the optics that were really built."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from opticaldr.artefacts import Artefact, create
from opticaldr.calibration.measured import Measured, read_measured
from opticaldr.errors import Refusal
from opticaldr.models.networks import Compact, FactorScale, TemporalHead, load_networks, save_networks
from opticaldr.models.optics import Optic
from opticaldr.models.training.camera import Camera, designed_camera
from opticaldr.models.training.config import DesignConfig, FinetuneConfig, config_toml, load_config
from opticaldr.models.training.figures import embed, factor_fit, score_error
from opticaldr.models.training.finetune_report import write_report
from opticaldr.models.training.frozen_stages import fit_head, fit_network
from opticaldr.models.training.loop import Progress, Work
from opticaldr.models.training.pool import Pool, film

OTHER_PEOPLE = 1_000_000
"""First number of the subjects that adapted networks are tested on: nobody has met them."""


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
    captured through the measured PSFs of the nearest measured distance, at a field position drawn for every
    session. The temporal head always adapts, the network as the config says, held by a pull towards the
    weights it came with.

    Three errors on people that neither design nor adaptation has met: un-adapted networks on the optics as
    built, adapted ones on the same, and the design's own on the optics as designed. What the adaptation
    closes of the gap between the first and the last is reported with them, and no closure where there is no
    gap to speak of.

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
    subjects, every = config.subjects, config.checkpoint_every
    subjects = subjects.model_copy(
        update={"frames": made_with.subjects.frames, "fps": made_with.subjects.fps}
    )
    with create("head", out, parents=[design, calibration], seed=seed) as draft:
        beside = out.absolute().parent if out is not None else Path("runs").absolute()
        work = Work(beside, "head", f"{config.model_dump_json()}\n{design.id}\n{calibration.id}\n{seed}")
        met, unmet = range(subjects.train), range(OTHER_PEOPLE, OTHER_PEOPLE + subjects.test)
        stage = design.manifest.seed or 0
        train, test = (film(people, subjects, measured.spec, stage, progress) for people in (met, unmet))
        built = Camera(
            torch.as_tensor(measured.bank, dtype=torch.float32).flatten(0, 1), measured.spec.sensor
        )
        seen, seen_test = (placed(measured, scenes, subjects.depths, seed) for scenes in (train, test))
        ideal = designed_camera(designed.height, designed.spec, subjects.depths, made_with.lens.psf)

        constant = float(seen.score.median())
        design_error = errors(network, head, scale, test, ideal, constant, seed)
        before = errors(network, head, scale, seen_test, built, constant, seed)
        fit_network(
            network,
            seen,
            built,
            config.networks,
            scale,
            work,
            seed=seed,
            every=every,
            progress=progress,
            trained=config.adapt,
            anchor=config.anchor,
        )
        fit_head(
            head,
            embed(network, seen, built, seed),
            seen.score,
            config.head,
            work,
            seed=seed,
            every=every,
            progress=progress,
        )
        after = errors(network, head, scale, seen_test, built, constant, seed)
        metrics = {
            "as_designed": design_error,
            "before": before,
            "after": after,
            "closure": {
                "factors": closure(
                    before["factor_error"], after["factor_error"], design_error["factor_error"]
                ),
                "score": closure(before["score"]["mae"], after["score"]["mae"], design_error["score"]["mae"]),
            },
            "subjects": {"train": subjects.train, "test": subjects.test, "sessions": subjects.sessions},
            "window": {"frames": subjects.frames, "fps": subjects.fps},
            "accepted_failed_gates": accept_failed_gates,
        }
        save_networks(draft.path / "networks.safetensors", network, head, scale)
        shutil.copyfile(calibration.file("psf.npz"), draft.path / "psf.npz")
        (draft.path / "optics.json").write_text(measured.spec.model_dump_json(indent=2) + "\n", "utf-8")
        (draft.path / "config.toml").write_text(config_toml(config), encoding="utf-8")
        (draft.path / "metrics.json").write_text(json.dumps(metrics, indent=1) + "\n", encoding="utf-8")
        write_report(
            draft.path / "report.html", metrics, measured, subjects.depths, (test, ideal), (seen_test, built)
        )
    work.remove()
    return draft.sealed()


def require_descent(calibration: Artefact, design: Artefact) -> None:
    """Refuse a calibration that was not made of this design's mask."""
    if design.id not in {ancestor.id for ancestor in calibration.manifest.ancestors}:
        raise Refusal(
            f"{calibration.path} is the calibration of another design than {design.path}",
            "give the design that was fabricated and measured",
        )


def placed(measured: Measured, scenes: Pool, depths: tuple[float, ...], seed: int) -> Pool:
    """Sessions at measured places: the measured distance nearest in 1/depth, a field position drawn for each.

    ``view`` then counts through ``[depth, field]``. The PSF of one field position serves the whole frame.
    """
    nearest = [int(np.argmin(np.abs(1 / np.array(measured.depths) - 1 / depth))) for depth in depths]
    fields = len(measured.fields)
    field = torch.randint(fields, (len(scenes),), generator=torch.Generator().manual_seed(seed))
    return replace(scenes, view=torch.tensor(nearest)[scenes.view] * fields + field)


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
