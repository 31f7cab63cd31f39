"""The two verbs as a person types them."""

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from opticaldr.artefacts import Artefact
from opticaldr.cli.fabricate import _parsed, fabricate
from opticaldr.cli.inspect import inspect
from opticaldr.errors import Refusal

app = typer.Typer()
app.command()(fabricate)
app.command()(inspect)


COARSE_PANEL = """
title = "32 x 32 pixels of 120 um"
columns = 32
rows = 32
pitch = 120e-6
fill_factor = 0.9
bits = 8
sources = { columns = "made up", rows = "made up", pitch = "made up", fill_factor = "made up", bits = "made up" }
"""


def run(*arguments: object) -> str:
    """Standard output of a verb that succeeds."""
    result = CliRunner().invoke(app, list(map(str, arguments)), catch_exceptions=False)
    assert result.exit_code == 0
    return result.stdout


def test_fabricate_tells_one_json_object(design: Artefact, tmp_path: Path) -> None:
    options = ("--process", "multilevel", "--set", "levels=4", "--set", "pixel=17um", "--parts", 0, "--json")
    told = json.loads(run("fabricate", design.path, *options, "--out", tmp_path / "mask"))
    assert told["psf_correlation"] > 0.9
    assert told["broken_design_rules"] == 0
    settings = json.loads((tmp_path / "mask" / "process.json").read_text())["settings"]
    assert settings["levels"] == 4
    assert settings["pixel"] == pytest.approx(17e-6)


@pytest.mark.parametrize(
    ("settings", "rule"),
    [
        (("--process", "refractive", "--set", "max_slope=0.001"), "slope"),
        (("--process", "slm", "--set", "slm={panel}"), "half a turn a pixel"),
    ],
)
def test_a_broken_rule_is_written_named_and_not_overlooked(
    design: Artefact, tmp_path: Path, settings: tuple[str, ...], rule: str
) -> None:
    """The files are there to be looked at, but a script goes on only where a person has said so."""
    panel = tmp_path / "coarse.toml"
    panel.write_text(COARSE_PANEL)
    arguments = ["fabricate", design.path, *(word.format(panel=panel) for word in settings), "--parts", 0]
    broken = CliRunner().invoke(app, [*map(str, arguments), "--out", str(tmp_path / "broken"), "--json"])
    assert broken.exit_code == 1
    (said,) = (line for line in broken.stderr.splitlines() if f"broken: {rule} (" in line)
    assert "--accept-broken-rules" in said
    assert json.loads(broken.stdout)["broken_rules"][rule] > 0
    assert (tmp_path / "broken" / "report.html").is_file()
    run(*arguments, "--out", tmp_path / "accepted", "--accept-broken-rules")
    for name, accepted in (("broken", False), ("accepted", True)):
        prediction = json.loads((tmp_path / name / "prediction.json").read_text())
        assert prediction["accepted_broken_rules"] is accepted
        assert prediction["broken_rules"][rule] > 0


def test_explain_lists_every_setting_with_its_unit() -> None:
    text = run("fabricate", "--process", "slm", "--explain")
    assert "fill" not in text.split()[0]
    for name in ("slm", "lut", "wavelength", "polarity", "flatness", "mirrored"):
        assert f"\n{name} " in text
    assert "(m)" in text


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("pixel=1um", 1e-6),
        ("form-error=30nm", 30e-9),
        ("base=1.5mm", 1.5e-3),
        ("levels=16", 16),
        ("mirror=true", True),
        ("white=unexposed", "unexposed"),
        ("resolution=[1920, 1080]", [1920, 1080]),
        ("slm=pluto-2-1", "pluto-2-1"),
    ],
)
def test_a_setting_means_what_it_says(text: str, value: object) -> None:
    name, parsed = _parsed(text)
    assert name == text.partition("=")[0].replace("-", "_")
    assert parsed == (pytest.approx(value) if isinstance(value, float) else value)


def test_a_setting_without_a_value_and_a_missing_design_are_refused() -> None:
    with pytest.raises(Refusal, match="--set levels has no value"):
        _parsed("levels")
    with pytest.raises(Refusal, match="no design is named"):
        run("fabricate", "--process", "refractive")
