"""``opticaldr demo``: the whole loop on one machine, told in one report."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from opticaldr.cli.options import Json, Seed

if TYPE_CHECKING:
    from opticaldr.artefacts import Artefact
    from opticaldr.cli.console import Progress

PROCESS = "grayscale"
PARTS = 12
FRAMES = 48
ADAPTATION = {"subjects": {"train": 60, "validation": 12, "test": 30}, "recogniser": {"steps": 20}}
"""What differs from the defaults, to be done sooner; the adapted camera is attacked in a step of its own."""
JUDGED = 96
"""Captured frames that the graphs are held against the networks on; the verb takes 1,000."""


def demo(
    out: Annotated[Path, typer.Option("--out", help="Folder of everything the demo makes.")] = Path(
        "runs/demo"
    ),
    faces: Annotated[
        Path | None,
        typer.Option(
            help="Your own photographs, a folder per person, to put through the mask.", show_default=False
        ),
    ] = None,
    recogniser: Annotated[
        Path | None,
        typer.Option(help="ONNX face recogniser that shall attack the photographs.", show_default=False),
    ] = None,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Go the whole loop on simulated subjects; see the report.

    It learns a mask, makes its files, calibrates what was built, adapts, exports, attacks and runs.
    Everything runs on simulated subjects, optics and sensor. Started again after a stop, it keeps the steps
    that are done.
    """
    from opticaldr.cli.console import progress_bar, tell
    from opticaldr.cli.story import tell_story
    from opticaldr.errors import Refusal

    if recogniser is not None and faces is None:
        raise Refusal("--recogniser has no photographs to attack, --faces is missing", "give both")
    with progress_bar() as progress:
        if faces is not None:  # refused now rather than minutes later
            require_usable(faces, recogniser, seed, progress)
        steps = take_steps(out, seed, progress, faces=faces, recogniser=recogniser)
        run = run_bundle(out, steps["bundle"], seed)
        tell_story(out / "report.html", steps, run, faces=faces, seed=seed)
    evaluation = steps["evaluation"].json("metrics.json")
    tell(
        {
            "report": out / "report.html",
            "estimates": len(run["estimates"]),
            "latency_ms": run["latency_ms"],
            "worst_case_auc": evaluation["headline"]["auc"],
            "worst_case_attacker": evaluation["headline"]["attacker"],
            **{kind: artefact.path for kind, artefact in steps.items()},
        },
        as_json=as_json,
    )


def require_usable(faces: Path, recogniser: Path | None, seed: int, progress: "Progress") -> None:
    """Refuse photographs or a recogniser that cannot be used."""
    from opticaldr.models.data import list_people, read_photograph
    from opticaldr.models.evaluation.populations import photographed_ground
    from opticaldr.models.optics import preset

    if recogniser is None:
        for paths in list_people(faces).values():
            read_photograph(paths[0])
        return
    spec = preset("clinic")
    depths = (spec.scene.near, spec.scene.far)
    photographed_ground(spec, depths, "quick", faces, recogniser, seed=seed, progress=progress)


def take_steps(
    out: Path,
    seed: int,
    progress: "Progress",
    *,
    faces: Path | None = None,
    recogniser: Path | None = None,
) -> "dict[str, Artefact]":
    """Make every artefact of the loop in ``out``, each from the ones before; what is there already is kept.

    Raises:
        Refusal: ``out`` holds an artefact that is damaged or was made with another seed or other parents.
    """
    from opticaldr.artefacts import open_artefact
    from opticaldr.errors import Refusal

    made: dict[str, Artefact] = {}

    def step(kind: str, parents: tuple[str, ...], make: Callable[[Path], "Artefact"]) -> None:
        place = out / kind
        if not place.exists():
            made[kind] = make(place)
            return
        artefact = open_artefact(place, kind=kind)  # type: ignore[arg-type]
        expected = tuple(made[parent].id for parent in parents)
        if artefact.manifest.parents != expected or artefact.manifest.seed not in (seed, None):
            raise Refusal(f"{place} is from another demo", "remove it, or name another --out")
        made[kind] = artefact

    def design(place: Path) -> "Artefact":
        from opticaldr.models.training import DesignConfig, design_lens, load_config

        return design_lens(load_config(DesignConfig, Path("quick")), place, seed, progress)

    def mask(place: Path) -> "Artefact":
        from opticaldr.hardware.fabrication import fabricate

        return fabricate(made["design"], PROCESS, place, parts=PARTS, seed=seed, progress=progress)

    def calibration(place: Path) -> "Artefact":
        from opticaldr.calibration.calibrate import calibrate
        from opticaldr.hardware.rig import load_rig

        return calibrate(made["design"], load_rig("simulated"), place, seed=seed, progress=progress)

    def head(place: Path) -> "Artefact":
        from opticaldr.models.training import FinetuneConfig, finetune

        config = FinetuneConfig.model_validate(ADAPTATION)
        return finetune(made["design"], made["calibration"], config, place, seed, progress)

    def bundle(place: Path) -> "Artefact":
        from opticaldr.artefacts import create_key, load_key
        from opticaldr.models.export import export

        key = out / "signing.key"
        signer = load_key(key) if key.exists() else create_key(key)
        return export(
            made["head"], made["calibration"], signer, place, seed=seed, progress=progress, frames=JUDGED
        )

    def evaluation(place: Path) -> "Artefact":
        from opticaldr.models.evaluation import evaluate

        known = faces if recogniser is not None else None
        return evaluate(made["head"], place, faces=known, recogniser=recogniser, seed=seed, progress=progress)

    step("design", (), design)
    step("mask", ("design",), mask)
    step("calibration", ("design",), calibration)
    step("head", ("design", "calibration"), head)
    step("bundle", ("head", "calibration"), bundle)
    step("evaluation", ("head",), evaluation)
    return made


def run_bundle(out: Path, bundle: "Artefact", seed: int) -> dict[str, Any]:
    """Run the device before a simulated subject, then again and take its mask off, and sum both up."""
    from opticaldr.device.confinement import examine
    from opticaldr.device.run import run

    def watch(unmask_at: int | None = None) -> dict[str, Any]:
        return run(
            bundle.path,
            source="simulated:7",
            frames=FRAMES,
            out=out / "run",
            seed=seed,
            unmask_at=unmask_at,
            development=bool(unenforced),
        )

    unenforced = examine()
    return {**watch(), "unmasked": watch(unmask_at=FRAMES // 2), "unenforced": unenforced}
