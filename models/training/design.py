"""`design_lens`: from a config to a sealed design."""

import json
from pathlib import Path
from typing import Any

import torch

from opticaldr.artefacts import Artefact, create
from opticaldr.models.networks import FactorScale, Recogniser, TemporalHead, fit_recogniser, save_networks
from opticaldr.models.optics import Optic, preset
from opticaldr.models.training.camera import Camera, designed_camera
from opticaldr.models.training.config import DesignConfig, FitConfig, config_toml
from opticaldr.models.training.design_report import write_report
from opticaldr.models.training.figures import embed, factor_fit, recognition, score_error
from opticaldr.models.training.frozen_stages import fit_head, fit_network
from opticaldr.models.training.lens_stage import learn_lens
from opticaldr.models.training.loop import Progress, Work
from opticaldr.models.training.pool import Pool, film


def design_lens(
    config: DesignConfig,
    out: Path | None = None,
    seed: int = 0,
    progress: Progress = lambda stage, done, total: None,
) -> Artefact:
    """Learn a lens and its networks on simulated subjects, and seal them as a design.

    1. lens, network and adversary together (`lens_stage`); 2. the network alone on what the finished lens
    captures, and an adversary from scratch as read-out; 3. the temporal head on clips. Every figure is taken
    through the wave-optical PSFs of the finished height map, on people that nothing was trained on.

    If it is stopped, the same call continues from its last checkpoint, in a hidden folder beside ``out``.

    Args:
        config: everything that can be chosen.
        out: the folder to make; ``runs/design-<id>`` if not given.
        seed: of subjects, weights, batches and noise.
        progress: called as ``progress(stage, done, total)``.

    Returns:
        The design: ``optics.json``, ``height.npy``, ``zernike.json``, ``networks.safetensors``,
        ``config.toml``, ``metrics.json``, ``history.json``, ``report.html``.

    Raises:
        Refusal: unknown preset, or ``out`` exists.
        Diverged: the loss is not finite.
    """
    spec = preset(config.preset)
    with create("design", out, seed=seed) as draft:
        beside = out.absolute().parent if out is not None else Path("runs").absolute()
        work = Work(beside, "design", f"{config.model_dump_json()}\n{spec.model_dump_json()}\n{seed}")
        subjects, every = config.subjects, config.checkpoint_every
        train = film(range(subjects.train), subjects, spec, seed, progress)
        test = film(range(subjects.train, subjects.train + subjects.test), subjects, spec, seed, progress)
        scale = FactorScale.of(train.factors)
        lens, network, history = learn_lens(
            train, spec, subjects.depths, config.lens, scale, work, seed=seed, every=every, progress=progress
        )
        optic = Optic(spec, lens.height())
        camera = designed_camera(optic.height, spec, subjects.depths, config.lens.psf)
        fit_network(
            network, train, camera, config.networks, scale, work, seed=seed, every=every, progress=progress
        )
        windows, windows_test = (embed(network, people, camera, seed) for people in (train, test))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            head = TemporalHead()
        head.standardise(windows)
        fit_head(head, windows, train.score, config.head, work, seed=seed, every=every, progress=progress)
        metrics = {
            "factors": factor_fit(network, windows_test, test, scale),
            "score": score_error(head, windows_test, test, float(train.score.median()), seed),
            "adversary": read_out(train, test, camera, config.recogniser, seed, progress),
            "psf_energy_in_window": float(camera.bank.sum(dim=(2, 3)).min()),
            "subjects": {"train": subjects.train, "test": subjects.test, "sessions": subjects.sessions},
            "window": {"frames": subjects.frames, "fps": subjects.fps},
        }
        optic.write(draft.path)
        save_networks(draft.path / "networks.safetensors", network, head, scale)
        contents: dict[str, Any] = {
            "zernike": {
                "normalisation": spec.mask.normalisation,
                "unit": "m",
                "noll": {str(j): value for j, value in lens.coefficients.items()},
            },
            "metrics": metrics,
            "history": {"lens": history},
        }
        for name, content in contents.items():
            (draft.path / f"{name}.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
        (draft.path / "config.toml").write_text(config_toml(config), encoding="utf-8")
        write_report(draft.path / "report.html", optic, camera, test, metrics, history, config)
    work.remove()
    return draft.sealed()


def read_out(
    train: Pool, test: Pool, camera: Camera, config: FitConfig, seed: int, progress: Progress
) -> dict[str, float]:
    """Verification AUC on unseen people of a recogniser trained from scratch on captured frames.

    One recogniser of one kind, trained briefly: a read-out that shows where the design stands, not an
    evaluation of its privacy.
    """

    def sample(generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        rows = torch.randint(len(train), (config.batch,), generator=generator)
        scenes, _ = train.draw(rows)
        return camera.capture(scenes, train.view[rows]), train.subject[rows]

    size = train.frames.shape[-1]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        recogniser = fit_recogniser(
            sample,
            train.people,
            steps=config.steps,
            seed=seed,
            learning_rate=config.rate,
            recogniser=Recogniser(size=size),
            progress=progress,
        )
    met = train.sessions(train.subject < test.people)
    return {
        "auc": recognition(embed(recogniser, test, camera, seed), test),
        "auc_training_people": recognition(embed(recogniser, met, camera, seed), met),
    }
