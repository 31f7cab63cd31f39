"""``opticaldr bundle``, and everything that is refused by name before a camera runs it."""

import hashlib
import json
import shutil
from datetime import UTC, datetime, timedelta

import pytest
from onnx import TensorProto, helper
from typer.testing import CliRunner

from opticaldr.artefacts import create, create_key, load_public_key
from opticaldr.artefacts.bundle import (
    BundleSpec,
    CameraMode,
    Interlock,
    Window,
    resign_bundle,
    sign_bundle,
    verify_bundle,
)
from opticaldr.cli.main import app
from opticaldr.errors import Refusal
from opticaldr.models.export import export

SPEC = BundleSpec(
    design="d" * 64,
    calibration="c" * 64,
    networks="n" * 64,
    camera=CameraMode(
        rows=16, columns=16, bayer="RGGB", bits=10, black_level=60, white_level=1023, binning=8
    ),
    window=Window(frames=4, fps=1.0),
    embedding=2,
    interlock=Interlock(
        transfer_limit=0.1, ceiling=0.1, floor=1.0, electrons=(1.0, 1.0, 1.0), read_noise=(0.0, 0.0, 0.0)
    ),
    opset=20,
)


def graph(opset=20, design=SPEC.design):
    """A graph that does nothing, with our metadata unless ``design`` is None."""
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in ("x", "y")]
    model = helper.make_model(
        helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "g", values[:1], values[1:]),
        opset_imports=[helper.make_opsetid("", opset)],
        ir_version=10,
    )
    if design is not None:
        helper.set_model_props(model, {"opticaldr.design": design, "opticaldr.calibration": SPEC.calibration})
    return model.SerializeToString()


@pytest.fixture
def made(tmp_path):
    """A function that signs a bundle around any frame graph, and the key's two files."""
    create_key(tmp_path / "maker.key")

    def make(frame=None, name="bundle", **changes):
        from opticaldr.artefacts import load_key

        with create("bundle", tmp_path / name) as draft:
            (draft.path / "frame.onnx").write_bytes(graph() if frame is None else frame)
            (draft.path / "head.onnx").write_bytes(graph())
            (draft.path / "bundle.json").write_text(SPEC.model_copy(update=changes).model_dump_json())
            sign_bundle(draft.path, (), load_key(tmp_path / "maker.key"))
        return draft.sealed()

    return make


def refused(bundle, key):
    result = CliRunner().invoke(app, ["bundle", "verify", str(bundle.path), "--key", str(key)])
    assert isinstance(result.exception, Refusal)
    return str(result.exception)


def test_a_good_bundle_is_verified_and_inspected(made, tmp_path):
    bundle = made()
    result = CliRunner().invoke(
        app, ["bundle", "verify", str(bundle.path), "--key", str(tmp_path / "maker.key.pub"), "--json"]
    )
    assert json.loads(result.stdout)["verified"] is True
    told = json.loads(CliRunner().invoke(app, ["bundle", "inspect", str(bundle.path), "--json"]).stdout)
    assert told["runs"] == "frame.onnx"
    assert told["design"] == SPEC.design


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (graph(design=None), "was not exported by opticaldr"),
        (graph(design="e" * 64), "belongs to another design"),
        (graph()[:-20], "is not a whole ONNX file"),
        (b"no graph at all", "is not a whole ONNX file"),
        (graph(opset=97), "is too old for"),
    ],
)
def test_graphs_that_are_not_ours_not_whole_or_too_new(made, tmp_path, frame, message):
    assert message in refused(made(frame), tmp_path / "maker.key.pub")


def test_an_expired_calibration(made, tmp_path):
    yesterday = datetime.now(UTC) - timedelta(days=1)
    assert f"expired on {yesterday:%Y-%m-%d}" in refused(made(expires=yesterday), tmp_path / "maker.key.pub")
    fresh = made(name="fresh", expires=yesterday + timedelta(days=2))
    done = CliRunner().invoke(
        app, ["bundle", "verify", str(fresh.path), "--key", str(tmp_path / "maker.key.pub")]
    )
    assert done.exit_code == 0


def test_unsigned_and_wrongly_signed(made, tmp_path):
    bundle = made()
    create_key(tmp_path / "other.key")
    assert "not signed with this key" in refused(bundle, tmp_path / "other.key.pub")
    with create("bundle", tmp_path / "unsigned") as draft:
        for name in ("frame.onnx", "head.onnx", "bundle.json"):
            shutil.copyfile(bundle.file(name), draft.path / name)
    assert "is not signed" in refused(draft.sealed(), tmp_path / "maker.key.pub")


