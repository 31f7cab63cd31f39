"""Options that every verb shares, so that they read the same everywhere."""

from pathlib import Path
from typing import Annotated

import typer

Out = Annotated[
    Path | None,
    typer.Option("--out", help="Folder to make. Default: runs/<kind>-<short id>.", show_default=False),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object to stdout and nothing else.")]
Seed = Annotated[int, typer.Option("--seed", min=0, help="Seed of everything random.")]
AcceptFailedGates = Annotated[
    bool, typer.Option("--accept-failed-gates", help="Go on although the calibration failed a quality gate.")
]
Faces = Annotated[
    Path | None,
    typer.Option(
        "--faces", help="Also on photographs: a folder with one folder per person.", show_default=False
    ),
]
Recogniser = Annotated[
    Path | None,
    typer.Option(
        "--recogniser",
        help="ONNX face embedding network for the photographs, its TOML beside it.",
        show_default=False,
    ),
]
