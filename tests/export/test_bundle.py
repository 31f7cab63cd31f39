"""A bundle is what was exported and signed, to the last byte, and its graphs are the networks."""

import json
import math
import shutil
from datetime import timedelta

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from opticaldr.artefacts import create_key, load_public_key
from opticaldr.artefacts.bundle import CameraMode, verify_bundle
from opticaldr.errors import Refusal
from opticaldr.models.export import NotTheSame, export
from opticaldr.models.export import bundle as bundle_module
from opticaldr.models.export.bundle import measure_int8
from opticaldr.models.export.card import model_card
from opticaldr.models.export.graphs import Binning, PairedBinning
from opticaldr.models.export.quantise import by_damage, layers
from opticaldr.models.networks import load_networks


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    file = tmp_path_factory.mktemp("keys") / "signing.key"
    return create_key(file), load_public_key(file.with_name("signing.key.pub"))


@pytest.fixture(scope="module")
def bundle(design, calibration, keys, tmp_path_factory):
    return export(design, calibration, keys[0], tmp_path_factory.mktemp("bundle") / "bundle", frames=24)


def test_the_bundle_verifies_and_says_where_it_comes_from(bundle, design, calibration, keys):
    opened, spec = verify_bundle(bundle.path, keys[1])
    assert opened.id == bundle.id
    assert (spec.design, spec.calibration, spec.networks) == (design.id, calibration.id, design.id)
    assert {a.id for a in opened.manifest.ancestors} == {design.id, calibration.id}
    assert spec.window.frames == 6
    assert bundle.json("parity.json")["worst_estimate_difference"] <= 0.01


def test_it_is_trusted_for_a_year_around_the_temperature_of_its_calibration(bundle, calibration, keys):
    spec = verify_bundle(bundle.path, keys[1])[1]
    assert spec.expires == calibration.manifest.created + timedelta(days=365)
    assert spec.interlock.temperatures == (280.0, 320.0)


@pytest.mark.parametrize(
    ("measured", "trusted"),
    [(290.0, (270.0, 310.0)), (315.0, (295.0, 323.0)), (265.0, (268.0, 285.0)), (math.nan, (268.0, 323.0))],
)
def test_no_temperature_beyond_what_the_electronics_stand_is_trusted(
    design, make_calibration, tmp_path, measured, trusted
):
    calibration = make_calibration(tmp_path / "calibration", design, temperature=measured)
    assert bundle_module.temperatures(calibration, (268.0, 323.0)) == trusted


@pytest.mark.proves("BUNDLE-1")
def test_raw_frames_give_what_torch_gives(bundle, design, spec):
    network, head, _ = load_networks(design.file("networks.safetensors"), spec.sensor.binned_shape[0])
    rng = np.random.default_rng(0)
    raws = rng.integers(
        spec.sensor.black_level, spec.sensor.white_level, (6, *spec.sensor.shape), dtype=np.uint16
    )
    frame = onnxruntime.InferenceSession(bundle.file("frame.onnx"), providers=["CPUExecutionProvider"])
    clip = onnxruntime.InferenceSession(bundle.file("head.onnx"), providers=["CPUExecutionProvider"])
    by_graph, by_torch = [], []
    for raw in raws:
        embedding, superpixels = frame.run(["embedding", "superpixels"], {"raw": raw.view(np.int32)})
        # RGGB, taken apart by hand.
        light = (raw.astype(float) - spec.sensor.black_level) / (
            spec.sensor.white_level - spec.sensor.black_level
        )
        red = light[::2, ::2].reshape(64, 4, 64, 4).mean((1, 3))
        blue = light[1::2, 1::2].reshape(64, 4, 64, 4).mean((1, 3))
        green = (light[::2, 1::2] + light[1::2, ::2]).reshape(64, 4, 64, 4).mean((1, 3)) / 2
        binned = np.stack([red, green, blue]).astype(np.float32)
        assert np.abs(superpixels - binned).max() < 1e-5
        by_graph.append(embedding)
        with torch.no_grad():
            by_torch.append(network(torch.from_numpy(binned)[None])[0])
    mean, sigma = clip.run(["mean", "sigma"], {"window": np.stack(by_graph)})
    with torch.no_grad():
        expected = head(torch.stack(by_torch)[None])
    assert float(mean) == pytest.approx(expected[0].item(), abs=0.01)
    assert float(sigma) == pytest.approx(expected[1].item(), abs=0.01)


