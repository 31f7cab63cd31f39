"""Where somebody sits: light, background, clothes, place in the frame. It tells nothing about the person."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

Colour = tuple[float, float, float]  # linear RGB


@dataclass(frozen=True)
class Setting:
    """One session's surroundings. Colours in linear RGB, lengths in face widths."""

    key: Colour  # colour times strength of the main light
    key_direction: tuple[float, float, float]  # unit vector from the face to the light; z towards the camera
    fill: Colour  # light from everywhere
    wall: Colour
    wall_gradient: tuple[float, float]  # relative change per face width, along x and y
    furniture: tuple[tuple[float, float, float, float, Colour], ...]  # x, y, half-width, half-height, colour
    clothes: Colour
    collar: float  # depth of the neckline
    place: tuple[float, float]  # of the head's centre in the frame, from the middle


def draw_setting(rng: np.random.Generator) -> Setting:
    """Draw a setting: one soft key light from above, fill, and a wall out of focus."""

    def colour(low: float, high: float, saturation: float) -> Colour:
        level = np.exp(rng.uniform(np.log(low), np.log(high)))
        red, green, blue = level * (1.0 + saturation * rng.uniform(-1, 1, 3))
        return float(red), float(green), float(blue)

    def light(strength: float) -> Colour:
        warmth = rng.uniform(-0.12, 0.12)  # tungsten to overcast
        return strength * (1 + warmth), strength, strength * (1 - warmth)

    side, height = rng.uniform(-0.9, 0.9), rng.uniform(-0.8, -0.15)
    direction = np.array([side, height, 1.0])
    direction /= np.linalg.norm(direction)
    exposure = rng.uniform(0.8, 1.1)
    balance = rng.uniform(0.45, 0.75)
    return Setting(
        key=light(exposure * balance * 1.15),
        key_direction=(float(direction[0]), float(direction[1]), float(direction[2])),
        fill=light(exposure * (1 - balance) * 0.85),
        wall=colour(0.06, 0.6, 0.25),
        wall_gradient=(float(rng.uniform(-0.25, 0.25)), float(rng.uniform(-0.2, 0.2))),
        furniture=tuple(
            (
                float(rng.uniform(-1.2, 1.2)),
                float(rng.uniform(-0.9, 0.9)),
                float(rng.uniform(0.1, 0.4)),
                float(rng.uniform(0.15, 0.7)),
                colour(0.04, 0.5, 0.35),
            )
            for _ in range(rng.integers(1, 5))
        ),
        clothes=colour(0.03, 0.5, 0.4),
        collar=float(rng.uniform(0.0, 1.0)),
        place=(float(rng.uniform(-0.06, 0.06)), float(rng.uniform(-0.04, 0.06))),
    )
