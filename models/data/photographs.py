"""Real photographs: a folder per person, decoded to linear light, a face brought to its size in a frame."""

from __future__ import annotations

from pathlib import Path
from threading import Lock

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from opticaldr.errors import Refusal
from opticaldr.models.data.clips import FloatArray
from opticaldr.models.data.colour import srgb_bytes, srgb_to_linear
from opticaldr.models.data.quiet import quiet_opencv

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp"})

# The five landmarks (x, y) of the usual 112-pixel template of face recognition (ArcFace, Deng et al. 2019).
TEMPLATE = np.array(
    [(38.2946, 51.6963), (73.5318, 51.5014), (56.0252, 71.7366), (41.5493, 92.3655), (70.7299, 92.2041)]
)
TEMPLATE_SIZE = 112
PUPIL_DISTANCE = 0.394  # of an average adult, 63 mm, in face widths of 160 mm
_EYE_LINE = -0.06  # where the eyes lie over the middle of a frame, face widths, as for simulated subjects


class UnreadableImage(Refusal):
    """An image that is missing, damaged or not an image."""


def list_images(folder: Path) -> list[Path]:
    """The image files directly in a folder, by name. Refuses a path that is no folder or holds none."""
    if not folder.is_dir():
        raise Refusal(
            f"{folder} is {'not a folder' if folder.exists() else 'missing'}", "name a folder of images"
        )
    images = sorted(path for path in folder.iterdir() if _is_image(path))
    if not images:
        raise Refusal(f"{folder} holds no image", f"put images there ({', '.join(sorted(IMAGE_SUFFIXES))})")
    return images


def list_people(folder: Path) -> dict[str, list[Path]]:
    """The photographs of each person in a folder of folders, both by name; other files are ignored.

    Raises:
        Refusal: the folder is missing, holds no folders, or one of them holds no image.
    """
    if not folder.is_dir():
        problem = "not a folder" if folder.exists() else "missing"
        raise Refusal(
            f"{folder} is {problem}", "name a folder that holds one folder of photographs per person"
        )
    people = sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    if not people:
        raise Refusal(
            f"{folder} holds no folder", "put the photographs of each person in a folder of their own"
        )
    return {person.name: list_images(person) for person in people}


def read_people(folder: Path) -> dict[str, list[FloatArray]]:
    """The photographs of each person, linear RGB ``[y, x, 3]``; refuses as `list_people` does.

    Everything is held in memory; where that is too much, go through `list_people` and `read_photograph`.
    """
    return {
        person: [read_photograph(path) for path in paths] for person, paths in list_people(folder).items()
    }


def read_photograph(path: Path) -> FloatArray:
    """Decode one sRGB image to linear RGB in [0, 1], float32 ``[y, x, 3]``, upright (EXIF), grey ones as RGB.

    Raises:
        UnreadableImage: the file cannot be read, is damaged, or is no image.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UnreadableImage(
            f"{path} cannot be read ({error.strerror})", "check the path and its permissions"
        ) from error
    # OpenCV silently fills the lower part of a JPEG that was cut short: its last scan has no end marker.
    cut_short = data[:2] == b"\xff\xd8" and data.rfind(b"\xff\xd9") < data.rfind(b"\xff\xda")
    image = None
    if data and not cut_short:
        with quiet_opencv():
            image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
    if image is None:
        problem = (
            "is cut short" if cut_short else "is not an image that can be decoded" if data else "is empty"
        )
        raise UnreadableImage(f"{path} {problem}", "replace or remove it")
    return np.asarray(srgb_to_linear(image), np.float32)


def aligned_landmarks(shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Landmarks ``[5, 2]`` of a picture whose central half is the usual recognition template."""
    scale = shape[1] / 2 / TEMPLATE_SIZE
    corner = np.array([shape[1], shape[0]]) / 2 - TEMPLATE_SIZE / 2 * scale
    return (TEMPLATE + 0.5) * scale - 0.5 + corner


