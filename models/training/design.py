"""`design_lens`: from a config to a sealed design."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from opticaldr.artefacts import Artefact, create, open_artefact
from opticaldr.models.networks import FactorScale, FrameNetwork, TemporalHead, save_networks
from opticaldr.models.networks.parallel import rank
from opticaldr.models.optics import Optic, OpticsSpec
from opticaldr.models.training.camera import Camera, designed_camera
from opticaldr.models.training.config import DesignConfig, FitConfig, config_toml
from opticaldr.models.training.crew import crew, from_first
from opticaldr.models.training.design_report import write_report
from opticaldr.models.training.figures import embed, factor_fit, recognition, score_error
from opticaldr.models.training.footage import Footage, gather
from opticaldr.models.training.frozen_stages import fit_attacker, fit_head, fit_network
from opticaldr.models.training.joint_stage import learn_together
from opticaldr.models.training.lens import Lens
from opticaldr.models.training.lens_stage import learn_lens
from opticaldr.models.training.loop import Progress, Work
from opticaldr.models.training.pool import Pool, film
from opticaldr.models.training.protocols import Sessions, score_report

SHOWN = 6
"""Simulated subjects in the report of a design that learned on real people."""


def design_lens(
    config: DesignConfig,
    out: Path | None = None,
    seed: int = 0,
    progress: Progress = lambda stage, done, total: None,
) -> Artefact:
    """Learn a lens and its networks on simulated subjects or on data sets, and seal them as a design.

    1. lens, network and opponents together (`lens_stage`); 2. the network alone on what the lens captures, and
    attackers from scratch as read-out; 3. the temporal head on clips; 4. everything together at a low rate
    (`joint_stage`), and the read-out again. Every figure is taken through the wave-optical PSFs of the finished
    height map, on people that nothing was trained on.

    If it is stopped, the same call continues from its last checkpoint, in a hidden folder beside ``out``. Started
    by ``torchrun``, all processes share every batch, and the first one writes; they must see the same disk.

    Args:
        config: everything that can be chosen.
        out: the folder to make; ``runs/design-<id>`` if not given.
        seed: of subjects, weights, batches and noise.
        progress: called as ``progress(stage, done, total)``.

    Returns:
        The design: ``optics.json``, ``height.npy``, ``zernike.json``, ``networks.safetensors``,
        ``config.toml``, ``metrics.json``, ``history.json``, ``report.html``.

    Raises:
        Refusal: unknown preset, a data set that cannot serve, or ``out`` exists.
        Diverged: the loss is not finite.
    """
    spec = config.optics()
    batches = (config.lens.batch, config.networks.batch, config.recogniser.batch, config.head.batch)
    with crew(config.precision, *batches, config.joint.windows if config.joint.steps else 0):
        if rank() > 0:
            learn(config, spec, out, seed, progress)
            return open_artefact(from_first(lambda: Path()), kind="design")
        with create("design", out, seed=seed) as draft:
            learned, footage, work = learn(config, spec, out, seed, progress)
            write(draft.path, config, spec, learned, footage, seed)
        work.remove()
        sealed = draft.sealed()
        from_first(lambda: sealed.path)
        return sealed


@dataclass(frozen=True)
class Learned:
    """What the stages leave.

    Attributes:
        lens, network, head, scale: the parts.
        history: an entry a stage: the records of its steps, or what was read out after it.
    """

    lens: Lens
    network: FrameNetwork
    head: TemporalHead
    scale: FactorScale
    history: dict[str, Any]


def learn(
    config: DesignConfig, spec: OpticsSpec, out: Path | None, seed: int, progress: Progress
) -> tuple[Learned, Footage, Work]:
    """Run the four stages, each from its last checkpoint on."""
    beside = out.absolute().parent if out is not None else Path("runs").absolute()
    work = Work(beside, "design", f"{config.model_dump_json()}\n{spec.model_dump_json()}\n{seed}")
    depths, every = config.subjects.depths, config.checkpoint_every
    footage = gather(config, spec, seed, progress)
    pictures, clips = footage.pictures, footage.clips
    train = pictures["train"]
    scale = FactorScale.of(train.factors, train.names)
    history: dict[str, Any] = {}
    lens, network, history["lens"] = learn_lens(
        train,
        spec,
        depths,
        config.lens,
        scale,
        work,
        seed=seed,
        every=every,
        progress=progress,
        kind=config.network,
    )

    def camera() -> Camera:
        return designed_camera(lens.height(), spec, depths, config.lens.psf)

    history["network"] = fit_network(
        network, train, camera(), config.networks, scale, work, seed=seed, every=every, progress=progress
    )
    history["attackers"] = read_out(
        train, pictures["test"], camera(), config.recogniser, work, seed=seed, count=config.attackers,
        every=every, progress=progress,
    )  # fmt: skip
    windows = embed(network, clips["train"], camera(), seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        head = TemporalHead()
    head.standardise(windows)
    history["head"] = fit_head(
        head, windows, clips["train"].score, config.head, work, seed=seed, every=every, progress=progress
    )
    if config.joint.steps:
        history["joint"] = learn_together(
            lens,
            network,
            head,
            train,
            clips["train"],
            spec,
            config,
            scale,
            work,
            seed=seed,
            progress=progress,
        )
        history["attackers after all"] = read_out(
            train, pictures["test"], camera(), config.recogniser, work, seed=seed, count=config.attackers,
            every=every, progress=progress, stage="attacker after all",
        )  # fmt: skip
    head.calibrate(embed(network, clips["validate"], camera(), seed), clips["validate"].score)
    return Learned(lens, network, head, scale, history), footage, work


def write(
    folder: Path, config: DesignConfig, spec: OpticsSpec, learned: Learned, footage: Footage, seed: int
) -> None:
    """Take the figures of what was learned, and write everything that a design holds."""
    lens, network, head, scale = learned.lens, learned.network, learned.head, learned.scale
    optic = Optic(spec, lens.height())
    camera = designed_camera(optic.height, spec, config.subjects.depths, config.lens.psf)
    pictures, clips = footage.pictures["test"], footage.clips["test"]
    windows = embed(network, clips, camera, seed)
    history = learned.history
    metrics = {
        "factors": factor_fit(network, embed(network, pictures, camera, seed), pictures, scale),
        "score": score_error(head, windows, clips, float(footage.clips["train"].score.median()), seed),
        "protocols": protocols(head, windows, footage, seed),
        "adversary": history.get("attackers after all", history["attackers"]),
        "psf_energy_in_window": float(camera.bank.sum(dim=(2, 3)).min()),
        "subjects": {
            "train": footage.pictures["train"].people,
            "test": pictures.people,
            "sessions": config.subjects.sessions,
        },
        "window": {"frames": clips.frames.shape[1], "fps": config.subjects.fps},
        "data": footage.about,
    }
    optic.write(folder)
    save_networks(folder / "networks.safetensors", network, head, scale)
    contents: dict[str, Any] = {
        "zernike": {
            "normalisation": spec.mask.normalisation,
            "unit": "m",
            "noll": {str(j): value for j, value in lens.coefficients.items()},
        },
        "metrics": metrics,
        "history": history,
    }
    for name, content in contents.items():
        (folder / f"{name}.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    (folder / "config.toml").write_text(config_toml(config), encoding="utf-8")
    shown = shown_people(config, spec, pictures, seed)
    write_report(folder / "report.html", optic, camera, shown, metrics, history["lens"], config)


def shown_people(config: DesignConfig, spec: OpticsSpec, unseen: Pool, seed: int) -> Pool:
    """Whom the report shows: never the people of a data set, because designs are handed to workshops."""
    if not config.data.pictures:
        return unseen
    subjects = config.subjects.model_copy(update={"sessions": 1, "frames": 1})
    return film(range(SHOWN), subjects, spec, seed)


def protocols(head: TemporalHead, windows: torch.Tensor, footage: Footage, seed: int) -> dict[str, Any]:
    """Errors of the BDI-II estimate, a session at a time, under both protocols (see `score_report`)."""
    head.eval()
    with torch.no_grad():
        said = head(windows)[0].double().numpy()

    def by_session(split: str, values: Any) -> tuple[Any, Any]:
        who, row = np.unique(footage.who[split], axis=0, return_inverse=True)
        return who[:, 0], np.bincount(row.ravel(), values) / np.bincount(row.ravel())

    people, estimate = by_session("test", said)
    _, score = by_session("test", footage.clips["test"].score.double().numpy())
    trained, trained_score = by_session("train", footage.clips["train"].score.double().numpy())
    met = np.isin(people, np.concatenate([trained, footage.who["validate"][:, 0]]))
    return score_report(Sessions(people, score, estimate), trained, trained_score, met, seed)


def read_out(
    train: Pool,
    test: Pool,
    camera: Camera,
    config: FitConfig,
    work: Work,
    *,
    seed: int,
    every: int,
    progress: Progress,
    count: int = 1,
    stage: str = "attacker",
) -> dict[str, Any]:
    """Verification AUC on unseen people of recognisers trained from scratch on captured frames.

    All of one kind, trained briefly: a read-out that shows where the design stands, not an evaluation of its
    privacy.

    Returns:
        ``auc``, of the best of them; ``auc_training_people``, its own on people it was trained on; ``each``.
    """
    met = train.sessions((train.subject >= 0) & (train.subject < test.people))
    judged = test.sessions(test.subject >= 0)
    found = []
    for number in range(count):
        attacker = fit_attacker(
            train, camera, config, work, stage=f"{stage} {number}", seed=seed + number, every=every,
            progress=progress,
        )  # fmt: skip
        found.append([recognition(embed(attacker, people, camera, seed), people) for people in (judged, met)])
    best = max(found)
    return {"auc": best[0], "auc_training_people": best[1], "each": [auc for auc, _ in found]}
