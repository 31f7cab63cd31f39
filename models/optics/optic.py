"""One optical head: its spec and the height map of its mask, as designed or as found to be built."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from opticaldr.errors import Refusal
from opticaldr.models.optics.geometry import check_height
from opticaldr.models.optics.specs import OpticsSpec


@dataclass(frozen=True)
class Optic:
    """What exists or shall exist: `spec`, and `height` in metres [y, x] over the pupil's square grid (float64)."""

    spec: OpticsSpec
    height: NDArray[np.float64]

    def __post_init__(self) -> None:
        object.__setattr__(self, "height", np.asarray(self.height, dtype=np.float64))
        check_height(self.height, self.spec)
        if not np.all(np.isfinite(self.height)):
            raise Refusal("height is not finite everywhere", "look for NaN or infinity in the height map")

    def write(self, folder: Path) -> None:
        """Write `optics.json` and `height.npy` into an existing folder."""
        (folder / "optics.json").write_text(self.spec.model_dump_json(indent=2) + "\n", encoding="utf-8")
        np.save(folder / "height.npy", self.height, allow_pickle=False)

    @classmethod
    def read(cls, folder: Path) -> "Optic":
        """Read what `write` wrote."""
        try:
            spec = OpticsSpec.model_validate_json((folder / "optics.json").read_bytes())
            height = np.load(folder / "height.npy", allow_pickle=False)
        except FileNotFoundError as error:
            raise Refusal(
                f"{error.filename} is missing", "name a folder that holds optics.json and height.npy"
            ) from None
        except (ValidationError, ValueError) as error:
            raise Refusal(
                f"the optic in {folder} cannot be read: {error}", "write it again with Optic.write"
            ) from None
        return cls(spec, height)
