"""Synthetic videos with a known lesion: speckle like ultrasound, or mucosa like endoscopy. Deterministic by seed."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, map_coordinates

from vivim.imaging.signed_distance import signed_distance

TEXTURES = ("speckle", "mucosa")
FPS = 20.0


@dataclass(frozen=True)
class Phantom:
    """A synthetic video and its truth."""

    frames: NDArray[np.uint8]
    """``(T, H, W)`` grey for speckle, ``(T, H, W, 3)`` RGB for mucosa."""
    masks: NDArray[np.uint8]
    """``(T, H, W)`` of 0 and 1."""
    fps: float
    pixel_spacing_mm: tuple[float, float] | None


def make_phantom(
    frames: int = 60, size: tuple[int, int] = (256, 256), texture: str = "speckle", seed: int = 0
) -> Phantom:
    """Make a video in which a lesion drifts, turns and changes its shape.

    Parameters
    ----------
    frames : int
        Number of frames.
    size : tuple of int
        Height and width in pixels.
    texture : str
        ``"speckle"`` (ultrasound-like, grey) or ``"mucosa"`` (endoscopy-like, RGB).
    seed : int
        The same seed gives the same video.

    Raises
    ------
    ValueError
        If the texture is unknown.
    """
    if texture not in TEXTURES:
        raise ValueError(f"Unknown texture {texture!r}; choose one of {', '.join(TEXTURES)}.")
    rng = np.random.default_rng(seed)
    shapes = _Lesion(rng, frames, size)
    render = _Speckle(rng, size) if texture == "speckle" else _Mucosa(rng, size)
    masks = np.stack([shapes.mask(t) for t in range(frames)])
    pictures = np.stack([render.frame(masks[t], shapes.shift(t), t) for t in range(frames)])
    return Phantom(pictures, masks.astype(np.uint8), FPS, (0.2, 0.2) if texture == "speckle" else None)


class _Lesion:
    """A blob whose outline is a short Fourier series that breathes and turns along a smooth path."""

    def __init__(self, rng: np.random.Generator, frames: int, size: tuple[int, int]) -> None:
        self.size = size
        height, width = size
        phase = rng.uniform(0, 2 * np.pi, 6)
        time = np.linspace(0, 2 * np.pi * frames / 60, frames)
        self._row = height * (0.5 + rng.uniform(-0.08, 0.08) + 0.07 * np.sin(time + phase[0]))
        self._column = width * (0.5 + rng.uniform(-0.1, 0.1) + 0.10 * np.sin(0.7 * time + phase[1]))
        self._radius = min(size) * rng.uniform(0.12, 0.2) * (1 + 0.12 * np.sin(1.3 * time + phase[2]))
        self._turn = 0.5 * np.sin(0.5 * time + phase[3])
        self._waves = rng.normal(0, (0.16, 0.10, 0.06, 0.04)), rng.uniform(0, 2 * np.pi, 4)
        self._flat = rng.uniform(0.65, 0.95)

    def shift(self, t: int) -> tuple[float, float]:
        """Rows and columns the lesion has moved since the first frame."""
        return float(self._row[t] - self._row[0]), float(self._column[t] - self._column[0])

    def mask(self, t: int) -> NDArray[np.bool_]:
        """The lesion in frame `t`."""
        ys, xs = np.mgrid[: self.size[0], : self.size[1]]
        y, x = (ys - self._row[t]) / self._flat, xs - self._column[t]
        angle = np.arctan2(y, x) - self._turn[t]
        strengths, phases = self._waves
        outline = 1 + sum(
            a * np.cos((k + 2) * angle + p + 0.15 * t * (k % 2) / 3)
            for k, (a, p) in enumerate(zip(strengths, phases, strict=True))
        )
        return np.hypot(y, x) < self._radius[t] * outline


def _moved(picture: NDArray, shift: tuple[float, float]) -> NDArray:
    """A picture moved by whole and part pixels, wrapped around."""
    ys, xs = np.mgrid[: picture.shape[0], : picture.shape[1]].astype(np.float32)
    return map_coordinates(picture, (ys - shift[0], xs - shift[1]), order=1, mode="grid-wrap")


def _soft(mask: NDArray[np.bool_], width: float) -> NDArray[np.float64]:
    """From 0 outside to 1 inside, over `width` pixels."""
    return 1 / (1 + np.exp(-signed_distance(mask) / width))


class _Speckle:
    """Tissue in layers under speckle, in a sector. A darker lesion with a soft edge and enhancement behind it."""

    def __init__(self, rng: np.random.Generator, size: tuple[int, int]) -> None:
        self._rng = rng
        self._scatterers = rng.normal(size=(2, *size))
        layers = gaussian_filter(rng.normal(size=size), (size[0] / 30, size[1] / 4), mode="wrap")
        clouds = gaussian_filter(rng.normal(size=size), min(size) / 16, mode="wrap")
        self._tissue = 0.62 + 0.07 * layers / layers.std() + 0.05 * clouds / clouds.std()
        self._contrast = rng.uniform(0.28, 0.4)
        self._softness = rng.uniform(1.5, 4.0)
        self._speckle = rng.uniform(0.07, 0.11)
        rows = np.linspace(0, 1, size[0])[:, None]
        self._depth = 1.08 - 0.4 * rows**1.6
        self._sector = _sector(size)

    def frame(self, mask: NDArray[np.bool_], shift: tuple[float, float], t: int) -> NDArray[np.uint8]:
        """Grey picture ``(H, W)`` of frame `t`."""
        self._scatterers = 0.96 * self._scatterers + 0.28 * self._rng.normal(size=self._scatterers.shape)
        real, imaginary = (
            gaussian_filter(_moved(field, shift), (1.1, 2.0), mode="wrap") for field in self._scatterers
        )
        envelope = np.hypot(real, imaginary)
        speckle = np.log(np.clip(envelope / envelope.mean(), 0.05, None))
        inside = _soft(mask, self._softness)
        behind = gaussian_filter(np.maximum.accumulate(mask, axis=0) * ~mask * 1.0, (8, 4))
        echo = _moved(self._tissue, shift) - self._contrast * inside + 0.07 * behind
        shown = (echo * self._depth + self._speckle * speckle) * self._sector
        return (np.clip(shown, 0, 1) * 255).astype(np.uint8)


def _sector(size: tuple[int, int]) -> NDArray[np.float64]:
    """1 inside the fan a curved probe sees, 0 outside, soft at the edge."""
    ys, xs = np.mgrid[: size[0], : size[1]]
    y, x = (ys + 0.45 * size[0]) / size[0], (xs - size[1] / 2) / size[1]
    radius, angle = np.hypot(y, x), np.abs(np.arctan2(x, y))
    fan = (radius > 0.5) & (radius < 1.42) & (angle < 0.52)
    return gaussian_filter(fan.astype(float), 0.8)


class _Mucosa:
    """Pink tissue with folds, vessels and wet highlights, and a raised, redder polyp."""

    def __init__(self, rng: np.random.Generator, size: tuple[int, int]) -> None:
        folds = gaussian_filter(rng.normal(size=size), min(size) / 10, mode="wrap")
        grain = gaussian_filter(rng.normal(size=size), 1.2, mode="wrap")
        lines = gaussian_filter(rng.normal(size=size), min(size) / 30, mode="wrap")
        self._folds, self._grain = folds / folds.std(), grain / grain.std()
        self._vessels = np.exp(-((lines / lines.std() / 0.12) ** 2))
        shine = gaussian_filter(rng.normal(size=size), 2.5, mode="wrap")
        self._shine = np.clip(shine / shine.std() - 2.6, 0, 1)
        ys, xs = (np.linspace(-1, 1, n) for n in size)
        self._light = np.clip(1.08 - 0.55 * (ys[:, None] ** 2 + xs**2), 0, None)
        self._circle = gaussian_filter((np.hypot(ys[:, None], xs) < 1.12).astype(float), 2)

    def frame(self, mask: NDArray[np.bool_], shift: tuple[float, float], t: int) -> NDArray[np.uint8]:
        """RGB picture ``(H, W, 3)`` of frame `t`."""
        folds, grain, vessels, shine = (
            _moved(part, shift) for part in (self._folds, self._grain, self._vessels, self._shine)
        )
        inside = _soft(mask, 2.5)
        depth = np.clip(signed_distance(mask), 0, 30)
        slope = np.gradient(gaussian_filter(depth, 3))
        relief = 0.10 * folds + 0.9 * (slope[0] * -0.16 + slope[1] * -0.10) + 0.05 * inside
        bright = self._light * (0.72 + relief * 0.6 + 0.025 * grain)
        colour = np.stack(
            (
                0.92 - 0.02 * inside - 0.05 * vessels * (1 - inside),
                0.55 - 0.12 * inside - 0.16 * vessels * (1 - inside) + 0.04 * folds,
                0.46 - 0.08 * inside - 0.13 * vessels * (1 - inside) + 0.03 * folds,
            ),
            axis=-1,
        )
        wet = shine + 0.6 * np.clip(shine * 2 * inside, 0, 1)
        picture = (bright[..., None] * colour + np.clip(wet, 0, 1)[..., None]) * self._circle[..., None]
        return (np.clip(picture, 0, 1) * 255).astype(np.uint8)
