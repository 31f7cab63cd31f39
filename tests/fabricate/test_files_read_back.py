"""Every file through a reader that shares no code with the writer: the relief, in its unit, the right way round.

The readers are gdstk, trimesh, lib3mf, tifffile, OpenCV and plain text parsing. Each gives a height map in
the design's own frame (x right, y down, seen from the sensor) from nothing but the file and its sidecar.
"""

import json
from pathlib import Path
from typing import Any

import cv2
import gdstk
import numpy as np
import pytest
import tifffile
import trimesh

from opticaldr.hardware.fabrication.catalogue import PROCESSES
from opticaldr.hardware.fabrication.order import fabricate
from opticaldr.hardware.fabrication.prediction import as_optic
from opticaldr.hardware.fabrication.process import Process, Wave
from opticaldr.hardware.fabrication.relief import LETTER_F, Fiducial, Relief
from opticaldr.models.optics import Optic, psf
from opticaldr.models.optics.metrics import ncc

from .conftest import over_aperture

CASES: list[tuple[str, str, dict[str, Any]]] = [
    ("refractive", "mask.stl", {}),
    ("refractive", "mask.stl", {"relief_faces": "sensor"}),
    ("refractive", "mask.stl", {"shape": "square", "stl_unit": "um"}),
    ("refractive", "mask.3mf", {}),
    ("refractive", "mask.3mf", {"relief_faces": "sensor"}),
    ("refractive", "mask.dat", {}),
    ("refractive", "mask.dat", {"relief_faces": "sensor"}),
    ("refractive", "mask.xyz", {}),
    ("grayscale", "exposure.bmp", {}),
    ("grayscale", "exposure.bmp", {"resist": "negative"}),
    ("grayscale", "exposure.bmp", {"white": "unexposed", "relief_faces": "sensor"}),
    ("grayscale", "exposure.bmp", {"wrap": False}),
    ("grayscale", "height.tif", {}),
    ("grayscale", "height.png", {"orders": 2}),
    ("multilevel", "mask.gds", {"levels": 8}),
    ("multilevel", "mask.gds", {"levels": 6, "polygons": "kept"}),
    ("multilevel", "mask.gds", {"levels": 16, "mirror": True}),
    ("multilevel", "mask.gds", {"levels": 2, "relief_faces": "sensor"}),
    ("multilevel", "mask.oas", {"levels": 16}),
    ("two-photon", "mask.stl", {"pixel": 20e-6}),
    ("two-photon", "height.tif", {"pixel": 20e-6}),
    ("replica", "mould.stl", {}),
    ("replica", "mould.3mf", {"relief_faces": "sensor", "shrinkage": 0.05}),
]


def in_design_frame(seen: np.ndarray, sidecar: dict[str, Any]) -> np.ndarray:
    """An array as the file shows it, turned into x right, y down from the sensor, as the sidecar says."""
    assert sidecar["orientation"]["rows_run"] == "+y"
    return seen[:, ::-1] if sidecar["orientation"]["columns_run"] == "-x" else seen


def grid_of_points(points: np.ndarray, pitch: float, samples: int) -> np.ndarray:
    """Highest z at every node of the relief's grid from loose points in metres, X right, Y up."""
    column = points[:, 0] / pitch + (samples - 1) / 2
    row = (samples - 1) / 2 - points[:, 1] / pitch
    near = (np.abs(column - np.rint(column)) < 0.02) & (np.abs(row - np.rint(row)) < 0.02)
    near &= (
        (np.rint(column) >= 0) & (np.rint(column) < samples) & (np.rint(row) >= 0) & (np.rint(row) < samples)
    )
    seen = np.full((samples, samples), -np.inf)
    np.maximum.at(seen, (np.rint(row[near]).astype(int), np.rint(column[near]).astype(int)), points[near, 2])
    assert np.isfinite(seen).all()
    return seen


def mesh_heights(mesh: trimesh.Trimesh, sidecar: dict[str, Any]) -> np.ndarray:
    """Heights of a solid; checks on the way that it is closed, outward and as large as stated."""
    assert mesh.is_watertight
    assert mesh.is_winding_consistent
    assert mesh.volume > 0
    metres = {"mm": 1e-3, "um": 1e-6}[sidecar["unit"]]
    assert np.ptp(mesh.vertices[:, 0]) * metres == pytest.approx(sidecar["size_m"], rel=1e-3)
    pitch = sidecar.get("mould_pitch_m", sidecar["pitch_m"])
    height = grid_of_points(mesh.vertices * metres, pitch, sidecar["samples"]) - sidecar["z_of_zero_height_m"]
    if "grown_by" in sidecar:
        height = sidecar["part_top_m"] - height[:, ::-1] / sidecar["grown_by"]
    return height


