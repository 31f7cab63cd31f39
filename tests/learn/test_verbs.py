"""The verbs as far as they go without learning anything."""

import tomllib

import pytest
import typer
from typer.testing import CliRunner

from opticaldr.cli import design, export, finetune
from opticaldr.errors import Refusal
from opticaldr.models.training import DesignConfig, FinetuneConfig


def run(verb, *arguments):
    app = typer.Typer()
    app.command()(verb)
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.mark.parametrize(
    ("verb", "model"), [(design.design, DesignConfig), (finetune.finetune, FinetuneConfig)]
)
def test_printed_config_is_the_whole_config(verb, model):
    printed = run(verb, "--print-config")
    assert printed.exit_code == 0
    assert model.model_validate(tomllib.loads(printed.stdout)) == model()


def test_a_wrong_key_is_refused_before_anything_is_made(tmp_path):
    (tmp_path / "c.toml").write_text("[head]\nsteps = -1\n")
    refused = run(design.design, "--config", tmp_path / "c.toml", "--out", tmp_path / "design")
    assert isinstance(refused.exception, Refusal)
    assert "head.steps is -1" in str(refused.exception)
    assert not (tmp_path / "design").exists()


def test_optics_are_drawn_without_learning(tmp_path):
    (tmp_path / "c.toml").write_text("[subjects]\ndepths = [0.6]\n")
    drawn = run(
        design.design, "--config", tmp_path / "c.toml", "--show-optics", tmp_path / "optics.html", "--json"
    )
    assert drawn.exit_code == 0, drawn.exception
    assert (tmp_path / "optics.html").read_text().count("<img") == 4


def test_export_refuses_what_is_no_artefact(tmp_path):
    refused = run(export.export, tmp_path, "--calibration", tmp_path, "--key", tmp_path / "k")
    assert isinstance(refused.exception, Refusal)
    assert not (tmp_path / "k").exists()


def test_finetune_without_its_inputs_is_wrong_usage():
    assert run(finetune.finetune).exit_code == 2
