"""The drawing and the tables of docs/architecture.md say what the code does."""

import re
import tomllib
from pathlib import Path
from xml.etree import ElementTree

import pytest

HOUSE = Path(__file__).parents[2]
PAGE = (HOUSE / "docs/architecture.md").read_text() if (HOUSE / "docs").exists() else ""


def floors_enforced() -> list[set[str]]:
    contracts = tomllib.loads((HOUSE / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    layers = next(contract["layers"] for contract in contracts if contract["type"] == "layers")
    return [{room.strip().removeprefix("opticaldr.") for room in layer.split("|")} for layer in layers]


def floors_drawn() -> list[set[str]]:
    svg = ElementTree.parse(HOUSE / "docs/images/architecture.svg").getroot()
    texts = [t for t in svg.iter("{http://www.w3.org/2000/svg}text") if t.get("class") == "name"]
    rooms = {room for floor in floors_enforced() for room in floor}
    heights = sorted({float(t.get("y")) for t in texts if t.text in rooms})
    return [{t.text for t in texts if float(t.get("y")) == height} for height in heights]


def test_the_drawing_shows_the_floors_that_are_enforced():
    assert floors_drawn() == floors_enforced()


@pytest.mark.parametrize("path", sorted(set(re.findall(r"`([\w/]+\.(?:py|toml|md|html))`", PAGE))))
def test_files_that_the_page_names_exist(path):
    found = list(HOUSE.glob(path)) + list(HOUSE.glob(f"*/**/{path}"))
    assert [file for file in found if not {"build", ".venv"} & set(file.relative_to(HOUSE).parts)]
