"""Uni-AdaFocus: where to look, how large a window, and at which frames; one stage.

Wang et al., TPAMI 2024 (specification 12.2). Shapes: B clips, L frames loaded (48), G frames glanced at and
looked at (16), S frame side, P window side, D = 1280 channels of the glance, C classes.

What differs from the official code:
1. Written from the paper's description: module names and initialisation are this project's own, and official
   checkpoints of this model are not read.
2. Frames are counted from the number of frames loaded; nothing is fixed to 48 and 16.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kinoscope.recognition.models.adafocus import step_loss
from kinoscope.recognition.models.backbones import GLOBAL_WIDTH, LOCAL_WIDTH, GlobalCNN, LocalCNN
from kinoscope.recognition.models.classifiers import FrameMlp
from kinoscope.recognition.models.windows import check_patch, soft_window


def frame_choice(weights_BG: Tensor, frames: int, chosen: int, offsets: Tensor | float = 0.5) -> Tensor:
    """Indices [B, chosen] of the frames to look at: quantiles of the weights over time.

    weights: importance of G equal parts of the clip, sum 1. offsets: 0.5 at test time, uniform [B, chosen] in
    training. The inverse of the cumulative weights at (i + offset) / chosen, linear inside a part, times the
    number of frames; then strictly increasing, then capped so that the later ones still fit.
    """
    parts = weights_BG.shape[1]
    end = weights_BG.cumsum(1)
    at = ((torch.arange(chosen, device=end.device) + offsets) / chosen).expand(len(end), chosen).contiguous()
    part = torch.searchsorted(end, at).clamp(max=parts - 1)
    width = weights_BG.gather(1, part)
    start = end.gather(1, part) - width
    inside = ((at - start) / width.clamp_min(1e-12)).clamp(0, 1)
    index = torch.floor((part + inside) / parts * frames).long()
    step = torch.arange(chosen, device=end.device)
    index = (index - step).cummax(1).values + step
    return torch.minimum(index, frames - chosen + step)


class TemporalPolicy(nn.Module):
    """Importance of every glance [B, G], by convolutions over time."""

    def __init__(self, channels: int = GLOBAL_WIDTH, hidden: int = 64) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv1d(channels, hidden, 3, padding=1),
            nn.BatchNorm1d(hidden),
            nn.ReLU(),
            nn.Conv1d(hidden, hidden, 3, padding=1),
            nn.BatchNorm1d(hidden),
            nn.ReLU(),
            nn.Conv1d(hidden, 1, 1),
        )

    def forward(self, vectors_BGD: Tensor) -> Tensor:
        return self.net(vectors_BGD.transpose(1, 2)).squeeze(1)


class SpatialPolicy(nn.Module):
    """Window (row, column, height, width) in [0, 1] of every glance [B, G, 4], by convolutions over the
    volume."""

    def __init__(self, channels: int = GLOBAL_WIDTH, map_size: int = 7, hidden: int = 128) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for width, kernel in ((channels, 1), (hidden, 3), (hidden, 3)):
            layers += [
                nn.Conv3d(width, hidden, kernel, padding=kernel // 2, bias=False),
                nn.BatchNorm3d(hidden),
                nn.ReLU(),
            ]
        self.net = nn.Sequential(*layers, nn.Conv3d(hidden, 4, (1, map_size, map_size)))

    def forward(self, maps_BGDMM: Tensor) -> Tensor:
        return self.net(maps_BGDMM.transpose(1, 2)).flatten(2).transpose(1, 2).sigmoid()


class UniClassifier(nn.Module):
    """Two running maxima, and a head for every exit: G global ones, then one after each local frame."""

    def __init__(self, classes: int, steps: int, hidden: int = 4096, dropout: float = 0.2) -> None:
        super().__init__()
        self.global_mlp, self.local_mlp = FrameMlp(GLOBAL_WIDTH, hidden), FrameMlp(LOCAL_WIDTH, hidden)
        self.dropout = nn.Dropout(dropout)
        self.global_heads = nn.ModuleList(nn.Linear(hidden, classes) for _ in range(steps))
        self.local_heads = nn.ModuleList(nn.Linear(2 * hidden, classes) for _ in range(steps))

    def forward(self, global_BGD: Tensor, local_BGD: Tensor) -> Tensor:
        """Logits [B, 2 G, C] of all exits in the order in which they are reached."""
        glanced = self.global_mlp(global_BGD).cummax(1).values
        looked = self.local_mlp(local_BGD).cummax(1).values
        looked = torch.cat([looked, glanced[:, -1:].expand_as(looked)], -1)
        exits = [head(self.dropout(glanced[:, t])) for t, head in enumerate(self.global_heads)]
        exits += [head(self.dropout(looked[:, t])) for t, head in enumerate(self.local_heads)]
        return torch.stack(exits, 1)


class UniAdaFocus(nn.Module):
    """The complete system."""

    def __init__(
        self,
        classes: int,
        *,
        num_segments: int = 48,
        num_focus_segments: int = 16,
        patch_size: int = 128,
        smallest_window: int = 96,
        input_size: int = 224,
        classifier_dim: int = 4096,
        dropout: float = 0.2,
        draws: int = 128,
    ) -> None:
        super().__init__()
        check_patch(patch_size, input_size, input_size)
        self.frames, self.steps = num_segments, num_focus_segments
        self.patch_size, self.smallest, self.draws = patch_size, smallest_window, draws
        self.global_cnn = GlobalCNN(classes, dropout)
        self.local_cnn = LocalCNN(classes)
        self.local_dropout = nn.Dropout(dropout)
        self.temporal_policy = TemporalPolicy()
        self.spatial_policy = SpatialPolicy(map_size=input_size // 32)
        self.surrogate_head = nn.Linear(GLOBAL_WIDTH, classes)
        self.classifier = UniClassifier(classes, num_focus_segments, classifier_dim, dropout)

    def glanced(self, frames_BL3SS: Tensor) -> Tensor:
        """The frames to glance at [B, G, 3, S, S]: the middle one of every part; a random one in training."""
        parts = frames_BL3SS.unflatten(1, (self.steps, -1))
        count, clips = parts.shape[2], len(parts)
        at = torch.full((clips, self.steps), count // 2, device=parts.device)
        if self.training:
            at = torch.randint(count, (clips, self.steps), device=parts.device)
        return parts[torch.arange(clips)[:, None], torch.arange(self.steps)[None], at]

    def forward(
        self,
        frames_BL3SS: Tensor,
        windows_BL4: Tensor | None = None,
        chosen_BG: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """`logits` [B, 2 G, C] of the exits, `global_logits` and `local_logits` [B, G, C], `weights` [B, G],
        `windows` [B, L, 4], `frames` [B, G], and the surrogates' `temporal_logits`, `spatial_logits` [B,
        C]."""
        glances = self.glanced(frames_BL3SS)
        clips = len(glances)
        maps, vectors = self.global_cnn(glances.flatten(0, 1))
        maps, vectors = maps.unflatten(0, (clips, -1)), vectors.unflatten(0, (clips, -1))
        global_logits = self.global_cnn.head(vectors)
        weights = self.temporal_policy(vectors.detach()).softmax(-1)
        sizes = self.spatial_policy(maps.detach())
        windows = windows_BL4
        if windows is None:
            windows = F.interpolate(sizes.transpose(1, 2), self.frames, mode="linear").transpose(1, 2)
        if chosen_BG is None:
            offsets = torch.rand(clips, self.steps, device=weights.device) if self.training else 0.5
            chosen_BG = frame_choice(weights.detach(), self.frames, self.steps, offsets)
        rows = torch.arange(clips, device=chosen_BG.device)[:, None]
        looked = frames_BL3SS[rows, chosen_BG].flatten(0, 1)
        where = windows[rows, chosen_BG].flatten(0, 1).detach()
        patches = soft_window(looked, where, self.patch_size, self.smallest)
        local = self.local_cnn(patches).unflatten(0, (clips, -1))
        pooled = soft_window(maps.flatten(0, 1).detach(), sizes.flatten(0, 1), self._pooled_side(maps)).mean(
            (2, 3)
        )
        assert self.local_cnn.head is not None
        return {
            "logits": self.classifier(vectors, local),
            "global_logits": global_logits,
            "local_logits": self.local_cnn.head(self.local_dropout(local)),
            "temporal_logits": surrogate(global_logits.detach(), weights, self.draws),
            "spatial_logits": self.surrogate_head(pooled.unflatten(0, (clips, -1)).mean(1)),
            "weights": weights,
            "sizes": sizes,
            "windows": windows,
            "frames": chosen_BG,
        }

    def _pooled_side(self, maps: Tensor) -> int:
        return max(self.smallest * maps.shape[-1] // 224, 1)


def surrogate(logits_BGC: Tensor, weights_BG: Tensor, draws: int = 128, removed: int = 5) -> Tensor:
    """Weighted mean of the glances' logits [B, C], 0, 1, .., removed - 1 glances left out by weighted draws.

    The temporal policy learns through it: a glance that carries the class ought to have much weight. Mean
    over
    `draws` samplings without replacement and over the numbers left out.
    """
    clips, glances = weights_BG.shape
    removed = min(removed, glances)
    total = torch.zeros_like(logits_BGC[:, 0])
    left_out = torch.multinomial(weights_BG.detach().repeat(draws, 1) + 1e-9, max(removed - 1, 1))
    left_out = left_out.view(draws, clips, -1)
    for count in range(removed):
        keep = torch.ones(draws, clips, glances, device=weights_BG.device)
        keep.scatter_(2, left_out[:, :, :count], 0)
        kept = keep * weights_BG
        kept = (kept / kept.sum(-1, keepdim=True).clamp_min(1e-12)).mean(0)
        total = total + (kept[..., None] * logits_BGC).sum(1)
    return total / removed


def uni_loss(
    learned: dict[str, Tensor], random: dict[str, Tensor], labels_B: Tensor, norm_ratio: float = 1.0
) -> Tensor:
    """Five cross-entropies, learned and random pass summed and halved, plus norm_ratio * mean((size -
    1)^2)."""
    total = learned["logits"].new_zeros(())
    for out in (learned, random):
        for name in ("logits", "global_logits", "local_logits"):
            total = total + step_loss(out[name], labels_B)
        for name in ("temporal_logits", "spatial_logits"):
            total = total + F.cross_entropy(out[name], labels_B)
    return total / 2 + norm_ratio * (learned["sizes"][..., 2:] - 1).square().mean()
