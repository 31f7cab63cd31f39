"""The ONNX adapter against the network it was exported from, and what it refuses."""

import numpy as np
import pytest

from opticaldr.errors import Refusal
from opticaldr.models.data import linear_to_srgb
from opticaldr.models.evaluation.alignment import template
from opticaldr.models.evaluation.recognisers import OnnxRecogniser, PixelRecogniser, RecogniserSpec

onnx = pytest.importorskip("onnx")

TOML = 'name = "mean colour"\nsize = 16\nchannels = "BGR"\nmean = [0, 0, 0]\nstd = [255, 255, 255]\n'


def write_network(path, nodes, *, shape=("n", 3, 16, 16), vectors=("n", 3, 1, 1), kind="FLOAT"):
    """An ONNX network of ``nodes`` from ``x`` to ``e``, with its TOML beside it."""
    from onnx import TensorProto, helper

    x = helper.make_tensor_value_info("x", getattr(TensorProto, kind), shape)
    e = helper.make_tensor_value_info("e", getattr(TensorProto, kind), vectors)
    graph = helper.make_graph([helper.make_node(*node) for node in nodes], "network", [x], [e])
    network = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(network, path)
    path.with_suffix(".toml").write_text(TOML)
    return path


MEAN_COLOUR = [("GlobalAveragePool", ["x"], ["e"])]


@pytest.fixture
def model(tmp_path):
    """An ONNX network whose vector is the mean of each channel."""
    return write_network(tmp_path / "mean.onnx", MEAN_COLOUR)


def faces(n: int):
    colours = np.random.default_rng(0).random((n, 1, 1, 3), np.float32)
    marks = np.repeat((template(40) + 5)[None], n, 0)
    return np.broadcast_to(colours, (n, 50, 50, 3)).astype(np.float32), marks


def test_pictures_reach_the_network_as_its_toml_says(model):
    pictures, marks = faces(70)  # more than one batch
    vectors = OnnxRecogniser(model).embed(pictures, marks)
    expected = linear_to_srgb(pictures[:, 0, 0, ::-1])
    np.testing.assert_allclose(vectors, expected / np.linalg.norm(expected, axis=1, keepdims=True), atol=1e-4)


def test_a_recogniser_that_comes_without_its_toml_is_refused(model):
    model.with_suffix(".toml").unlink()
    with pytest.raises(Refusal, match=r"mean\.toml is missing"):
        OnnxRecogniser(model)


def test_the_toml_of_a_known_network_comes_with_the_software(tmp_path):
    spec = RecogniserSpec.of_model(tmp_path / "reid0095.onnx")
    assert (spec.size, spec.channels, spec.licence) == (128, "BGR", "Apache-2.0")


@pytest.mark.parametrize(
    ("line", "key"), [("sise = 3", "sise"), ('channels = "GRB"', "channels"), ("std = [1, 0, 1]", "std")]
)
def test_a_mistake_in_the_toml_is_refused_by_name(model, line, key):
    kept = [own for own in TOML.splitlines() if own.split(" ")[0] != key]
    model.with_suffix(".toml").write_text("\n".join([*kept, line]))
    with pytest.raises(Refusal, match=key):
        OnnxRecogniser(model)


def test_a_size_that_is_not_the_networks_is_refused_with_both(model):
    model.with_suffix(".toml").write_text(TOML.replace("16", "32"))
    with pytest.raises(Refusal, match=r"takes .*3, 16, 16.* its TOML says .*3, 32, 32"):
        OnnxRecogniser(model)


def test_a_file_that_is_no_network_is_refused(tmp_path):
    (tmp_path / "broken.onnx").write_bytes(b"nothing")
    (tmp_path / "broken.toml").write_text(TOML)
    with pytest.raises(Refusal, match="no ONNX network"):
        OnnxRecogniser(tmp_path / "broken.onnx")


@pytest.mark.parametrize(
    "changed",
    [
        {"shape": ("n", 1, 16, 16), "vectors": ("n", 1, 1, 1)},
        {"shape": ("n", 16, 16, 3), "vectors": ("n", 16, 1, 1)},
        {"kind": "FLOAT16"},
    ],
    ids=["one channel", "channels last", "half precision"],
)
def test_an_input_that_is_not_three_planes_of_float32_is_refused_before_any_face(tmp_path, changed):
    with pytest.raises(Refusal, match="its TOML says"):
        OnnxRecogniser(write_network(tmp_path / "other.onnx", MEAN_COLOUR, **changed))


def test_a_network_of_one_face_at_a_time_is_fed_so_and_one_of_eight_is_refused(model, tmp_path):
    single = write_network(tmp_path / "single.onnx", MEAN_COLOUR, shape=(1, 3, 16, 16), vectors=(1, 3, 1, 1))
    np.testing.assert_allclose(
        OnnxRecogniser(single).embed(*faces(3)), OnnxRecogniser(model).embed(*faces(3))
    )
    with pytest.raises(Refusal, match="exactly 8 faces"):
        OnnxRecogniser(
            write_network(tmp_path / "eight.onnx", MEAN_COLOUR, shape=(8, 3, 16, 16), vectors=(8, 3, 1, 1))
        )


def test_an_output_that_is_no_number_or_no_vector_a_face_is_refused(tmp_path):
    nan = [("Sub", ["x", "x"], ["zero"]), ("Log", ["zero"], ["low"]), ("Mul", ["low", "zero"], ["e"])]
    with pytest.raises(Refusal, match="no numbers"):
        OnnxRecogniser(write_network(tmp_path / "nan.onnx", nan, vectors=("n", 3, 16, 16)))
    whole = [("Flatten", ["x"], ["flat"]), ("ReduceMean", ["flat"], ["e"])]
    with pytest.raises(Refusal, match="a vector for each face"):
        OnnxRecogniser(write_network(tmp_path / "whole.onnx", whole, vectors=(1, 1)))


def test_sixteen_pixels_do_not_see_exposure_but_see_the_side_the_light_comes_from():
    pictures, marks = faces(2)
    ramp = np.linspace(0.2, 0.8, 50, dtype=np.float32)[None, None, :, None]
    lit = np.concatenate([pictures[:1] * ramp, pictures[:1] * ramp * 0.5, pictures[:1] * ramp[:, :, ::-1]])
    vectors = PixelRecogniser().embed(lit, np.repeat(marks[:1], 3, 0))
    assert vectors[0] @ vectors[1] > 0.999
    assert vectors[0] @ vectors[2] < 0.9