def scene_from_photograph(
    photograph: FloatArray,
    size: tuple[int, int] = (112, 112),
    face_width: float = 60.0,
    landmarks: ArrayLike | None = None,
) -> FloatArray:
    """Place the face of a photograph in a frame, upright, at the size it would have there.

    Args:
        photograph: linear RGB ``[y, x, 3]``.
        size: rows and columns of the frame.
        face_width: pixels that an average face (160 mm) spans; pupils are put 0.394 of it apart.
        landmarks: ``[5, 2]`` pixels (x, y) in the photograph: eyes, nose tip, mouth corners, from the left
            of the image; by default those of a picture aligned as `aligned_landmarks` says.

    Returns:
        Linear RGB ``[*size, 3]``; beyond the photograph its edge is continued.
    """
    points = aligned_landmarks(photograph.shape) if landmarks is None else np.asarray(landmarks, np.float64)
    turn, offset = _similarity(points, place_template(size, face_width))
    # Shrinking must average over the photograph's pixels: draw it larger by a whole factor, then bin.
    finer = max(1, int(np.ceil(1.0 / np.sqrt(np.linalg.det(turn)))))
    matrix = np.column_stack([turn * finer, (offset + 0.5) * finer - 0.5])
    large = cv2.warpAffine(
        photograph,
        matrix,
        (size[1] * finer, size[0] * finer),
        flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return np.asarray(cv2.resize(large, (size[1], size[0]), interpolation=cv2.INTER_AREA), np.float32)


def place_landmarks(
    landmarks: ArrayLike, by: ArrayLike, size: tuple[int, int], face_width: float
) -> NDArray[np.float64]:
    """Where landmarks ``[n, 2]`` of a photograph come to lie in the frame that ``by`` ``[5, 2]`` places it in."""
    turn, offset = _similarity(np.asarray(by, np.float64), place_template(size, face_width))
    return np.asarray(landmarks, np.float64) @ turn.T + offset


def place_template(size: tuple[int, int], face_width: float) -> NDArray[np.float64]:
    """Where the five landmarks of an average, upright face lie in a frame, ``[5, 2]`` pixels (x, y)."""
    eyes = TEMPLATE[:2].mean(axis=0)
    scale = PUPIL_DISTANCE * face_width / np.linalg.norm(TEMPLATE[1] - TEMPLATE[0])
    middle = (np.array([size[1], size[0]]) - 1) / 2 + (0.0, _EYE_LINE * face_width)
    return np.asarray((TEMPLATE - eyes) * scale + middle)


class FaceDetector:
    """Finds the five landmarks of the largest face with a YuNet model the user supplies (ONNX). Threads may share it.

    Raises:
        Refusal: the model is missing or OpenCV cannot load it.
    """

    def __init__(self, model: Path, confidence: float = 0.6) -> None:
        if not model.is_file():
            raise Refusal(f"face detector {model} is missing", "name a YuNet ONNX file")
        try:
            with quiet_opencv():
                self._net = cv2.FaceDetectorYN.create(str(model), "", (320, 320), confidence)
        except cv2.error as error:
            raise Refusal(f"face detector {model} cannot be loaded", "name a YuNet ONNX file") from error
        self._one_at_a_time = Lock()  # OpenCV's network holds the size and the layers of one picture

    def landmarks(self, photograph: FloatArray) -> NDArray[np.float64] | None:
        """Landmarks ``[5, 2]`` (x, y) of the largest face in linear RGB ``[y, x, 3]``; None if no face."""
        picture = np.ascontiguousarray(srgb_bytes(photograph)[..., ::-1])
        with self._one_at_a_time:
            self._net.setInputSize((picture.shape[1], picture.shape[0]))
            _, faces = self._net.detect(picture)
        if faces is None:
            return None
        largest = faces[np.argmax(faces[:, 2] * faces[:, 3])]
        return np.asarray(largest[4:14].reshape(5, 2), np.float64)


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".") and path.is_file()


def _similarity(
    source: NDArray[np.float64], target: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Rotation times scale ``[2, 2]`` and offset that map source onto target in least squares.

    A similarity without reflection is multiplication by one complex number (Umeyama 1991, in the plane).
    """
    (a, b), (c, d) = source.mean(axis=0), target.mean(axis=0)
    start, end = source @ (1, 1j) - (a + 1j * b), target @ (1, 1j) - (c + 1j * d)
    factor = np.vdot(start, end) / np.vdot(start, start)
    turn = np.array([[factor.real, -factor.imag], [factor.imag, factor.real]])
    return turn, np.array([c, d]) - turn @ (a, b)
