"""Film a head: light it, turn it, set it before its background. All in linear light.

A portrait is painted flat once per clip, at somewhat more than the resolution of the frame. For every frame
the expression is drawn onto it, its relief is lit as the head now stands to the lamp, and each pixel of the
frame looks up where on the portrait it falls (see `pose`). Pictures are kept in colour planes ``[3, y, x]``.
"""

from __future__ import annotations

import cv2
import numpy as np

from opticaldr.models.data.backdrop import body, wall
from opticaldr.models.data.clips import FloatArray
from opticaldr.models.data.dynamics import Moment, Track
from opticaldr.models.data.expression import Expression
from opticaldr.models.data.identity import Identity
from opticaldr.models.data.mouth import mouth_corners
from opticaldr.models.data.portrait import Portrait, portray
from opticaldr.models.data.pose import point_seen, roll, rotation, seen_at
from opticaldr.models.data.setting import Setting
from opticaldr.models.data.sheet import Points, Sheet, planes

_PAINT_PER_PIXEL = 1.4  # resolution of the portrait relative to the frame
_COARSE = 4  # the turn is computed for every fourth pixel and interpolated
_WRAP = np.array([0.35, 0.22, 0.18], np.float32)  # light creeps round skin, red furthest
_BACK = -0.1  # depth of the hair behind the head, which moves against the face
_MIDDLE = np.array([0.0, 0.06])  # the point of the head that is put at the setting's place


def render(
    who: Identity, where: Setting, factors: Track, size: tuple[int, int], face_width: float
) -> tuple[FloatArray, FloatArray]:
    """Film one person.

    Args:
        who: the looks.
        where: the surroundings.
        factors: the movement, ``[t]`` each, as `dynamics.draw_session` defines them.
        size: rows and columns of a frame.
        face_width: width of an average face in pixels.

    Returns:
        Frames in linear RGB ``[t, y, x, 3]`` and true landmarks ``[t, 5, 2]`` in pixels (x, y).
    """
    face_width = float(face_width)  # a NumPy scalar would turn every picture to float64
    count = len(factors["yaw"])
    frames = np.empty((count, *size, 3), np.float32)
    landmarks = np.empty((count, 5, 2), np.float32)
    camera = _camera(where, size, face_width)
    portrait = portray(who, _PAINT_PER_PIXEL * face_width)
    expression = Expression(portrait)
    background = wall(where, camera)
    torso, cover = body(who, where, camera)
    torso *= cover
    through = 1 - cover
    behind = background * through + torso
    for index in range(count):
        at = {name: float(values[index]) for name, values in factors.items()}
        picture = behind.copy()
        if portrait.back is not None:
            hair = _turn_back_hair(portrait.back, camera, where, at)
            picture += (hair[:3] - hair[3] * background) * through
        _lay_head(picture, portrait, expression, camera, where, at)
        frames[index] = cv2.merge(list(picture))  # given as its output, another dtype would be left unwritten
        landmarks[index] = _landmarks(who, camera, at)
    return np.clip(frames, 0.0, 1.0, out=frames), landmarks


def _camera(where: Setting, size: tuple[int, int], face_width: float) -> Sheet:
    """The frame as a sheet about the head's centre."""
    middle = np.array(size[::-1]) / 2 / face_width
    left, top = _MIDDLE - middle - where.place
    return Sheet(float(left), float(top), face_width, size)


def _lay_head(
    picture: FloatArray, portrait: Portrait, expression: Expression, camera: Sheet, where: Setting, at: Moment
) -> None:
    """Draw the lit and turned head over ``[3, y, x]``, in place."""
    columns, rows = _look_up(portrait, camera, at)
    cover = cv2.remap(portrait.cover, columns, rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
    reflectance, light = expression.draw(at), _light(portrait, where, at)
    for plane in range(3):
        full = cv2.resize(light[plane], portrait.sheet.shape[::-1], interpolation=cv2.INTER_LINEAR)
        full *= reflectance[plane]
        turned = cv2.remap(full, columns, rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        picture[plane] += cover * (turned - picture[plane])


def _light(portrait: Portrait, where: Setting, at: Moment) -> FloatArray:
    """Light on the relief ``[3, y / 2, x / 2]``: fill from above, a wrapped diffuse key, a little sheen."""
    back = rotation(at).T.astype(np.float32)
    right, down, front = portrait.normals
    to_key = back @ np.asarray(where.key_direction, np.float32)
    half = to_key + back[:, 2]
    half /= np.linalg.norm(half)
    facing = right * to_key[0] + down * to_key[1] + front * to_key[2]
    sheen = np.maximum(right * half[0] + down * half[1] + front * half[2], 0)
    for _ in range(4):
        sheen *= sheen  # the sixteenth power
    sheen *= 4.0 * portrait.gloss
    light = np.maximum((facing + planes(_WRAP)) * planes(1 / (1 + _WRAP)), 0)
    light += sheen
    light *= planes(where.key)
    light += planes(where.fill) * (0.8 - 0.2 * down)
    return np.asarray(light)


def _look_up(portrait: Portrait, camera: Sheet, at: Moment) -> tuple[FloatArray, FloatArray]:
    """For each pixel of the frame, where it falls on the portrait: column and row there, each ``[y, x]``."""
    step = _COARSE / camera.scale
    shape = (-(-camera.shape[0] // _COARSE) + 2, -(-camera.shape[1] // _COARSE) + 2)
    coarse = Sheet(camera.left - step, camera.top - step, 1 / step, shape)  # one more pixel all round
    seen = np.stack(point_seen(portrait.who, *coarse.axes(), at), axis=-1)
    place = portrait.sheet.pixels(seen).astype(np.float32)
    fine = cv2.resize(place, None, fx=_COARSE, fy=_COARSE, interpolation=cv2.INTER_LINEAR)
    rows, columns = camera.shape
    x, y = cv2.split(fine[_COARSE : _COARSE + rows, _COARSE : _COARSE + columns])
    return x, y


def _turn_back_hair(back: tuple[Sheet, FloatArray], camera: Sheet, where: Setting, at: Moment) -> FloatArray:
    """The hair behind the head, moved with it and lit, premultiplied linear RGBA ``[4, y, x]``."""
    sheet, flat = back
    turn = roll(at)
    shift = turn @ (_BACK * np.sin([at["yaw"], at["pitch"]]))
    first_pixel = np.array([sheet.left, sheet.top]) + 0.5 / sheet.scale
    matrix = np.column_stack([camera.scale / sheet.scale * turn, camera.pixels(turn @ first_pixel + shift)])
    hair = np.stack([cv2.warpAffine(plane, matrix, camera.shape[::-1]) for plane in flat])
    hair[:3] *= planes(where.fill) + 0.6 * planes(where.key)
    return hair


def _landmarks(who: Identity, camera: Sheet, at: Moment) -> Points:
    """Eyes, tip of the nose and corners of the mouth as the camera sees them, ``[5, 2]`` pixels (x, y)."""
    fixed = [(-who.eye_distance, 0.0), (who.eye_distance, 0.0), (0.0, who.nose_length)]
    return camera.pixels(seen_at(who, np.concatenate([fixed, mouth_corners(who, at)]), at))
