"""Normal and extreme views of clips: random values drawn sample by sample, applied to a whole batch at once.

Shapes: N clips, C = 3 coordinates, T frames, V joints, M bodies. AimCLR section 3.1. As in the official
code: the
blur kernel is not normalised, a spatial flip exchanges joints without mirroring, noise also moves absent
bodies,
rotation angles are never negative. Differences:
1. draws (`draw_view`) and effect (`apply`) are apart, so that the effect runs vectorised on the device;
2. the blur also takes float32.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from kinoscope.errors import KinoscopeError
from kinoscope.media.layouts import NTU_25, Layout

EXTREME = "12345"
KERNEL_RADIUS = 7
_CHANCE = 0.5


class Uniforms(Protocol):
    """The two official random sources: Python's generator and numpy's legacy one, or one generator for
    both."""

    def uniform(self, low: float, high: float) -> float: ...
    def integer(self, high: int) -> int: ...
    def frames(self, high: int) -> int: ...
    def chance(self) -> float: ...
    def blur_chance(self) -> float: ...
    def noise(self, deviation: float, shape: tuple[int, ...]) -> np.ndarray: ...


class OneGenerator:
    """All draws from one numpy generator: what training uses (a function of seed, epoch and index)."""

    def __init__(self, generator: np.random.Generator) -> None:
        self.generator = generator
        self.chance = self.blur_chance = generator.random

    def uniform(self, low: float, high: float) -> float:
        return low + (high - low) * self.generator.random()

    def shares(self, count: int) -> np.ndarray:
        """`count` numbers in [0, 1) at once."""
        return self.generator.random(count)

    def integer(self, high: int) -> int:
        return int(self.generator.random() * high)

    frames = integer

    def noise(self, deviation: float, shape: tuple[int, ...]) -> np.ndarray:
        values = self.generator.standard_normal(shape, dtype=np.float32)
        values *= deviation
        return values


class OfficialGenerators:
    """Python's and numpy's generators as the official feeders use them, in their order."""

    def __init__(self, python: object, legacy: np.random.RandomState) -> None:
        self.python, self.legacy = python, legacy

    def uniform(self, low: float, high: float) -> float:
        return float(self.python.uniform(low, high))  # type: ignore[attr-defined]

    def integer(self, high: int) -> int:
        return int(self.python.randint(0, high - 1))  # type: ignore[attr-defined]

    def frames(self, high: int) -> int:
        return int(self.legacy.randint(0, high))

    def chance(self) -> float:
        return float(self.python.random())  # type: ignore[attr-defined]

    def blur_chance(self) -> float:
        return float(self.legacy.random_sample())

    def noise(self, deviation: float, shape: tuple[int, ...]) -> np.ndarray:
        return self.legacy.normal(0.0, deviation, shape)


@dataclass
class View:
    """What was drawn for one view of one clip; the defaults leave it as it is."""

    start: int | None = None  # first frame in the padded clip
    padding: int = 0  # frames mirrored at either end
    matrix: np.ndarray | None = None  # (3, 3): shear, then rotations
    flip: bool = False
    noise: np.ndarray | None = None  # (C, T, V, M)
    sigma: float | None = None  # of the blur, frames
    masked: int | None = None  # axis set to zero
    reverse: bool = False
    play: np.ndarray | None = None  # (T,) frame, between 0 and T - 1, shown at every frame
    limbs: np.ndarray | None = None  # (links,) share by which every bone is longer
    hidden: np.ndarray | None = None  # (V,) true: the joint lies in the centre throughout
    withheld: tuple[bool, ...] | None = (
        None  # joint, motion, bone: set to zero where they go into one encoder
    )


def draw_crop(view: View, source: Uniforms, frames: int, ratio: int) -> None:
    """Where a crop starts in the clip, mirrored by T // ratio frames at either end."""
    view.padding = frames // ratio
    view.start = source.frames(2 * view.padding + 1)


def draw_shear(view: View, source: Uniforms, amplitude: float) -> None:
    """Six shear values, uniform in [-amplitude, amplitude]."""
    a, b, c, d, e, f = [source.uniform(-amplitude, amplitude) for _ in range(6)]
    view.matrix = np.array([[1, a, d], [b, 1, e], [c, f, 1]])


def draw_flip(view: View, source: Uniforms, p: float = _CHANCE) -> None:
    view.flip = source.chance() < p


def draw_rotation(view: View, source: Uniforms) -> None:
    """One main axis turns by up to 30 degrees, the others by up to one."""
    main = source.integer(3)
    x, y, z = [math.radians(source.uniform(0, 30 if axis == main else 1)) for axis in range(3)]
    cx, sx, cy, sy, cz, sz = math.cos(x), math.sin(x), math.cos(y), math.sin(y), math.cos(z), math.sin(z)
    turn = np.array(  # about z, after y, after x
        [
            [cz * cy, sz * cx + cz * sy * sx, sz * sx - cz * sy * cx],
            [-sz * cy, cz * cx - sz * sy * sx, cz * sx + sz * sy * cx],
            [sy, -cy * sx, cy * cx],
        ]
    )
    view.matrix = turn if view.matrix is None else turn @ view.matrix


