"""The command line as a person meets it: the real process, its two streams and its exit code."""

import errno
import json
import os
import subprocess
import sys
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest
import typer

from opticaldr.artefacts import create
from opticaldr.cli import doctor, main

VERBS = (
    "design",
    "fabricate",
    "calibrate",
    "finetune",
    "export",
    "run",
    "evaluate",
    "demo",
    "show",
    "doctor",
)


def opticaldr(*arguments, cwd=None):
    command = [sys.executable, "-m", "opticaldr.cli.main", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, check=False)


@pytest.fixture
def mask(tmp_path):
    with create("design", tmp_path / "design", seed=7) as draft:
        (draft.path / "height.bin").write_bytes(b"height")
    with create("mask", tmp_path / "mask", parents=[draft.sealed()]) as draft:
        (draft.path / "mask.stl").write_bytes(b"stl")
    return draft.sealed()


def refused(*arguments, naming, code=1):
    done = opticaldr(*arguments)
    assert done.returncode == code, done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    assert naming in done.stderr
    return done.stderr


def test_every_verb_is_listed_and_explains_itself():
    overview = opticaldr("--help")
    assert overview.returncode == 0
    for verb in VERBS:
        assert f"\n  {verb} " in overview.stdout
        page = opticaldr(verb, "--help")
        assert page.returncode == 0
        assert "--json" in page.stdout


@pytest.mark.parametrize("group", [(), ("audit",), ("board",), ("bundle",), ("camera",), ("slm",)])
def test_no_sentence_is_cut_in_a_narrow_terminal(group, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    listed = opticaldr(*group, "--help").stdout.partition("Commands:\n")[2].splitlines()
    assert listed
    for line in listed:
        assert line.endswith("."), line
        assert not line.endswith("..."), line


def test_help_imports_nothing_heavy():
    script = (
        "import sys; sys.argv = ['opticaldr', '--help']\n"
        "from opticaldr.cli.main import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "heavy = {'numpy', 'torch', 'cv2', 'scipy', 'matplotlib', 'pydantic'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_version_is_the_installed_one():
    assert opticaldr("--version").stdout == f"opticaldr {version('opticaldr')}\n"


def test_wrong_usage_exits_with_2_and_shows_the_usage():
    assert "paint" in refused("paint", naming="Usage: opticaldr", code=2)
    refused("show", naming="artefact", code=2)
    refused("show", "x", "--speed", naming="--speed", code=2)


def test_show_prints_the_manifest_and_the_ancestry(mask):
    done = opticaldr("show", mask.path)
    assert done.returncode == 0
    assert f"mask {mask.id[:8]}" in done.stdout
    assert f"└─ design {mask.manifest.parents[0][:8]}" in done.stdout
    assert "mask.stl" in done.stdout


def test_show_json_is_one_object_and_nothing_else(mask):
    done = opticaldr("show", mask.path, "--json")
    manifest = json.loads(done.stdout)
    assert manifest["id"] == mask.id
    assert done.stderr == ""


@pytest.mark.proves("USER-1")
def test_show_refuses_in_one_line(mask, tmp_path):
    (mask.path / "mask.stl").write_bytes(b"stk")
    line = refused("show", mask.path, naming="mask.stl")
    assert line.count("\n") == 1
    refused("show", tmp_path / "nothing", naming="does not exist")


def test_a_closed_pipe_is_not_a_traceback(mask):
    done = subprocess.run(
        f"{sys.executable} -m opticaldr.cli.main show {mask.path} | head -n 1",
        shell=True,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""


def test_doctor_says_what_each_extra_unlocks():
    done = opticaldr("doctor", "--json")
    assert done.returncode == 0
    report = json.loads(done.stdout)
    assert report["base"] == "complete"
    assert "finetune" in report["design"]
    pyproject = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8"))
    extras = set(pyproject["project"]["optional-dependencies"]) - {"test", "lint"}
    assert extras == set(doctor.UNLOCKS) - {"pi"}


def test_the_demo_refuses_photographs_that_are_not_there_before_it_works_for_minutes(tmp_path):
    refused("demo", "--out", tmp_path / "demo", "--faces", tmp_path / "nowhere", naming="nowhere")
    assert not (tmp_path / "demo").exists()


@pytest.mark.proves("CALIBRATION-4")
@pytest.mark.parametrize("verb", ["evaluate", "ablate"])
def test_nothing_is_judged_on_a_failed_calibration_unless_that_is_accepted(tmp_path, verb):
    with create("calibration", tmp_path / "calibration") as draft:
        gates = [{"name": "linearity", "passed": False}, {"name": "depths", "passed": True}]
        (draft.path / "gates.json").write_text(json.dumps({"passed": False, "gates": gates}))
    said = refused(verb, draft.sealed().path, naming="failed its gate linearity")
    assert "--accept-failed-gates" in said
    assert "linearity" not in refused(
        verb, draft.sealed().path, "--accept-failed-gates", naming="optics.json"
    )


def test_a_refused_permission_is_not_taken_for_a_full_disk(monkeypatch, capsys):
    def forbidden(**options):
        raise PermissionError(errno.EACCES, "Permission denied", "/media/stick/bundle")

    monkeypatch.setattr(main, "app", forbidden)
    with pytest.raises(SystemExit) as end:
        main.main()
    assert end.value.code == 1
    said = capsys.readouterr().err
    assert "/media/stick/bundle: Permission denied; let this user in" in said
    assert "free space" not in said


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written_is_named(mask, tmp_path):
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o500)
    refused("fabricate", mask.path, "--out", locked / "mask", naming=str(locked))


def test_ctrl_c_is_answered_with_a_word(monkeypatch, capsys):
    verb = typer.Typer()

    @verb.command()
    def wait():
        raise KeyboardInterrupt

    monkeypatch.setattr(main, "app", verb)
    monkeypatch.setattr("sys.argv", ["opticaldr"])
    with pytest.raises(SystemExit) as left:
        main.main()
    assert left.value.code == 130
    assert "stopped; nothing half-made was left behind" in capsys.readouterr().err