def read_3mf(path: Path) -> trimesh.Trimesh:
    """With lib3mf, the 3MF consortium's own implementation."""
    lib3mf = pytest.importorskip("lib3mf")
    model = lib3mf.get_wrapper().CreateModel()
    reader = model.QueryReader("3mf")
    reader.ReadFromFile(str(path))
    assert reader.GetWarningCount() == 0
    assert model.GetUnit() == lib3mf.ModelUnit.MilliMeter
    meshes = model.GetMeshObjects()
    assert meshes.MoveNext()
    mesh = meshes.GetCurrentMeshObject()
    assert mesh.IsManifoldAndOriented()
    vertices = np.array([tuple(v.Coordinates) for v in mesh.GetVertices()])
    faces = np.array([tuple(t.Indices) for t in mesh.GetTriangleIndices()])
    return trimesh.Trimesh(vertices, faces, process=False)


def layout_heights(library: gdstk.Library, sidecar: dict[str, Any]) -> np.ndarray:
    """Heights from polygons: every mask etched where the sidecar says polygons (or their gaps) are etched."""
    assert library.precision == pytest.approx(1e-9)
    (cell,) = library.top_level()
    samples, pitch = sidecar["samples"], sidecar["pitch_m"]
    height = np.zeros((samples, samples))
    for layer, etch in sidecar["layers"].items():
        covered = np.zeros((samples, samples), dtype=bool)
        for polygon in cell.get_polygons(layer=int(layer), datatype=0):
            assert len(polygon.points) == 4
            edges = np.asarray(polygon.points) * library.unit / pitch
            (left, bottom), (right, top) = edges.min(axis=0), edges.max(axis=0)
            columns = np.rint(np.array([left, right]) + samples / 2).astype(int)
            rows = np.rint(samples / 2 - np.array([top, bottom])).astype(int)
            if columns[0] >= samples or columns[1] <= 0:
                continue  # alignment marks
            area = covered[rows[0] : rows[1], columns[0] : columns[1]]
            assert not area.any()
            area[:] = True
        etched = covered if sidecar["polygons_are"] == "etched" else ~covered
        height -= etched * etch["etch_depth_m"]
    return height


def picture_heights(value: np.ndarray, sidecar: dict[str, Any]) -> np.ndarray:
    """z = offset + scale·value."""
    assert sidecar["z"] == "offset + scale * value"
    return sidecar["z_offset_m"] + sidecar["z_scale_m"] * value.astype(np.float64)


def read_heights(path: Path) -> np.ndarray:
    """Any of a mask's files as heights in the design's frame."""
    sidecar = json.loads(path.with_name(path.name + ".json").read_text())
    match path.suffix:
        case ".stl":
            header = path.read_bytes()[:80]
            assert f"unit={sidecar['unit']}".encode() in header
            assert not header.startswith(b"solid")
            return in_design_frame(mesh_heights(trimesh.load_mesh(path), sidecar), sidecar)
        case ".3mf":
            return in_design_frame(mesh_heights(read_3mf(path), sidecar), sidecar)
        case ".gds":
            return in_design_frame(layout_heights(gdstk.read_gds(str(path)), sidecar), sidecar)
        case ".oas":
            return in_design_frame(layout_heights(gdstk.read_oas(str(path)), sidecar), sidecar)
        case ".bmp" | ".png":
            value = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
            return in_design_frame(picture_heights(value, sidecar), sidecar)
        case ".tif":
            with tifffile.TiffFile(path) as tiff:
                page = tiff.pages[0]
                numerator, denominator = page.tags["XResolution"].value
                assert 0.01 * denominator / numerator == pytest.approx(sidecar["pitch_m"], rel=1e-4)
                return in_design_frame(picture_heights(page.asarray(), sidecar), sidecar)
        case ".dat":
            head, *lines = path.read_text().splitlines()
            columns, rows, step_x, _, unit = map(float, head.split()[:5])
            assert unit == 0
            assert step_x * 1e-3 == pytest.approx(sidecar["pitch_m"], rel=1e-6)
            sag = np.array([float(line.split()[0]) for line in lines]).reshape(int(rows), int(columns))
            # OpticStudio: Z along the light; first value at -X, +Y, as the sensor sees it.
            return (-1e-3 if sidecar["orientation"]["seen_from"] == "scene" else 1e-3) * sag
        case ".xyz":
            points = np.loadtxt(path) * 1e-3
            return in_design_frame(grid_of_points(points, sidecar["pitch_m"], sidecar["samples"]), sidecar)
    raise AssertionError(path)


