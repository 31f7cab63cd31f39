"""What training can be told, with every default; TOML on disk."""

import json
import tomllib
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Annotated, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, model_validator

from opticaldr.errors import Refusal
from opticaldr.models.optics import OpticsSpec, load_spec, preset

C = TypeVar("C", bound="_Config")

Count = Annotated[int, Field(ge=1, le=1_000_000)]
Rate = Annotated[float, Field(gt=0, le=10)]


class _Config(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class SubjectsConfig(_Config):
    """Who is filmed, how often and from how far."""

    train: Annotated[int, Field(ge=8, le=100_000)] = 160
    """People that everything is trained on."""
    test: Annotated[int, Field(ge=4, le=100_000)] = 40
    """People that are never trained on, on whom every figure is taken."""
    validation: Annotated[int, Field(ge=4, le=100_000)] = 20
    """People on whom the head's uncertainty is calibrated, or by whom an adaptation is stopped."""
    sessions: Annotated[int, Field(ge=2, le=1000)] = 2
    """Recordings of each person."""
    frames: Annotated[int, Field(ge=4, le=10_000)] = 12
    """Frames of each recording, which is also the head's window."""
    fps: Annotated[float, Field(gt=0, le=120)] = 1.0
    depths: Annotated[tuple[Annotated[float, Field(ge=0.05, le=100)], ...], Field(min_length=1)] = (
        0.5,
        0.65,
        0.85,
    )
    """Metres from pupil to subject."""


class DataConfig(_Config):
    """Data sets in place of simulated subjects, by kind and place: ``celeba:DIR``, ``avec2014:DIR`` …"""

    pictures: tuple[str, ...] = ()
    """What lens and network learn from; people have to be known in at least one of them."""
    clips: str | None = None
    """What the temporal head learns from; films with BDI-II totals."""
    detector: str | None = None
    """ONNX file of a YuNet face detector, for sets that bring no landmarks."""
    aligned: bool = False
    """Whether films have been cropped and aligned already."""
    windows: Annotated[int, Field(ge=1, le=1000)] = 4
    """Windows taken from every film, evenly spaced."""
    limit: Annotated[int, Field(ge=1)] | None = None
    """At most this many recordings of each split, drawn at random; all if not given."""
    cache: Annotated[float, Field(gt=0, le=100_000)] = 32.0
    """GiB on disk for decoded scenes."""


class LensConfig(_Config):
    """Learning the lens with the network, against opponents."""

    steps: Count = 150
    batch: Annotated[int, Field(ge=16, le=4096)] = 48
    samples: Annotated[int, Field(ge=64, le=8192)] | None = None
    """Samples across the pupil; the preset's if not given. A surface may be as steep as they can say."""
    modes: Annotated[tuple[Annotated[int, Field(ge=4, le=2000)], ...], Field(min_length=1)] | None = None
    """Noll indices that are learned; all from 4 up to the preset's ``mask.modes`` if not given."""
    fan: Annotated[float, Field(ge=0, le=100)] = 8.5
    """Where it starts: superpixels to either side over which the surface spreads a point along x. 0 is a flat plate."""
    start: Annotated[float, Field(ge=0, le=50)] = 0.1
    """Root mean square of what is added at random to each coefficient, superpixels that it throws its furthest ray."""
    tolerance: Annotated[float, Field(ge=0, le=10)] = 0.05
    """Fabrication error drawn in every batch: standard deviation of each coefficient, micrometres."""
    privacy: Literal["constraint", "weight"] = "constraint"
    """Whether ``weight`` is only where the Lagrange multiplier starts, or stays."""
    target_auc: Annotated[float, Field(ge=0.5, le=1)] = 0.65
    """What the best opponent's verification AUC on people it was not trained on shall not exceed."""
    weight: Annotated[float, Field(ge=0, le=1000)] = 0.03
    multiplier_rate: Rate = 0.01
    most: Annotated[float, Field(gt=0, le=1000)] = 0.1
    """Where the multiplier stops: what utility is worth if the target is out of the lens's reach."""
    stop_edge: Annotated[float, Field(gt=0, lt=0.5)] = 0.15
    """Spatial frequency beyond which the lens shall pass little, cycles a superpixel."""
    stop_transfer: Annotated[float, Field(gt=0, le=1)] = 0.06
    """Mean squared modulation transfer that is allowed beyond it."""
    lens_rate: Rate = 0.01
    """Adam's rate for the coefficients, superpixels a step."""
    network_rate: Rate = 3e-3
    opponents: Annotated[int, Field(ge=1, le=16)] = 2
    """Recognisers that the lens is learned against; the best one counts."""
    redraw: Count = 60
    """Steps after which the next of them begins again from random weights."""
    opponent_rate: Rate = 3e-3
    psf: Annotated[int, Field(ge=3, le=1001)] = 41
    """Side of the PSF in superpixels, odd."""

    @model_validator(mode="after")
    def _odd(self) -> Self:
        if self.psf % 2 == 0:
            raise ValueError(f"lens.psf is {self.psf}: an even side has no middle")
        return self


class FitConfig(_Config):
    """Steps, batch and rate of one network on frozen optics."""

    steps: Count
    batch: Annotated[int, Field(ge=8, le=65_536)] = 48
    rate: Rate = 2e-3


class JointConfig(_Config):
    """Lens, network and head together at a low rate, the constraint kept."""

    steps: Annotated[int, Field(ge=0, le=1_000_000)] = 20
    """0 leaves this stage out."""
    windows: Annotated[int, Field(ge=2, le=4096)] = 6
    """Clips in a batch, beside the ``lens.batch`` pictures."""
    rate: Rate = 2e-4
    """Adam's rate for network and head."""
    lens_rate: Rate = 5e-3
    """Adam's rate for the coefficients, superpixels a step."""


class DesignConfig(_Config):
    """`opticaldr design`: how a lens and its networks are learned. The defaults take some five minutes on two cores."""

    preset: str = "clinic"
    network: Literal["compact", "sanet"] = "compact"
    """What looks at frames: small enough for the device, or six times as dear."""
    attackers: Annotated[int, Field(ge=1, le=100)] = 1
    """Read-outs: recognisers trained on what the finished lens captures, each from another seed; the best counts."""
    precision: Literal["32-true", "bf16-mixed"] = "32-true"
    """Of the convolutions; optics and losses always are in single precision."""
    subjects: SubjectsConfig = SubjectsConfig()
    data: DataConfig = DataConfig()
    lens: LensConfig = LensConfig()
    networks: FitConfig = FitConfig(steps=320, rate=3e-3)
    """Network on what the finished lens captures."""
    recogniser: FitConfig = FitConfig(steps=120)
    """Recogniser trained from scratch on what the finished lens captures: the read-out."""
    head: FitConfig = FitConfig(steps=300, batch=64, rate=3e-3)
    joint: JointConfig = JointConfig()
    checkpoint_every: Count = 20
    """Steps between two checkpoints."""

    def optics(self) -> OpticsSpec:
        """The preset (a name, or a TOML file of one's own), its pupil sampled as ``lens.samples`` says.

        Raises:
            Refusal: unknown preset.
        """
        spec = load_spec(Path(self.preset)) if self.preset.endswith(".toml") else preset(self.preset)
        if self.lens.samples is None:
            return spec
        return spec.model_copy(update={"pupil": spec.pupil.model_copy(update={"samples": self.lens.samples})})


class FinetuneConfig(_Config):
    """`opticaldr finetune`. The lens is fixed."""

    subjects: SubjectsConfig = SubjectsConfig(train=80, test=40)
    adapt: Literal["head", "statistics", "normalisation", "all"] = "all"
    """What of the frame network may change: nothing, the statistics of its normalisation (from unlabelled frames),
    scales and shifts, or every weight; the temporal head always does."""
    anchor: Annotated[float, Field(ge=0, le=100)] = 1e-3
    """Pull towards the weights that the networks came with, against forgetting."""
    unlabelled: Annotated[int, Field(ge=64, le=100_000)] = 512
    """Captured frames without labels, for ``adapt = "statistics"`` and its figure."""
    privacy_margin: Annotated[float, Field(ge=0, le=0.5)] = 0.05
    """How much higher the read-out recogniser's AUC on the built optics may be than on the design's."""
    recogniser: FitConfig = FitConfig(steps=60)
    """The read-out, trained from scratch on either optics."""
    networks: FitConfig = FitConfig(steps=60, rate=1e-3)
    head: FitConfig = FitConfig(steps=200, batch=64, rate=2e-3)
    checkpoint_every: Count = 20


PRESETS = ("quick", "full")
"""Configs that ship: a trial of a minute or two, and one for a workstation."""


def load_config(model: type[C], path: Path | None) -> C:
    """Read a config from TOML; ``path`` None gives the defaults, for designs a word of `PRESETS` the file here.

    Raises:
        Refusal: no such file or not TOML. A wrong key or value raises pydantic's ``ValidationError``, which
            the command line puts into words.
    """
    if path is None:
        return model()
    preset = resources.files("opticaldr.models.training").joinpath(f"{path}.toml")
    try:
        text = (
            preset.read_text() if model is DesignConfig and str(path) in PRESETS else path.read_text("utf-8")
        )
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not text"
        raise Refusal(f"cannot read the config {path} ({reason})", "check the path") from None
    try:
        return model.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise Refusal(f"{path} is not valid TOML: {error}", "mend the line it names") from None


def config_toml(config: BaseModel) -> str:
    """A config as TOML with its documentation as comments; `load_config` reads it back."""
    return "\n".join(_toml_lines(config, "")) + "\n"


def _toml_lines(config: BaseModel, table: str) -> Iterator[str]:
    tables = []
    for name, field in type(config).model_fields.items():
        value = getattr(config, name)
        if isinstance(value, BaseModel):
            tables.append((name, value, field.description))
            continue
        if field.description:
            yield from _comment(field.description)
        # JSON writes strings, numbers, booleans and arrays as TOML does. TOML has no null: such a key is
        # left out.
        yield f"# {name} is not set" if value is None else f"{name} = {json.dumps(value)}"
    for name, value, description in tables:
        yield ""
        if about := description or type(value).__doc__:
            yield from _comment(about)
        yield f"[{table}{name}]"
        yield from _toml_lines(value, f"{table}{name}.")


def _comment(text: str) -> Iterator[str]:
    return (f"# {line.strip()}".rstrip() for line in text.strip().splitlines())