def draw_noise(
    view: View, source: Uniforms, shape: tuple[int, ...], deviation: float = 0.01, p: float = _CHANCE
) -> None:
    if source.chance() < p:
        view.noise = source.noise(deviation, shape)


def draw_blur(view: View, source: Uniforms, low: float = 0.1, high: float = 2.0, p: float = _CHANCE) -> None:
    sigma = source.uniform(low, high)
    if source.blur_chance() < p:
        view.sigma = sigma


def draw_mask(view: View, source: Uniforms, p: float = _CHANCE) -> None:
    if source.chance() < p:
        view.masked = source.integer(3)


def draw_reverse(view: View, source: Uniforms, p: float = _CHANCE) -> None:
    view.reverse = source.chance() < p


def draw_view(
    source: Uniforms, shape: tuple[int, ...], *, shear: float = 0.5, padding_ratio: int = 6, extreme: str = ""
) -> View:
    """One view of a clip of `shape` (C, T, V, M): crop and shear; with digits in `extreme`, those
    augmentations.

    1 flip, 2 rotation, 3 noise, 4 blur, 5 axis mask, 6 reversal: always in this order. A ratio or an
    amplitude that is
    not positive switches its step off.
    """
    if unknown := set(extreme) - set("123456"):
        raise KinoscopeError(
            "augmentations are the digits 1 to 6", field="aug_method", value="".join(sorted(unknown))
        )
    view = View()
    if padding_ratio > 0:
        draw_crop(view, source, shape[1], padding_ratio)
    if shear > 0:
        draw_shear(view, source, shear)
    if "1" in extreme:
        draw_flip(view, source)
    if "2" in extreme:
        draw_rotation(view, source)
    if "3" in extreme:
        draw_noise(view, source, shape)
    if "4" in extreme:
        draw_blur(view, source)
    if "5" in extreme:
        draw_mask(view, source)
    if "6" in extreme:
        draw_reverse(view, source)
    return view


def draw_gentle(
    view: View,
    source: OneGenerator,
    shape: tuple[int, ...],
    *,
    rotation: float = 0.0,
    scale: float = 0.0,
    tempo: float = 0.0,
    jitter: float = 0.0,
    limbs: float = 0.0,
    links: int = 0,
    posture: float = 0.0,
    hide: float = 0.0,
    withhold: float = 0.0,
) -> None:
    """What a person could have done: another heading (+- degrees about y), size, build, pace, a noisier sensor.

    Ours, for small data sets (the published views have none of it). tempo: up to this share of the clip is cut off,
    and the rest plays unevenly by a sine of up to a quarter of it; limbs: each of the skeleton's `links` bones is
    longer or shorter by up to this share; posture: deviation of a shift that a joint keeps throughout; hide: chance
    that a joint is not seen; withhold: chance that a stream is not (one always is). Zero switches each off.
    """
    if tempo > 0:
        length = 1 - tempo * source.uniform(0, 1)
        start = source.uniform(0, 1 - length)
        at = np.arange(shape[1]) / max(shape[1] - 1, 1)
        at = at + source.uniform(-tempo, tempo) / 4 * np.sin(math.pi * at * (1 + source.integer(2)))
        view.play = np.clip(start + length * at, 0, 1) * (shape[1] - 1)
    if rotation > 0 or scale > 0:
        turn = math.radians(source.uniform(-rotation, rotation))
        cos, sin = math.cos(turn), math.sin(turn)
        gentle = np.array([[cos, 0, -sin], [0, 1, 0], [sin, 0, cos]]) * (1 + source.uniform(-scale, scale))
        view.matrix = gentle if view.matrix is None else gentle @ view.matrix
    if limbs > 0:
        view.limbs = (2 * source.shares(links) - 1) * limbs
    for deviation, kept in ((jitter, shape), (posture, (shape[0], 1, *shape[2:]))):
        if deviation > 0:
            noise = source.noise(deviation, kept)
            view.noise = noise if view.noise is None else view.noise + noise
    if hide > 0:
        view.hidden = source.shares(shape[2]) < hide
    if withhold > 0:
        gone = (source.shares(3) < withhold).tolist()
        if all(gone):
            gone[source.integer(3)] = False
        view.withheld = tuple(gone)