def made_by(name: str, settings: dict[str, Any], optic: Optic) -> tuple[Process, Relief, Relief, Wave, Any]:
    """Process, drawn and made relief, wave and optics: what `fabricate` computes before it writes."""
    from opticaldr.hardware.fabrication.order import as_relief

    process = PROCESSES[name].told(settings)
    spec, wave, factor = process.optics(optic.spec)
    drawn = process.drawn(as_relief(optic, factor), wave)
    return process, drawn, process.made(drawn, wave), wave, spec


@pytest.mark.proves("MASK-1")
@pytest.mark.parametrize(("name", "file", "settings"), CASES)
def test_a_file_read_back_is_the_drawn_relief_and_gives_the_predicted_psf(
    name: str, file: str, settings: dict[str, Any], optic: Optic, tmp_path: Path
) -> None:
    settings = {"pixel": 17e-6, **settings}
    process, drawn, made, wave, spec = made_by(name, settings, optic)
    from opticaldr.hardware.fabrication.order import write_sidecars

    exports = process.write(drawn, wave, tmp_path, "test")
    write_sidecars(tmp_path, exports, process, "test", drawn, wave, spec)
    read = read_heights(tmp_path / file)

    tolerance = 0.5e-6 * drawn.depth() + 2e-9 if process.wrapped else 2e-9
    if file.endswith((".tif", ".png")):
        tolerance = drawn.depth() / 65535
    np.testing.assert_allclose(
        over_aperture(drawn, read), over_aperture(drawn, drawn.height), atol=tolerance, rtol=0
    )
    back = Relief(read - read[drawn.aperture()].min(), drawn.pitch, drawn.radius)
    from_file = as_optic(process.made(back, wave), spec, stepped=process.wrapped)
    predicted = as_optic(made, spec, stepped=process.wrapped)
    psfs = [psf(o.height, o.spec, [450e-9, 650e-9], 0.4, shape=(11, 11)) for o in (predicted, from_file)]
    assert ncc(*psfs).min() > 0.9999


@pytest.mark.proves("MASK-1")
@pytest.mark.parametrize(
    ("name", "file", "settings"),
    [case for case in CASES if case[1] != "mould.stl" and not case[2].get("mirror")],
)
def test_the_f_reads_as_an_f_in_the_file_itself(
    name: str, file: str, settings: dict[str, Any], optic: Optic, tmp_path: Path
) -> None:
    settings = {"pixel": 17e-6, **settings}
    process, drawn, _, wave, spec = made_by(name, settings, optic)
    from opticaldr.hardware.fabrication.order import write_sidecars

    exports = process.write(drawn, wave, tmp_path, "test")
    write_sidecars(tmp_path, exports, process, "test", drawn, wave, spec)
    sidecar = json.loads((tmp_path / f"{file}.json").read_text())
    seen = in_design_frame(read_heights(tmp_path / file), sidecar)  # its own inverse: as the file shows it
    mark = Fiducial.beside(drawn)
    rows, columns = LETTER_F.shape
    patch = seen[mark.row : mark.row + rows * mark.cell, mark.column : mark.column + columns * mark.cell]
    cells = patch[mark.cell // 2 :: mark.cell, mark.cell // 2 :: mark.cell]
    middle = (cells.max() + cells.min()) / 2
    letter = cells < middle if process.wrapped else cells > middle
    np.testing.assert_array_equal(letter, LETTER_F)


def test_stl_normals_point_out_of_the_material(optic: Optic, tmp_path: Path) -> None:
    process, drawn, _, wave, _ = made_by("refractive", {}, optic)
    process.write(drawn, wave, tmp_path, "test")
    raw = np.fromfile(
        tmp_path / "mask.stl",
        np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("a", "<u2")]),
        offset=84,
    )
    edges = raw["corners"][:, 1:].astype(float) - raw["corners"][:, :1]
    geometric = np.cross(edges[:, 0], edges[:, 1])
    length = np.linalg.norm(geometric, axis=1, keepdims=True)
    solid = length[:, 0] > 1e-9
    agreement = np.sum((geometric / np.where(length > 0, length, 1)) * raw["normal"], axis=1)
    assert agreement[solid].min() > 0.999
    mesh = trimesh.load_mesh(tmp_path / "mask.stl")
    assert mesh.volume > 0  # negative if every normal pointed inwards
    centres = raw["corners"].mean(axis=1)
    facing_up = raw["normal"][:, 2] > 0.5
    assert centres[facing_up, 2].min() >= process.model_dump()["base"] * 1e3 * 0.999