@pytest.mark.parametrize("bayer", ["RGGB", "BGGR", "GRBG", "GBRG"])
@pytest.mark.parametrize(
    ("binning", "bits", "paired"), [(8, 10, True), (8, 11, True), (8, 12, False), (4, 12, True)]
)
def test_sums_of_pairs_are_sums_of_pixels(bayer, binning, bits, paired):
    """Up to the highest value, at which a bit more would reach the neighbour's half of the word."""
    rows, columns, white = 4 * binning, 6 * binning, 2**bits - 1
    camera = CameraMode(
        rows=rows, columns=columns, bayer=bayer, bits=bits, black_level=60, white_level=white, binning=binning
    )
    assert PairedBinning.holds(camera) is paired
    if not paired:
        return
    raw = np.random.default_rng(0).integers(0, white + 1, (rows, columns), dtype=np.uint16)
    raw[: 2 * binning] = np.where(np.indices((2 * binning, columns))[1] % 2, white, 0)
    raw[2 * binning : 3 * binning] = white
    words = torch.from_numpy(raw.view(np.int32))
    assert torch.allclose(
        PairedBinning(camera)(words), Binning(camera)(torch.from_numpy(raw)), rtol=0, atol=1e-6
    )


def test_the_int8_graph_keeps_the_superpixels_and_its_gates(bundle, spec):
    parity = bundle.json("parity.json")
    assert parity["frames"] >= 24
    if "frame-int8.onnx" not in bundle.manifest.files:
        assert not parity["int8"]["passed"]
        return
    model = onnx.load(bundle.file("frame-int8.onnx"), load_external_data=False)
    onnx.checker.check_model(model, full_check=True)
    assert {opset.domain for opset in model.opset_import} <= {"", "ai.onnx"}
    types = {tensor.name: tensor.data_type for tensor in model.graph.initializer}
    weights = [name for name in types if name.endswith("_quantized") and "bias" not in name]
    assert {types[name] for name in weights} == {onnx.TensorProto.INT8}
    scales = {node.input[1] for node in model.graph.node if node.op_type == "DequantizeLinear"}
    shapes = {tensor.name: list(tensor.dims) for tensor in model.graph.initializer}
    assert any(shapes.get(name, []) and shapes[name][0] > 1 for name in scales)  # one for every channel
    assert parity["int8"]["passed"]
    assert set(parity["int8"]["layers"]).isdisjoint(parity["int8"]["kept_in_float"])
    about = {entry.key: entry.value for entry in model.metadata_props}
    assert about["opticaldr.precision"] == "int8 for x86"
    raw = np.random.default_rng(2).integers(60, 1024, spec.sensor.shape, dtype=np.uint16)
    exact, small = (
        onnxruntime.InferenceSession(bundle.file(name), providers=["CPUExecutionProvider"]).run(
            ["embedding", "superpixels"], {"raw": raw.view(np.int32)}
        )
        for name in ("frame.onnx", "frame-int8.onnx")
    )
    assert np.array_equal(exact[1], small[1])
    assert not np.array_equal(exact[0], small[0])


