"""The verbs as far as they go without learning anything."""

import json
import tomllib
from importlib import resources

import pytest
import typer
from typer.testing import CliRunner

from opticaldr.artefacts import open_artefact
from opticaldr.cli import design, export, finetune
from opticaldr.errors import Refusal
from opticaldr.models.optics import preset
from opticaldr.models.training import DesignConfig, FinetuneConfig
from tests.data import miniatures


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


def test_optics_of_ones_own_are_a_preset(tmp_path):
    own = resources.files("opticaldr.models.optics") / "presets" / "clinic.toml"
    (tmp_path / "mine.toml").write_text(own.read_text().replace('name = "clinic"', 'name = "mine"'))
    config = DesignConfig(preset=str(tmp_path / "mine.toml"))
    assert config.optics() == preset("clinic").model_copy(update={"name": "mine"})
    with pytest.raises(Refusal, match=r"absent\.toml is missing"):
        DesignConfig(preset=str(tmp_path / "absent.toml")).optics()


def test_a_preset_that_there_is_not_is_refused_before_a_config_is_printed(tmp_path):
    for name in ("nonsense", str(tmp_path / "absent.toml")):
        refused = run(design.design, "--preset", name, "--print-config")
        assert isinstance(refused.exception, Refusal)
        assert refused.stdout == ""


def test_export_refuses_what_is_no_artefact(tmp_path):
    refused = run(export.export, tmp_path, "--calibration", tmp_path, "--key", tmp_path / "k")
    assert isinstance(refused.exception, Refusal)
    assert not (tmp_path / "k").exists()


def test_finetune_without_its_inputs_is_wrong_usage():
    assert run(finetune.finetune).exit_code == 2


@pytest.mark.slow
def test_a_design_is_learned_on_data_sets_named_on_the_command_line(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    celeba = miniatures.celeba(tmp_path / "celeba", people=30)
    avec = miniatures.avec(tmp_path / "avec", 2014, each=4)
    (celeba / "Img" / "img_align_celeba" / "000020.jpg").write_bytes(b"")
    config = tmp_path / "c.toml"
    config.write_text(
        "[subjects]\nframes = 4\ndepths = [0.6, 0.9]\n[data]\naligned = true\n"
        "[lens]\nsteps = 4\nbatch = 16\nmodes = [4, 5, 6]\npsf = 21\n[networks]\nsteps = 4\n"
        "[recogniser]\nsteps = 4\n[head]\nsteps = 4\n[joint]\nsteps = 2\nwindows = 2\n"
    )
    made = run(
        design.design, "--data", f"celeba:{celeba}", "--clips", f"avec2014:{avec}", "--config", config,
        "--out", tmp_path / "design", "--json",
    )  # fmt: skip
    assert made.exit_code == 0, made.exception
    said = json.loads(made.stdout)
    assert said["skipped"] == 1
    assert set(said["protocols"]) == {"official", "subject-disjoint"}
    sealed = open_artefact(tmp_path / "design", kind="design")
    metrics = sealed.json("metrics.json")
    assert metrics["protocols"]["official"]["sessions"] == 4
    assert metrics["protocols"]["subject-disjoint"]["sessions"] == 3  # without person 203, who is in training
    low, high = metrics["protocols"]["official"]["lookup"]["mae"][1:]
    assert low <= metrics["protocols"]["official"]["lookup"]["mae"][0] <= high
    assert set(metrics["factors"]) >= {"Smiling", "nose_x", "mean"}
    page = sealed.file("report.html").read_text()
    assert "000020.jpg is empty" in page
    assert "subject-disjoint" in page
