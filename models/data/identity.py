"""Who somebody is: bone and feature geometry, skin and hair, as continuous parameters.

Lengths are in face widths (an average face is 160 mm wide with its ears), in the frame of the head: origin
between the eyes, x right and y down as seen in the image. Means follow adult anthropometry (Farkas,
*Anthropometry of the Head and Face*, 2nd ed. 1994) in round figures; spreads are somewhat wider, so that a
small picture still tells people apart.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from opticaldr.models.data.colour import srgb_to_linear

Colour = tuple[float, float, float]  # linear RGB


@dataclass(frozen=True)
class Identity:
    """The looks of one person. Lengths in face widths, angles in radians, colours in linear RGB."""

    # bones: half-widths of the outline from top to bottom, and its ends
    temple: float
    cheek: float
    jaw: float
    chin: float
    crown: float
    length: float
    relief: float  # how deep the face is modelled: sockets, cheekbones, brow ridge
    # eyes: half-distance of the pupils, half-length and half-opening of the lids, slant (outer corner up)
    eye_distance: float
    eye_length: float
    eye_opening: float
    eye_slant: float
    iris_radius: float
    # brows
    brow_height: float
    brow_length: float
    brow_thickness: float
    brow_arch: float
    brow_slant: float
    # nose: y of the tip, half-width of the wings and of the bridge, projection
    nose_length: float
    nose_width: float
    nose_bridge: float
    nose_height: float
    # mouth: y, half-width, thickness of the lips, depth of the Cupid's bow
    mouth_height: float
    mouth_width: float
    upper_lip: float
    lower_lip: float
    cupid: float
    # ears: half-height, how far they stand off
    ear_size: float
    ear_stand: float
    # hair: y of the hairline (negative: up), place of the parting, volume above and beside the skull,
    # how far it falls (y of its ends), waviness
    hairline: float
    parting: float
    fringe: float
    hair_top: float
    hair_side: float
    hair_end: float
    hair_wave: float
    beard: float
    moustache: float
    freckles: float
    glasses: float  # 0 none, else radius of the rims
    moles: tuple[tuple[float, float], ...]  # where on the face
    skin: Colour
    lips: Colour
    iris: Colour
    hair: Colour
    brow: Colour
    rims: Colour


_SKIN = [(246, 214, 190), (236, 188, 154), (215, 160, 120), (180, 122, 84), (132, 84, 56), (88, 55, 40)]
_HAIR = [
    (24, 20, 20),
    (52, 36, 28),
    (90, 60, 40),
    (128, 70, 40),
    (196, 154, 96),
    (226, 198, 140),
    (150, 146, 142),
]
_IRIS = [(70, 44, 26), (104, 70, 36), (96, 104, 60), (84, 120, 140), (64, 108, 164), (110, 120, 126)]
_RIMS = [(24, 24, 28), (84, 52, 32), (120, 30, 34), (60, 70, 96), (150, 132, 90)]


def draw_identity(rng: np.random.Generator) -> Identity:
    """Draw a person. Parameters are independent, except skin with hair and hair with brows."""

    def normal(mean: float, spread: float) -> float:
        return mean + spread * float(np.clip(rng.standard_normal(), -2.2, 2.2))

    def chance(probability: float) -> bool:
        return bool(rng.random() < probability)

    tone = float(rng.beta(1.2, 1.6))
    skin = _mix(_SKIN, tone, rng, 0.025)
    hair = _mix(_HAIR[:3] if tone > 0.55 and chance(0.85) else _HAIR, float(rng.random()), rng, 0.06)
    length = float(rng.choice([0.05, 0.35, 0.75, 1.05], p=[0.45, 0.2, 0.2, 0.15]))
    bearded = length < 0.3 and chance(0.45)
    return Identity(
        temple=normal(0.415, 0.022),
        cheek=normal(0.435, 0.022),
        jaw=normal(0.325, 0.03),
        chin=normal(0.15, 0.03),
        crown=normal(-0.70, 0.04),
        length=normal(0.685, 0.045),
        relief=normal(1.0, 0.25),
        eye_distance=normal(0.197, 0.015),
        eye_length=normal(0.096, 0.009),
        eye_opening=normal(0.046, 0.007),
        eye_slant=normal(0.03, 0.08),
        iris_radius=normal(0.047, 0.003),
        brow_height=normal(0.14, 0.02),
        brow_length=normal(0.115, 0.014),
        brow_thickness=normal(0.022, 0.007),
        brow_arch=normal(0.03, 0.015),
        brow_slant=normal(-0.06, 0.07),
        nose_length=normal(0.265, 0.03),
        nose_width=normal(0.095, 0.015),
        nose_bridge=normal(0.042, 0.009),
        nose_height=normal(0.2, 0.04),
        mouth_height=normal(0.43, 0.025),
        mouth_width=normal(0.15, 0.019),
        upper_lip=normal(0.038, 0.010),
        lower_lip=normal(0.052, 0.012),
        cupid=normal(0.28, 0.12),
        ear_size=normal(0.14, 0.02),
        ear_stand=normal(0.05, 0.02),
        hairline=normal(-0.43, 0.06),
        parting=normal(0.0, 0.22),
        fringe=normal(0.0, 0.09),
        hair_top=normal(0.10, 0.035),
        hair_side=abs(normal(0.05, 0.04)) + 0.01,
        hair_end=normal(length, 0.07),
        hair_wave=float(rng.beta(1.0, 1.6)),
        beard=float(rng.uniform(0.25, 0.95)) if bearded else 0.0,
        moustache=float(rng.uniform(0.25, 0.95)) if bearded or (length < 0.3 and chance(0.1)) else 0.0,
        freckles=float(rng.uniform(0.3, 1.0)) if tone < 0.4 and chance(0.35) else 0.0,
        glasses=normal(0.15, 0.015) if chance(0.25) else 0.0,
        moles=tuple(
            (float(rng.uniform(-0.3, 0.3)), float(rng.uniform(0.12, 0.55))) for _ in range(rng.poisson(0.7))
        ),
        skin=skin,
        lips=_tint(skin, (0.82, 0.42, 0.42), rng, 0.1),
        iris=_mix(_IRIS[:2] if tone > 0.5 else _IRIS, float(rng.random()), rng, 0.08),
        hair=hair,
        brow=_tint(hair, (0.6, 0.55, 0.55), rng, 0.05),
        rims=_mix(_RIMS, float(rng.random()), rng, 0.05),
    )


def _mix(
    palette: list[tuple[int, int, int]], place: float, rng: np.random.Generator, jitter: float
) -> Colour:
    """A colour of the sRGB palette at `place` in [0, 1], between neighbours, with a jitter per channel."""
    position = place * (len(palette) - 1)
    low = min(int(position), len(palette) - 2)
    blend = position - low
    srgb = (1 - blend) * np.array(palette[low]) + blend * np.array(palette[low + 1])
    srgb = srgb / 255.0 * (1.0 + jitter * rng.uniform(-1, 1, 3))
    red, green, blue = srgb_to_linear(np.clip(srgb, 0.0, 1.0))
    return float(red), float(green), float(blue)


def _tint(base: Colour, factors: Colour, rng: np.random.Generator, jitter: float) -> Colour:
    """The base colour, attenuated per channel."""
    red, green, blue = np.array(base) * factors * (1.0 + jitter * rng.uniform(-1, 1, 3))
    return float(red), float(green), float(blue)
