"""Backgrounds of scenes, each with the words for it.

In: a random generator and a size in pixels. Out: float32 `[size, size, 3]` and phrases.
Every random draw counts: another one, or another order, is another training run.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Canvas = NDArray[np.float32]
Background = tuple[Canvas, tuple[str, ...]]
Random = np.random.Generator

COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (205, 45, 45),
    "orange": (240, 140, 40),
    "yellow": (245, 215, 65),
    "green": (60, 160, 70),
    "blue": (55, 110, 215),
    "purple": (135, 75, 180),
    "pink": (245, 150, 190),
    "brown": (130, 85, 50),
    "black": (25, 25, 28),
    "white": (245, 245, 245),
    "gray": (135, 138, 142),
}


def shade(random: Random, name: str, spread: float = 22.0) -> NDArray[np.float32]:
    """A colour near the named one, RGB 0 to 255."""
    colour = np.asarray(COLOURS[name], np.float32)
    return np.clip(colour + random.normal(0, spread / 2, 3).astype(np.float32), 0, 255)


def draw_background(random: Random, size: int) -> Background:
    """Return float32 `[size, size, 3]`, 0 to 255 but for some overshoot, and phrases for it."""
    kind = KINDS[random.choice(len(KINDS), p=WEIGHTS)]
    return kind(random, size)


def _colour_name(random: Random) -> str:
    return str(random.choice(list(COLOURS)))


def _a(name: str) -> str:
    return f"{'an' if name == 'orange' else 'a'} {name}"


def _ramp(size: int, angle: float) -> Canvas:
    """From 0 to 1 across the square in a direction (radians), `[size, size, 1]`."""
    line = np.linspace(-0.5, 0.5, size, dtype=np.float32)
    field = np.cos(angle) * line[None, :] + np.sin(angle) * line[:, None]
    ramp: Canvas = ((field - field.min()) / np.ptp(field))[..., None]
    return ramp


def _cloudy(random: Random, size: int, cells: int) -> Canvas:
    """Smooth noise about 0, `[size, size, 1]`."""
    coarse = random.standard_normal((cells + 1, cells + 1)).astype(np.float32)
    at = np.linspace(0, cells - 1e-3, size, dtype=np.float32)
    low = at.astype(int)
    part = at - low
    rows = coarse[low] * (1 - part)[:, None] + coarse[low + 1] * part[:, None]
    smooth: Canvas = (rows[:, low] * (1 - part) + rows[:, low + 1] * part)[..., None]
    return smooth


def _plain(random: Random, size: int) -> Background:
    name = _colour_name(random)
    canvas = np.empty((size, size, 3), np.float32)
    canvas[:] = shade(random, name)
    return canvas, (f"on {_a(name)} background", f"on {name}")


def _gradient(random: Random, size: int) -> Background:
    name = _colour_name(random)
    ramp = _ramp(size, random.uniform(0, 2 * np.pi))
    start, end = shade(random, name), shade(random, name) * random.uniform(0.55, 1.35)
    return start + (end - start) * ramp, (f"on {_a(name)} background", f"on {_a(name)} gradient")


def _noise(random: Random, size: int) -> Background:
    name = _colour_name(random)
    grain = random.standard_normal((size, size, 1)).astype(np.float32) * random.uniform(6, 22)
    clouds = _cloudy(random, size, int(random.integers(3, 12))) * random.uniform(5, 22)
    phrases = (f"on {_a(name)} background", f"on a grainy {name} background")
    return shade(random, name) + grain + clouds, phrases


def _pattern(random: Random, size: int) -> Background:
    """Stripes, checks or dots in two colours."""
    first, second = (str(name) for name in random.choice(list(COLOURS), 2, replace=False))
    step = size / random.integers(4, 10)
    line = np.arange(size, dtype=np.float32)
    across, down = line[None, :] + 0 * line[:, None], line[:, None] + 0 * line[None, :]
    shape = str(random.choice(["stripes", "checks", "dots"]))
    if shape == "stripes":
        angle = random.uniform(0, np.pi)
        mask = np.sin(2 * np.pi * (across * np.cos(angle) + down * np.sin(angle)) / step) > 0
    elif shape == "checks":
        mask = ((across // step + down // step) % 2).astype(bool)
    else:
        mask = (across % step - step / 2) ** 2 + (down % step - step / 2) ** 2 < (0.3 * step) ** 2
    canvas = np.where(mask[..., None], shade(random, second), shade(random, first))
    return canvas.astype(np.float32), (f"on {first} and {second} {shape}", f"on {shape}")


# Each: the colours of the sky at its top and bottom and of the ground far and near, and phrases.
LANDSCAPES: dict[str, tuple[tuple[str, str, str, str], tuple[str, ...]]] = {
    "meadow": (("#5fa8e8", "#cfe6fa", "#7fbf55", "#3f8a35"), ("on a meadow", "on green grass")),
    "sea": (("#78b9ee", "#dff0fb", "#2f7fb8", "#12466f"), ("by the sea", "at sea")),
    "desert": (("#8fc3ea", "#f3e3c0", "#e3c183", "#c9974f"), ("in the desert", "on sand")),
    "snow": (("#9fb9d4", "#e6eef6", "#f6f9fc", "#d5e1ee"), ("in the snow", "on snow")),
    "night": (("#070b22", "#1c2350", "#10151f", "#06080c"), ("at night", "under a night sky")),
    "sunset": (("#4b2a6b", "#f28a3c", "#5a3a33", "#2a1c1c"), ("at sunset", "under an orange sky")),
    "room": (("#e4d9c8", "#d9ccb6", "#9a6b43", "#7a5030"), ("in a room", "on a wooden floor")),
}


def _rgb(code: str) -> NDArray[np.float32]:
    return np.asarray([int(code[at : at + 2], 16) for at in (1, 3, 5)], np.float32)


def _landscape(random: Random, size: int) -> Background:
    name = str(random.choice(list(LANDSCAPES)))
    codes, phrases = LANDSCAPES[name]
    top, bottom, far, near = (
        _rgb(code) + random.normal(0, 8, 3).astype(np.float32) for code in codes
    )
    line = np.linspace(0, 1, size, dtype=np.float32)
    horizon = random.uniform(0.35, 0.7) + random.uniform(0, 0.06) * np.sin(
        random.uniform(4, 14) * line + random.uniform(0, 6)
    )
    down = line[:, None, None]
    edge = horizon.astype(np.float32)[None, :, None]
    sky = top + (bottom - top) * np.clip(down / edge, 0, 1)
    ground = far + (near - far) * np.clip((down - edge) / (1 - edge), 0, 1)
    canvas = np.where(down < edge, sky, ground + 7 * _cloudy(random, size, 10)).astype(np.float32)
    if name == "night":
        stars = random.integers(0, size, (2, 30))
        canvas[(stars[0] * 0.4).astype(int), stars[1]] = random.uniform(150, 255, (30, 1))
    return canvas, phrases


KINDS: tuple[Callable[[Random, int], Background], ...] = (
    _plain,
    _gradient,
    _noise,
    _pattern,
    _landscape,
)
WEIGHTS = (0.2, 0.22, 0.18, 0.15, 0.25)  # the probability of each kind