def test_decimation_keeps_its_tolerance(optic: Optic, tmp_path: Path) -> None:
    process, drawn, _, wave, _ = made_by("refractive", {"tolerance": 100e-9}, optic)
    (stl, *_) = process.write(drawn, wave, tmp_path, "test")
    full, _, _, _, _ = made_by("refractive", {}, optic)
    (whole, *_) = full.write(drawn, wave, tmp_path, "test")
    assert stl.details["triangles"] < 0.5 * whole.details["triangles"]
    assert 0 < stl.details["facet_deviation_m"] <= 100e-9
    assert whole.details["facet_deviation_m"] == 0


def test_layers_are_plain_rectangles_that_overlap_nowhere(optic: Optic, tmp_path: Path) -> None:
    process, drawn, _, wave, _ = made_by("multilevel", {"levels": 16, "pixel": 17e-6}, optic)
    (gds, _) = process.write(drawn, wave, tmp_path, "test")
    (cell,) = gdstk.read_gds(str(tmp_path / "mask.gds")).top_level()
    assert len(cell.polygons) == gds.details["rectangles"]
    assert {polygon.layer for polygon in cell.polygons} == {1, 2, 3, 4}
    for layer in (1, 2, 3, 4):
        polygons = cell.get_polygons(layer=layer, datatype=0)
        separate = sum(polygon.area() for polygon in polygons)
        merged = sum(polygon.area() for polygon in gdstk.boolean(polygons, [], "or"))
        assert merged == pytest.approx(separate, rel=1e-9)
    assert sorted(label.text.split(":")[0] for label in cell.labels) == [
        "mask 1",
        "mask 2",
        "mask 3",
        "mask 4",
    ]


def test_every_layer_has_its_alignment_mark_on_both_sides(optic: Optic, tmp_path: Path) -> None:
    process, drawn, _, wave, _ = made_by("multilevel", {"levels": 8}, optic)
    process.write(drawn, wave, tmp_path, "test")
    (cell,) = gdstk.read_gds(str(tmp_path / "mask.gds")).top_level()
    centres: dict[int, list[np.ndarray]] = {}
    for layer in (1, 2, 3):
        boxes = [p.bounding_box() for p in cell.get_polygons(layer=layer, datatype=0)]
        middles = np.array([np.mean(box, axis=0) for box in boxes])
        outside = np.abs(middles[:, 0]) > drawn.width / 2 * 1e6
        assert (middles[outside, 0] > 0).any()
        assert (middles[outside, 0] < 0).any()
        centres[layer] = [middles[outside & (middles[:, 0] > 0)]]
    # Each cross sits in the middle of one of mask 1's frames: 4 bars a frame, 3 bars a cross.
    frames = centres[1][0].reshape(2, 4, 2).mean(axis=1)
    for number, layer in enumerate((2, 3)):
        np.testing.assert_allclose(centres[layer][0].mean(axis=0), frames[number], atol=1e-3)


def test_a_whole_order_leaves_nothing_unaccounted(design: Any, tmp_path: Path) -> None:
    stages: list[tuple[str, int, int]] = []
    mask = fabricate(
        design,
        "multilevel",
        tmp_path / "mask",
        settings={"pixel": 17e-6},
        parts=2,
        seed=5,
        progress=lambda *stage: stages.append(stage),
    )
    files = set(mask.manifest.files)
    assert {"mask.gds", "mask.oas", "sheet.pdf", "report.html", "optics.json", "height.npy"} <= files
    assert {"process.json", "prediction.json", "rules.csv", "mask.gds.json", "mask.oas.json"} <= files
    assert mask.manifest.parents == (design.id,)
    sidecar = mask.json("mask.gds.json")
    assert sidecar["design"] == design.id
    assert sidecar["sha256"] == mask.manifest.files["mask.gds"]
    assert (mask.path / "sheet.pdf").read_bytes().startswith(b"%PDF")
    assert {stage for stage, _, _ in stages} >= {"making parts", "predicting PSFs"}
    assert ("making parts", 2, 2) in stages
    again = fabricate(design, "multilevel", tmp_path / "again", settings={"pixel": 17e-6}, parts=2, seed=5)
    assert again.id == mask.id
    assert Optic.read(mask.path).spec.mask.stepped