def apply(x_NCTVM: Tensor, views: Sequence[View], layout: Layout = NTU_25) -> Tensor:
    """Every clip under its own view; a new tensor of the same shape, dtype and device."""
    N, C, T, V, M = x_NCTVM.shape
    device, dtype = x_NCTVM.device, x_NCTVM.dtype
    x = x_NCTVM
    if any(view.play is not None for view in views):
        at = np.stack([np.arange(T) if view.play is None else view.play for view in views])
        low = np.minimum(at.astype(np.int64), T - 2)
        share = torch.from_numpy(at - low).to(device, dtype)[:, None, :, None]
        rows = torch.from_numpy(low).to(device)[:, None, :, None].expand(N, C, T, V * M)
        flat = x.reshape(N, C, T, V * M)
        x = flat.gather(2, rows).lerp(flat.gather(2, rows + 1), share).view(N, C, T, V, M)
    if any(view.start is not None for view in views):
        rows = torch.from_numpy(_frames(views, T)).to(device)[:, None] + T * torch.arange(N * C).view(
            N, C, 1
        ).to(device)
        x = x.reshape(N * C * T, V * M).index_select(0, rows.flatten()).view(N, C, T, V, M)
    if any(view.matrix is not None for view in views):
        matrices = np.stack([np.eye(3) if view.matrix is None else view.matrix for view in views])
        m = torch.from_numpy(matrices).to(device, dtype)[..., None, None, None]
        x0, x1, x2 = x.unbind(1)
        turned = torch.empty_like(x)
        for i in range(3):  # a product of tiny matrices is slower than its nine terms
            torch.mul(x0, m[:, i, 0], out=turned[:, i])
            turned[:, i].addcmul_(x1, m[:, i, 1]).addcmul_(x2, m[:, i, 2])
        x = turned
    elif x is x_NCTVM:
        x = x.clone()
    if any(view.limbs is not None for view in views):
        grown = np.stack([np.zeros(len(layout.links)) if v.limbs is None else v.limbs for v in views])
        x = _resized(x, torch.from_numpy(grown).to(device, dtype), layout)
    if any(view.flip for view in views):
        chosen = torch.tensor([i for i, view in enumerate(views) if view.flip], device=device)
        x[chosen] = x[chosen][..., layout.flipped, :]
    for i, view in enumerate(views):
        if view.noise is not None:
            x[i] += torch.from_numpy(view.noise).to(device, dtype)
    if blurred := [i for i, view in enumerate(views) if view.sigma is not None]:
        sigmas = np.array([views[i].sigma for i in blurred])
        kernels = torch.from_numpy(_blur_matrices(sigmas, T)).to(device, dtype)
        chosen = torch.tensor(blurred, device=device)
        x[chosen] = (kernels[:, None] @ x[chosen].reshape(-1, C, T, V * M)).view(-1, C, T, V, M)
    for i, view in enumerate(views):
        if view.masked is not None:
            x[i, view.masked] = 0
        if view.reverse:
            x[i] = x[i].flip(1)
    if any(view.hidden is not None for view in views):
        none = np.zeros(V, bool)
        seen = np.stack([~(none if view.hidden is None else view.hidden) for view in views])
        x = x * torch.from_numpy(seen).to(device, dtype)[:, None, None, :, None]
    return x


def withhold(x_NCTVM: Tensor, views: Sequence[View]) -> Tensor:
    """Clips of all streams as channels (joint, motion, bone), with the streams that a view withholds at zero."""
    if all(view.withheld is None for view in views):
        return x_NCTVM
    kept = np.array([[not gone for gone in view.withheld or (False,) * 3] for view in views])
    shares = torch.from_numpy(kept).to(x_NCTVM).repeat_interleave(x_NCTVM.shape[1] // 3, 1)
    return x_NCTVM * shares[:, :, None, None, None]


def _resized(x_NCTVM: Tensor, grown_NL: Tensor, layout: Layout) -> Tensor:
    """Every bone longer by its share; what hangs from it moves along."""
    bones, moved = (torch.from_numpy(m).to(x_NCTVM) for m in layout.bone_matrices())
    change_NVV = (bones * grown_NL[:, None, :]) @ moved + torch.eye(layout.count).to(x_NCTVM)
    return torch.einsum("nctvm,nvw->nctwm", x_NCTVM, change_NVV).contiguous()


def _frames(views: Sequence[View], length: int) -> np.ndarray:
    """(N, T) source frame of every output frame under mirrored padding."""
    shifts = np.array([0 if view.start is None else view.start - view.padding for view in views])
    at = np.arange(length) + shifts[:, None]
    at = np.where(at < 0, -at - 1, at)
    return np.where(at >= length, 2 * length - 1 - at, at)


def _blur_matrices(sigmas: np.ndarray, length: int) -> np.ndarray:
    """(N, T, T) convolution along time with exp(-k^2 / (2 sigma^2)), |k| <= 7, zeros outside the clip."""
    distance = np.arange(length)[:, None] - np.arange(length)[None, :]
    weights = np.exp(-(distance**2) / (2 * sigmas[:, None, None] ** 2))
    return np.where(np.abs(distance) <= KERNEL_RADIUS, weights, 0.0)