def test_the_card_says_what_a_reader_must_know(bundle, keys):
    card, parity = bundle.file("MODEL_CARD.md").read_text(), bundle.json("parity.json")
    for heading in ("Intended use", "Data", "Figures", "Attackers tried", "Graphs", "Limits", "Descent"):
        assert f"## {heading}" in card
    assert "NOT adapted" in card
    assert "10.00 points (95 % interval over people 8.00 to 12.00)" in card
    assert "assume that faces can be recognised" in card  # this design's metrics name no attacker
    assert f"on {parity['frames']} raw frames" in card
    privacy = {"design_auc": 0.7, "built_auc": 0.72, "margin": 0.05}
    figures = {**bundle_metrics(), "privacy": privacy, "accepted_failed_gates": True}
    adapted = model_card(verify_bundle(bundle.path, keys[1])[1], "head", figures, parity)
    assert "AUC 0.72 through the optics as built, 0.70" in adapted
    assert "failed a quality gate" in adapted


def bundle_metrics():
    """What a head's metrics.json holds, as far as the card reads it."""
    score = {"mae": 9.0, "mae_interval": [8.0, 10.0], "constant_mae": 11.0, "coverage": 0.6}
    people = {"train": 8, "test": 4, "sessions": 2}
    return {"after": {"score": score, "factors": {"mean": 0.3}}, "subjects": people}


def test_layers_that_break_a_gate_are_kept_in_float(bundle, tmp_path):
    """The most harmful layer first, until the gate holds; without any left there is no INT8 graph."""
    shutil.copyfile(bundle.file("frame.onnx"), tmp_path / "frame.onnx")
    rng = np.random.default_rng(3)
    shape = json.loads(bundle.file("bundle.json").read_text())["camera"]
    shape = shape["rows"], shape["columns"]
    frames = [rng.integers(60, 1024, shape, dtype=np.uint16) for _ in range(2)]
    order = by_damage(tmp_path / "frame.onnx", frames, tmp_path)
    passes = iter([False, False, True])
    parity = measure_int8(tmp_path, frames, lambda: {"int8": {"passed": next(passes)}}, "arm")
    assert len(parity["int8"]["kept_in_float"]) == 2
    assert parity["int8"]["kept_in_float"][0] in order
    assert len(parity["int8"]["layers"]) == len(layers(tmp_path / "frame.onnx")) - 2
    never = measure_int8(tmp_path, frames, lambda: {"int8": {"passed": False}}, "x86")
    assert not never["int8"]["passed"]
    assert not (tmp_path / "frame-int8.onnx").exists()


def test_graphs_carry_their_documentation_and_nothing_foreign(bundle, design):
    for name in ("frame.onnx", "head.onnx"):
        model = onnx.load(bundle.file(name), load_external_data=False)
        onnx.checker.check_model(model, full_check=True)
        about = {entry.key: entry.value for entry in model.metadata_props}
        assert about["opticaldr.design"] == design.id
        assert "float32" in about["opticaldr.outputs"]
        assert {opset.domain for opset in model.opset_import} <= {"", "ai.onnx"}
        assert not any(tensor.external_data for tensor in model.graph.initializer)
    assert (
        "uint16"
        in {p.key: p.value for p in onnx.load(bundle.file("frame.onnx")).metadata_props}["opticaldr.input"]
    )


@pytest.mark.proves("BUNDLE-2")
def test_a_changed_byte_in_any_file_is_detected(bundle, keys, tmp_path):
    """Every file, and 1,000 random bytes in all."""
    rng = np.random.default_rng(1)
    names = [*bundle.manifest.files, "manifest.json"]
    copy = tmp_path / "copy"
    shutil.copytree(bundle.path, copy)
    undetected = 0
    for trial in range(1000 + len(names)):
        name = names[trial % len(names)]
        whole = (bundle.path / name).read_bytes()
        content = bytearray(whole)
        content[rng.integers(len(content))] ^= int(rng.integers(1, 256))
        (copy / name).write_bytes(content)
        try:
            opened, _ = verify_bundle(copy, keys[1])
        except Refusal:
            pass
        else:  # only the clocks and versions in the manifest are outside the id
            undetected += 1
            assert name == "manifest.json"
            assert opened.id == bundle.id
            assert opened.manifest.files == bundle.manifest.files
        (copy / name).write_bytes(whole)
    assert undetected < 1000 / len(names)
    assert verify_bundle(copy, keys[1])[0].id == bundle.id


