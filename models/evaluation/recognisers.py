"""Recognisers behind one interface: any ONNX embedding network, a network trained here, and sixteen
pixels."""

import tomllib
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal, Protocol, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from opticaldr.errors import Refusal
from opticaldr.models.data import linear_to_srgb
from opticaldr.models.evaluation.alignment import FloatArray, align, template
from opticaldr.models.networks import Recogniser as RecogniserNetwork

BATCH = 64

LEVELS = 65535


class Recogniser(Protocol):
    """Whatever turns pictures of faces into vectors that are compared by cosine."""

    @property
    def name(self) -> str:
        """What the report calls it."""
        ...

    def embed(self, images: FloatArray, landmarks: NDArray[np.floating]) -> FloatArray:
        """Linear RGB ``[n, y, x, 3]`` and true landmarks ``[n, 5, 2]`` to unit vectors ``[n, d]``."""
        ...


class RecogniserSpec(BaseModel):
    """How an ONNX embedding network wants its input: the TOML beside it, or one that comes with the
    software."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    licence: str = "not stated"
    size: Annotated[int, Field(ge=16, le=1024)]
    """Rows and columns of the input ``[n, 3, size, size]``."""
    channels: Literal["RGB", "BGR"] = "RGB"
    mean: tuple[float, float, float] = (127.5, 127.5, 127.5)
    """Subtracted from the 0–255 sRGB values, in the order of `channels`."""
    std: tuple[Annotated[float, Field(gt=0)], ...] = (127.5, 127.5, 127.5)
    landmarks: tuple[tuple[float, float], ...] | None = None
    """Where eyes, nose tip and mouth corners (x, y) go, in pixels of the input; the scaled ArcFace template
    if left out."""
    flip: bool = True
    """Whether to average the vectors of the face and its mirror image."""

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if len(self.std) != 3:
            raise ValueError("std needs three values")
        if self.landmarks is not None and len(self.landmarks) != 5:
            raise ValueError("landmarks needs five points")
        return self

    @classmethod
    def of_model(cls, model: Path) -> Self:
        """The TOML of the same name beside the model, else the one that comes with the software."""
        beside = model.with_suffix(".toml")
        shipped = resources.files("opticaldr.models.evaluation") / f"{model.stem}.toml"
        for source in (beside, shipped):
            if source.is_file():
                return cls._parse(source.read_text(encoding="utf-8"), str(source))
        raise Refusal(
            f"{beside} is missing",
            "write it: name, size, channels, mean, std of the network's input (docs/privacy.md, Bringing a recogniser)",
        )

    @classmethod
    def _parse(cls, text: str, source: str) -> Self:
        try:
            return cls.model_validate(tomllib.loads(text))
        except tomllib.TOMLDecodeError as error:
            raise Refusal(f"{source} is not valid TOML: {error}", "mend the line it names") from None
        except ValidationError as error:
            first = error.errors()[0]
            key = ".".join(map(str, first["loc"])) or "the whole"
            raise Refusal(f"{source}: {key}: {first['msg']}", "mend this key") from None


class OnnxRecogniser:
    """A face embedding network in an ONNX file, fed sRGB crops as its `RecogniserSpec` says.

    Its first output is taken as the vectors. Networks of one face at a time (a batch fixed to 1) are fed so.

    Raises:
        Refusal: no network, no TOML, another input than the TOML says, or an output that is not one vector a face.
    """

    def __init__(self, model: Path) -> None:
        if not model.is_file():
            raise Refusal(f"{model} does not exist", "give the path of an .onnx file")
        import onnxruntime

        self.spec = RecogniserSpec.of_model(model)
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        try:
            self._session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        except Exception:  # onnxruntime's exceptions have no common base
            raise Refusal(
                f"{model} is no ONNX network that onnxruntime can load", "give a valid .onnx file"
            ) from None
        self._input, self._batch = _required_input(model, self._session.get_inputs(), self.spec.size)
        # From linear light in 65536 steps (a twentieth of a grey level at the darkest) to what the network is fed.
        grey = 255.0 * linear_to_srgb(np.linspace(0, 1, LEVELS + 1, dtype=np.float32))
        mean, std = np.array(self.spec.mean), np.array(self.spec.std)
        self._encoded = ((grey - mean[:, None]) / std[:, None]).astype(np.float32)
        self.run(
            np.zeros((2, 3, self.spec.size, self.spec.size), np.float32)
        )  # refused now rather than later

    @property
    def name(self) -> str:
        """The name in its TOML."""
        return self.spec.name

    def embed(self, images: FloatArray, landmarks: NDArray[np.floating]) -> FloatArray:
        """See `Recogniser`; memory is bounded by a batch."""
        return _in_batches(self._embed, images, landmarks)

    def _embed(self, images: FloatArray, landmarks: NDArray[np.floating]) -> FloatArray:
        spec = self.spec
        points = None if spec.landmarks is None else np.array(spec.landmarks)
        crops = align(images, landmarks, spec.size, points)
        light = np.clip(crops, 0.0, 1.0, out=crops)
        light *= LEVELS
        light += 0.5
        steps = light.astype(np.uint16)
        batch = np.empty((len(crops), 3, spec.size, spec.size), np.float32)
        for plane, channel in enumerate("RGB".index(letter) for letter in spec.channels):
            batch[:, plane] = self._encoded[plane][steps[..., channel]]
        vectors = self.run(batch)
        if spec.flip:
            vectors = vectors + self.run(np.ascontiguousarray(batch[..., ::-1]))
        return unit(vectors)

    def run(self, batch: FloatArray) -> FloatArray:
        """The bare network: normalised ``[n, 3, size, size]`` to ``[n, d]``."""
        step = self._batch or len(batch)
        return np.concatenate(
            [self._vectors(batch[start : start + step]) for start in range(0, len(batch), step)]
        )

    def _vectors(self, faces: FloatArray) -> FloatArray:
        try:
            vectors = np.asarray(self._session.run(None, {self._input: faces})[0], np.float32)
        except Exception as error:
            raise Refusal(
                f"{self.name} does not run: {error}", "try the .onnx file in onnxruntime alone"
            ) from None
        if vectors.ndim < 2 or len(vectors) != len(faces):
            raise Refusal(
                f"{self.name} makes {list(vectors.shape)} of {list(faces.shape)}",
                "its first output must be a vector for each face, [n, d]",
            )
        if not np.isfinite(vectors).all():
            raise Refusal(f"{self.name} gives values that are no numbers", "check mean and std in its TOML")
        return vectors.reshape(len(faces), -1)


def _required_input(model: Path, inputs: Sequence[Any], size: int) -> tuple[str, int]:
    """Name of the network's one input, and the batch that it is fixed to (0: any)."""
    only, wanted = inputs[0], (3, size, size)
    sides = [
        given if isinstance(given, int) else goal for given, goal in zip(only.shape[1:], wanted, strict=False)
    ]
    if len(inputs) != 1 or only.type != "tensor(float)" or len(only.shape) != 4 or tuple(sides) != wanted:
        found = " and ".join(f"{one.type} {one.shape}" for one in inputs)
        raise Refusal(
            f"{model} takes {found}, its TOML says tensor(float) ['n', 3, {size}, {size}]",
            "correct size in the TOML, or export the network with this input",
        )
    batch = only.shape[0] if isinstance(only.shape[0], int) else 0
    if batch > 1:
        raise Refusal(f"{model} takes exactly {batch} faces at a time", "export it for one or for any number")
    return only.name, batch