def test_signing_again_keeps_everything_but_the_signature(made, tmp_path):
    bundle, other = made(), create_key(tmp_path / "other.key")
    again = resign_bundle(bundle, other, tmp_path / "again")
    opened, _ = verify_bundle(again.path, load_public_key(tmp_path / "other.key.pub"))
    assert {**opened.manifest.files, "signature.json": ""} == {
        **bundle.manifest.files,
        "signature.json": "",
    }
    with pytest.raises(Refusal, match="not signed with this key"):
        verify_bundle(again.path, load_public_key(tmp_path / "maker.key.pub"))


def test_signing_again_on_the_command_line(made, tmp_path):
    bundle = made()
    create_key(tmp_path / "clinic.key")
    arguments = ["--key", tmp_path / "clinic.key", "--signed-by", tmp_path / "maker.key.pub"]
    command = ["bundle", "sign", bundle.path, *arguments, "--out", tmp_path / "clinic", "--json"]
    done = CliRunner().invoke(app, [str(word) for word in command])
    assert done.exit_code == 0
    told = json.loads(done.stdout)
    opened, spec = verify_bundle(tmp_path / "clinic", load_public_key(tmp_path / "clinic.key.pub"))
    assert told == {"bundle": str(tmp_path / "clinic"), "id": opened.id}
    assert spec == SPEC
    assert verify_bundle(bundle.path, load_public_key(tmp_path / "maker.key.pub"))[0].id == bundle.id
    wrong = [*command[:-2], tmp_path / "other", "--json"]
    wrong[wrong.index(tmp_path / "maker.key.pub")] = tmp_path / "clinic.key.pub"
    refusal = CliRunner().invoke(app, [str(word) for word in wrong])
    assert "not signed with this key" in str(refusal.exception)
    assert not (tmp_path / "other").exists()


def test_keys_that_others_may_read_are_not_used(made, tmp_path):
    bundle, key = made(), tmp_path / "maker.key"
    assert key.stat().st_mode & 0o777 == 0o600
    key.chmod(0o640)
    arguments = ["--key", str(key), "--signed-by", f"{key}.pub", "--out", str(tmp_path / "again")]
    result = CliRunner().invoke(app, ["bundle", "sign", str(bundle.path), *arguments])
    assert "others may read" in str(result.exception)
    assert not (tmp_path / "again").exists()


def aged(artefact, days, out):
    """The same artefact as if made ``days`` ago: the clock is outside its id."""
    shutil.copytree(artefact.path, out)
    manifest = json.loads((out / "manifest.json").read_text())
    manifest["created"] = (datetime.now(UTC) - timedelta(days=days)).isoformat()
    (out / "manifest.json").write_text(json.dumps(manifest))
    from opticaldr.artefacts import open_artefact

    return open_artefact(out)


def test_export_refuses_an_old_calibration_and_another_sensor_mode(
    design, calibration, tmp_path, make_design, spec
):
    key = create_key(tmp_path / "maker.key")
    with pytest.raises(Refusal, match="expired on"):
        export(design, aged(calibration, 400, tmp_path / "old"), key, tmp_path / "bundle")
    other = shutil.copytree(calibration.path, tmp_path / "other")
    optics = json.loads((other / "asbuilt" / "optics.json").read_text())
    optics["sensor"]["bits"] = 12
    (other / "asbuilt" / "optics.json").write_text(json.dumps(optics))
    resealed = reseal(other)
    with pytest.raises(Refusal, match="made for a sensor with bits 10"):
        export(design, resealed, key, tmp_path / "bundle")
    assert not (tmp_path / "bundle").exists()


@pytest.mark.proves("PRIVACY-5")
def test_export_refuses_a_head_whose_optics_give_away_more(design, calibration, tmp_path):
    leaky = shutil.copytree(design.path, tmp_path / "leaky")
    metrics = json.loads((leaky / "metrics.json").read_text())
    metrics["privacy"] = {"design_auc": 0.6, "built_auc": 0.7, "margin": 0.05}
    (leaky / "metrics.json").write_text(json.dumps(metrics))
    from opticaldr.models.export.bundle import require_privacy

    with pytest.raises(Refusal, match=r"AUC 0\.70"):
        require_privacy(reseal(leaky))
    metrics["privacy"]["built_auc"] = 0.64
    (leaky / "metrics.json").write_text(json.dumps(metrics))
    require_privacy(reseal(leaky))


def reseal(folder):
    """An artefact after its files were changed on purpose."""
    from opticaldr.artefacts import Manifest, open_artefact

    manifest = Manifest.model_validate_json((folder / "manifest.json").read_bytes())
    files = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in manifest.files}
    manifest = manifest.model_copy(update={"files": files})
    manifest = manifest.model_copy(update={"id": manifest.content_id()})
    (folder / "manifest.json").write_text(manifest.model_dump_json())
    return open_artefact(folder)