def test_added_removed_unsigned_or_signed_by_another(bundle, keys, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(bundle.path, copy)
    (copy / "extra.bin").write_bytes(b"x")
    with pytest.raises(Refusal, match=r"extra\.bin does not belong"):
        verify_bundle(copy, keys[1])
    (copy / "extra.bin").unlink()
    create_key(tmp_path / "other.key")
    with pytest.raises(Refusal, match="not signed with this key"):
        verify_bundle(copy, load_public_key(tmp_path / "other.key.pub"))
    (copy / "psf.npz").unlink()
    with pytest.raises(Refusal, match=r"psf\.npz is missing"):
        verify_bundle(copy, keys[1])


@pytest.mark.proves("BUNDLE-2")
def test_resealing_without_the_key_does_not_help(bundle, keys, tmp_path):
    """Somebody who can compute hashes changes a threshold and every hash above it, but cannot sign."""
    from opticaldr.artefacts import Manifest

    copy = tmp_path / "copy"
    shutil.copytree(bundle.path, copy)
    contents = json.loads((copy / "bundle.json").read_text())
    contents["interlock"]["ceiling"] = 1.0
    (copy / "bundle.json").write_text(json.dumps(contents))
    import hashlib

    manifest = Manifest.model_validate_json((copy / "manifest.json").read_bytes())
    files = {**manifest.files, "bundle.json": hashlib.sha256((copy / "bundle.json").read_bytes()).hexdigest()}
    forged = manifest.model_copy(update={"files": files})
    forged = forged.model_copy(update={"id": forged.content_id()})
    (copy / "manifest.json").write_text(forged.model_dump_json())
    with pytest.raises(Refusal, match="not signed with this key"):
        verify_bundle(copy, keys[1])


def test_no_bundle_when_the_graphs_differ(bundle, design, calibration, keys, tmp_path, monkeypatch):
    def worse(*args):
        return {"worst_estimate_difference": 0.02, "frames": 1, "int8": {"passed": True}}

    def write_again(module, example, file, *names):
        shutil.copyfile(bundle.file(file.name), file)

    monkeypatch.setattr(bundle_module, "write_graph", write_again)
    monkeypatch.setattr(bundle_module, "measure_parity", worse)
    with pytest.raises(NotTheSame, match=r"0\.02"):
        export(design, calibration, keys[0], tmp_path / "bundle")
    assert list(tmp_path.iterdir()) == []


def test_a_calibration_of_another_design_or_with_failed_gates_is_refused(
    make_design, make_calibration, design, keys, tmp_path
):
    stranger = make_design(tmp_path / "stranger", seed=1)
    failed = make_calibration(tmp_path / "failed", design, passed=False)
    with pytest.raises(Refusal, match="another design"):
        export(stranger, failed, keys[0], tmp_path / "bundle")
    with pytest.raises(Refusal, match="gate snr"):
        export(design, failed, keys[0], tmp_path / "bundle")
    assert not (tmp_path / "bundle").exists()


@pytest.mark.proves("BUNDLE-1")
@pytest.mark.slow
def test_parity_on_a_thousand_captured_frames(design, calibration, keys, tmp_path):
    bundle = export(design, calibration, keys[0], tmp_path / "bundle")
    parity = bundle.json("parity.json")
    assert parity["frames"] >= 1000
    assert parity["worst_estimate_difference"] <= 0.01
    assert parity["worst_threads_difference"] <= 1e-3
    assert parity["worst_superpixels_difference"] < 1e-5
    if parity["int8"]["passed"]:
        assert abs(parity["int8"]["mae"] - parity["int8"]["mae_float32"]) <= 0.2
        assert parity["int8"]["fit_float32"] - parity["int8"]["fit"] <= 0.01
    print(json.dumps(parity, indent=1))