class NetworkRecogniser:
    """A network of `models.networks`, looking at aligned crops in linear light."""

    def __init__(self, network: RecogniserNetwork, size: int, name: str) -> None:
        self.network, self.size, self.name = network, size, name

    def embed(self, images: FloatArray, landmarks: NDArray[np.floating]) -> FloatArray:
        """See `Recogniser`."""
        return self.embed_crops(align(images, landmarks, self.size))

    def embed_crops(self, crops: FloatArray) -> FloatArray:
        """Vectors of crops ``[n, size, size, 3]`` that are aligned already: the mean of a face and its mirror
        image."""
        import torch

        self.network.eval()
        parts = []
        with torch.inference_mode():
            for start in range(0, len(crops), BATCH):
                batch = torch.from_numpy(crops[start : start + BATCH]).permute(0, 3, 1, 2)
                parts.append((self.network(batch) + self.network(batch.flip(-1))).numpy())
        return unit(np.concatenate(parts))


class PixelRecogniser:
    """Cosine on the face averaged to 4 × 4 pixels: light, skin and background, a floor that no lens can go
    below."""

    name = "4 x 4 pixels"

    def embed(self, images: FloatArray, landmarks: NDArray[np.floating]) -> FloatArray:
        """See `Recogniser`."""
        crops = np.sqrt(np.clip(align(images, landmarks, 48), 0.0, 1.0))
        blocks = crops.reshape(len(crops), 4, 12, 4, 12, 3).mean((2, 4)).reshape(len(crops), -1)
        return unit(blocks - blocks.mean(1, keepdims=True))


def unit(vectors: NDArray[Any]) -> FloatArray:
    """Vectors scaled to length one; a vector of zeros stays so and matches nobody more than anybody."""
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.maximum(length, 1e-9), np.float32)


def _in_batches(embed: Any, images: FloatArray, landmarks: NDArray[np.floating]) -> FloatArray:
    parts = [
        embed(images[start : start + BATCH], landmarks[start : start + BATCH])
        for start in range(0, len(images), BATCH)
    ]
    return np.concatenate(parts)


__all__ = [
    "NetworkRecogniser",
    "OnnxRecogniser",
    "PixelRecogniser",
    "Recogniser",
    "RecogniserSpec",
    "template",
    "unit",
]
