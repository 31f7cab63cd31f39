"""A sealed folder is what it was, or it is refused by name."""

import errno
import json
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from opticaldr.artefacts import ancestry_lines, create, open_artefact
from opticaldr.errors import Refusal


@pytest.fixture
def design(tmp_path):
    with create("design", tmp_path / "design", seed=3) as draft:
        (draft.path / "metrics.json").write_text('{"auc": 0.5}')
        (draft.path / "maps").mkdir()
        (draft.path / "maps" / "height.bin").write_bytes(bytes(range(256)))
    return draft.sealed()


def test_what_is_written_is_what_is_read(design):
    opened = open_artefact(design.path, kind="design")
    assert opened.manifest == design.manifest
    assert opened.json("metrics.json") == {"auc": 0.5}
    assert opened.file("maps/height.bin").read_bytes() == bytes(range(256))


def test_same_content_has_the_same_id(tmp_path):
    ids = set()
    for name in ("a", "b"):
        with create("design", tmp_path / name, seed=1) as draft:
            (draft.path / "x").write_text("same")
        ids.add(draft.sealed().id)
    assert len(ids) == 1
    with create("design", tmp_path / "c", seed=2) as draft:
        (draft.path / "x").write_text("same")
    assert draft.sealed().id not in ids


def test_default_place_is_runs_and_making_it_twice_is_no_error(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        with create("mask") as draft:
            (draft.path / "x").write_text("1")
    assert draft.sealed().path == Path("runs") / f"mask-{draft.sealed().id[:8]}"
    assert [p.name for p in Path("runs").iterdir()] == [draft.sealed().path.name]


@pytest.mark.proves("USER-1")
@pytest.mark.parametrize("failure", [RuntimeError("no"), KeyboardInterrupt()])
def test_a_failure_leaves_nothing_behind(tmp_path, failure):
    with pytest.raises(type(failure)), create("mask", tmp_path / "mask") as draft:
        (draft.path / "half").write_text("half")
        raise failure
    assert list(tmp_path.iterdir()) == []


def test_a_full_device_is_said_in_one_line_and_leaves_nothing(tmp_path):
    with pytest.raises(Refusal, match="no space left"), create("mask", tmp_path / "mask"):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert list(tmp_path.iterdir()) == []


def test_an_existing_folder_is_never_overwritten(design):
    before = (design.path / "manifest.json").read_bytes()
    with pytest.raises(Refusal, match="exists already"), create("design", design.path):
        pass
    assert (design.path / "manifest.json").read_bytes() == before


def test_a_folder_that_appears_meanwhile_is_not_overwritten(tmp_path):
    with pytest.raises(Refusal, match="appeared"), create("mask", tmp_path / "mask"):
        (tmp_path / "mask").mkdir()
        (tmp_path / "mask" / "theirs").write_text("theirs")
    assert (tmp_path / "mask" / "theirs").read_text() == "theirs"


def refused(path, *words, kind="design"):
    with pytest.raises(Refusal) as refusal:
        open_artefact(path, kind=kind)
    message = str(refusal.value)
    assert "\n" not in message
    for word in words:
        assert word in message


def test_faults_are_named_with_file_and_remedy(design):
    file = design.path / "metrics.json"
    content = file.read_bytes()
    file.write_bytes(content[:-1])
    refused(design.path, "metrics.json", "SHA-256", "make it anew")
    file.unlink()
    refused(design.path, "metrics.json", "missing", "make it anew")
    file.write_bytes(content)
    refused(design.path, "is a design, not a mask", kind="mask")
    refused(design.path / "nowhere", "does not exist")
    refused(design.path / "maps", "not an artefact")


def test_a_newer_schema_asks_for_an_update(design):
    file = design.path / "manifest.json"
    manifest = json.loads(file.read_text())
    file.write_text(json.dumps(manifest | {"schema_version": 99}))
    refused(design.path, "schema version 99", "update opticaldr")


def test_an_edited_manifest_does_not_match_its_id(design):
    file = design.path / "manifest.json"
    manifest = json.loads(file.read_text())
    for edit in ({"seed": 4}, {"parents": ["0" * 64]}, {"files": {}}):
        file.write_text(json.dumps(manifest | edit))
        refused(design.path, "does not match its own id")
    file.write_text("[]")
    refused(design.path, "not a readable manifest")


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(where=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7), which=st.integers(0, 1))
def test_any_changed_bit_of_any_file_is_noticed(design, where, bit, which):
    file = design.path / sorted(design.manifest.files)[which]
    content = bytearray(file.read_bytes())
    kept = bytes(content)
    content[int(where * len(content))] ^= 1 << bit
    file.write_bytes(content)
    try:
        refused(design.path, file.name, "SHA-256")
    finally:
        file.write_bytes(kept)


def test_ancestry_reaches_the_phase_profile_without_its_folder(design, tmp_path):
    with create("calibration", tmp_path / "cal", parents=[design]) as draft:
        (draft.path / "psf").write_text("p")
    calibration = draft.sealed()
    with create("head", tmp_path / "head", parents=[design, calibration]) as draft:
        (draft.path / "w").write_text("w")
    lines = list(ancestry_lines(open_artefact(tmp_path / "head").manifest))
    assert lines[0].startswith("head ")
    assert lines[1].startswith("├─ design " + design.id[:8])
    assert lines[2].startswith("└─ calibration ")
    assert lines[3].startswith("   └─ design ")
    assert lines[3].endswith("(above)")
