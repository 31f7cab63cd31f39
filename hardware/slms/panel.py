"""What a spatial light modulator is, in figures with their sources."""

import tomllib
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from opticaldr.errors import Refusal

FIGURES = ("columns", "rows", "pitch", "fill_factor", "bits")


class Panel(BaseModel):
    """A phase-only SLM.

    ``pitch`` is metres, ``fill_factor`` the modulated share of a pixel's area, ``sources`` says where each
    figure comes from and ``unconfirmed`` which of them to check against the unit's own sheet.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    title: str
    columns: Annotated[int, Field(gt=0)]
    rows: Annotated[int, Field(gt=0)]
    pitch: Annotated[float, Field(gt=0, le=1e-3)]
    fill_factor: Annotated[float, Field(gt=0, le=1)]
    bits: Annotated[int, Field(ge=1, le=16)]
    sources: dict[str, str]
    unconfirmed: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _every_figure_has_a_source(self) -> Self:
        missing = [figure for figure in FIGURES if not self.sources.get(figure)]
        unknown = [figure for figure in self.unconfirmed if figure not in FIGURES]
        if missing or unknown:
            raise ValueError(f"no source for {missing}" if missing else f"unknown figure {unknown}")
        return self

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.rows, self.columns

    def grid(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Where the middles of columns ``[column]`` and rows ``[row]`` lie, metres from the panel's middle."""
        x = (np.arange(self.columns, dtype=np.float64) - (self.columns - 1) / 2) * self.pitch
        y = (np.arange(self.rows, dtype=np.float64) - (self.rows - 1) / 2) * self.pitch
        return x, y

    @property
    def levels(self) -> int:
        """Grey levels that can be sent."""
        return 1 << self.bits


@cache
def panels() -> dict[str, Panel]:
    """The presets by name."""
    text = files("opticaldr.hardware.slms").joinpath("presets.toml").read_text(encoding="utf-8")
    return {name: Panel.model_validate(entry) for name, entry in tomllib.loads(text).items()}


def panel(name: str) -> Panel:
    """A preset by name, or a panel of one's own if ``name`` is the path of a TOML file.

    Raises:
        Refusal: unknown name, or a file that is not a panel (a figure without a source included).
    """
    if not name.endswith(".toml"):
        if name not in panels():
            raise Refusal(
                f"no SLM is called {name}", f"choose one of {', '.join(panels())} or give a TOML file"
            )
        return panels()[name]
    try:
        return Panel.model_validate(tomllib.loads(Path(name).read_text(encoding="utf-8")))
    except OSError as error:
        raise Refusal(f"{name} cannot be read ({error.strerror})", "check the path") from None
    except tomllib.TOMLDecodeError as error:
        raise Refusal(f"{name} is not TOML: {error}", "mend the line it names") from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the panel"
        raise Refusal(f"{name}: {where}: {first['msg']}", "see hardware/slms/presets.toml for one") from None
