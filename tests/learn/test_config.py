"""Configs: every default visible, mistakes refused by name."""

import pytest

from opticaldr.cli.config import one_line_errors
from opticaldr.errors import Refusal
from opticaldr.models.training.config import DesignConfig, FinetuneConfig, config_toml, load_config


@pytest.mark.parametrize("model", [DesignConfig, FinetuneConfig])
def test_what_is_printed_reads_back_as_the_same(model, tmp_path):
    file = tmp_path / "c.toml"
    file.write_text(config_toml(model()), encoding="utf-8")
    assert load_config(model, file) == model()


def test_the_larger_preset_is_a_valid_config(tmp_path):
    from pathlib import Path

    full = load_config(DesignConfig, Path("full"))
    assert full.lens.steps > DesignConfig().lens.steps
    assert full.lens.target_auc == DesignConfig().lens.target_auc


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[lens]\nsteps = 0\n", ["lens.steps is 0", "at least 1 and at most 1000000"]),
        ("[lens]\ntarget_auc = 0.3\n", ["lens.target_auc is 0.3", "at least 0.5 and at most 1"]),
        ("[lens]\nstepz = 3\n", ["unknown key", "lens.stepz = 3"]),
        ("[lens]\nprivacy = 'none'\n", ["lens.privacy is 'none'", "'constraint' or 'weight'"]),
        ("[lens]\npsf = 40\n", ["even side"]),
        ("[subjects]\ntrain = 'many'\n", ["subjects.train is 'many'"]),
        ("[lens\n", ["not valid TOML"]),
    ],
)
def test_a_mistake_is_one_line_with_key_value_and_range(text, says, tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text(text)
    with pytest.raises(Refusal) as refusal, one_line_errors(file, DesignConfig):
        load_config(DesignConfig, file)
    line = str(refusal.value)
    assert "\n" not in line
    for part in says:
        assert part in line
    assert "mine.toml" in line


def test_a_config_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(Refusal, match=r"no\.toml"):
        load_config(DesignConfig, tmp_path / "no.toml")
