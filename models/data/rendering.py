"""Film a head: light it, turn it, set it before its background. All in linear light.

A portrait is painted flat once per clip, at somewhat more than the resolution of the frame. For every frame
the expression is drawn onto it, the relief is lit from the key light as the head now stands, and the frame
looks up for each of its pixels where on the portrait it falls. With a depth z over the portrait's plane, a
point (x, y) turned by yaw and pitch lands at ``(x cos yaw + z sin yaw, y cos pitch + z sin pitch)``; its
inverse is found by fixed-point iteration, which converges because z is smooth (see `anatomy.depth`).
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from opticaldr.models.data.anatomy import depth
from opticaldr.models.data.backdrop import body, wall
from opticaldr.models.data.clips import FloatArray
from opticaldr.models.data.dynamics import Track
from opticaldr.models.data.expression import Expression, Moment, mouth_corners
from opticaldr.models.data.identity import Identity
from opticaldr.models.data.portrait import Portrait, portray
from opticaldr.models.data.setting import Setting
from opticaldr.models.data.sheet import Sheet, planes

_PAINT_PER_PIXEL = 1.4  # resolution of the portrait relative to the frame
_COARSE = 4  # the turn is computed on every fourth pixel and interpolated
_WRAP = np.array([0.35, 0.22, 0.18], np.float32)  # light creeps round skin, red furthest
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
            hair = _turn_back_hair(portrait, camera, where, at)
            picture += (hair[:3] - hair[3] * background) * through
        _lay_head(picture, portrait, expression, camera, where, at)
        cv2.merge(list(picture), frames[index])
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
    back = _rotation(at).T.astype(np.float32)
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


def _rotation(at: Moment) -> NDArray[np.float64]:
    """Rotation of the head: pitch, then yaw, then roll; nose to the right, nose down, clockwise positive."""
    (sy, cy), (sp, cp), (sr, cr) = ((np.sin(at[n]), np.cos(at[n])) for n in ("yaw", "pitch", "roll"))
    pitch = np.array([[1, 0, 0], [0, cp, sp], [0, -sp, cp]])
    yaw = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    roll = np.array([[cr, -sr, 0], [sr, cr, 0], [0, 0, 1]])
    return np.asarray(roll @ yaw @ pitch)


def _look_up(portrait: Portrait, camera: Sheet, at: Moment) -> tuple[FloatArray, FloatArray]:
    """For each pixel of the frame, where it falls on the portrait: columns and rows of the latter."""
    shape = (-(-camera.shape[0] // _COARSE) + 1, -(-camera.shape[1] // _COARSE) + 1)
    u, v = Sheet(camera.left, camera.top, camera.scale / _COARSE, shape).axes()
    cos, sin = np.float32(np.cos(at["roll"])), np.float32(np.sin(at["roll"]))
    across, down = cos * u + sin * v, cos * v - sin * u
    x, y = across, down
    for _ in range(5):
        z = depth(portrait.who, x, y)
        x = (across - z * np.float32(np.sin(at["yaw"]))) / np.float32(np.cos(at["yaw"]))
        y = (down - z * np.float32(np.sin(at["pitch"]))) / np.float32(np.cos(at["pitch"]))
    sheet = portrait.sheet
    where = np.stack([(x - sheet.left) * sheet.scale - 0.5, (y - sheet.top) * sheet.scale - 0.5], -1)
    fine = cv2.resize(where.astype(np.float32), None, fx=_COARSE, fy=_COARSE, interpolation=cv2.INTER_LINEAR)
    columns, rows = cv2.split(fine[: camera.shape[0], : camera.shape[1]])
    return columns, rows


def _turn_back_hair(portrait: Portrait, camera: Sheet, where: Setting, at: Moment) -> FloatArray:
    """The hair behind the head, moved with it, premultiplied linear RGBA ``[4, y, x]``."""
    assert portrait.back is not None
    sheet = portrait.back_sheet
    back = -0.1
    cos, sin = np.cos(at["roll"]), np.sin(at["roll"])
    turn = np.array([[cos, -sin], [sin, cos]])
    shift = turn @ (back * np.array([np.sin(at["yaw"]), np.sin(at["pitch"])]))
    ratio = camera.scale / sheet.scale
    # pixel of the frame = scale (turn (pixel / sheet scale + corner) + shift - frame corner)
    corner = np.array([sheet.left, sheet.top]) + 0.5 / sheet.scale
    offset = camera.pixels(turn @ corner + shift)
    matrix = np.concatenate([ratio * turn, offset[:, None]], axis=1)
    planes_of_hair = [
        cv2.warpAffine(plane, matrix, camera.shape[::-1], flags=cv2.INTER_LINEAR) for plane in portrait.back
    ]
    hair = np.stack(planes_of_hair)
    hair[:3] *= planes(where.fill) + 0.6 * planes(where.key)
    return hair


def _landmarks(who: Identity, camera: Sheet, at: Moment) -> NDArray[np.float64]:
    """Pupils' rest, tip of the nose and corners of the mouth as the camera sees them, ``[5, 2]`` pixels."""
    eyes = [(-who.eye_distance, 0.0), (who.eye_distance, 0.0)]
    points = np.concatenate([eyes, [(0.0, who.nose_length)], mouth_corners(who, at)])
    x, y = points.T
    z = depth(who, x, y)
    across = x * np.cos(at["yaw"]) + z * np.sin(at["yaw"])
    down = y * np.cos(at["pitch"]) + z * np.sin(at["pitch"])
    cos, sin = np.cos(at["roll"]), np.sin(at["roll"])
    return camera.pixels(np.stack([cos * across - sin * down, sin * across + cos * down], axis=-1))
