"""From a sequence of frame features to class scores at every step.

GruClassifier and LinearClassifier: AdaFocus section 3.2 (specification 3.5, 3.6). PoolingClassifier:
AdaFocus V2,
after FrameExit (12.1). Shapes: B clips, T frames, F features, H hidden, C classes.
StatisticsClassifier is this project's own.

What differs from the official code:
1. The hidden state is an argument and a result; nothing is kept between calls.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class GruClassifier(nn.Module):
    """One-layer GRU, dropout, linear layer: logits after every frame."""

    def __init__(self, features: int, hidden: int, classes: int, dropout: float = 0.5) -> None:
        super().__init__()
        self.gru = nn.GRU(features, hidden, batch_first=True)
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(hidden, classes)

    def forward(self, features_BTF: Tensor) -> Tensor:
        """Logits [B, T, C]; those of the last step are the prediction."""
        return self.fc(self.dropout(self.gru(features_BTF)[0]))

    def step(self, features_BF: Tensor, hidden_BH: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Logits [B, C] and hidden state [B, H] after one more frame; `None` starts a clip."""
        before = None if hidden_BH is None else hidden_BH[None].contiguous()
        out, hidden = self.gru(features_BF[:, None], before)
        return self.fc(self.dropout(out[:, 0])), hidden[0]

    def probe(self, chosen_BTF: Tensor, other_BTF: Tensor) -> tuple[Tensor, Tensor]:
        """Logits [B, T, C] of the chosen features, and of the other one at each step after the chosen ones.

        The other feature at step t meets the state that the chosen features before t left behind: T single
        steps, here one batch of B * T.
        """
        out, _ = self.gru(chosen_BTF)
        before = torch.cat([torch.zeros_like(out[:, :1]), out[:, :-1]], 1)
        other, _ = self.step(other_BTF.flatten(0, 1), before.flatten(0, 1))
        return self.fc(self.dropout(out)), other.unflatten(0, out.shape[:2])


class LinearClassifier(nn.Module):
    """A linear layer on every frame; probabilities averaged over the frames."""

    def __init__(self, features: int, classes: int, dropout: float = 0.5) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(features, classes)

    def forward(self, features_BTF: Tensor) -> tuple[Tensor, Tensor]:
        """Logarithm of the mean probabilities [B, C], and the mean probabilities [B, C]."""
        mean = self.fc(self.dropout(features_BTF)).softmax(-1).mean(1)
        return mean.log(), mean


class FrameMlp(nn.Module):
    """Linear, batch norm, ReLU on every frame."""

    def __init__(self, features: int, hidden: int) -> None:
        super().__init__()
        self.linear = nn.Linear(features, hidden)
        self.norm = nn.BatchNorm1d(hidden)

    def forward(self, features_BTF: Tensor) -> Tensor:
        flat = self.norm(self.linear(features_BTF.flatten(0, 1))).relu()
        return flat.unflatten(0, features_BTF.shape[:2])


class PoolingClassifier(nn.Module):
    """Running maximum over the frames seen so far, and a linear head of its own for every step."""

    def __init__(
        self, features: int, classes: int, steps: int, hidden: int = 4096, dropout: float = 0.2
    ) -> None:
        super().__init__()
        self.mlp = FrameMlp(features, hidden)
        self.dropout = nn.Dropout(dropout)
        self.heads = nn.ModuleList(nn.Linear(hidden, classes) for _ in range(steps))

    def forward(self, features_BTF: Tensor) -> Tensor:
        """Logits [B, T, C] after 1, 2, ..., T frames."""
        seen = self.mlp(features_BTF).cummax(1).values
        return torch.stack([head(self.dropout(seen[:, t])) for t, head in enumerate(self.heads)], 1)


class StatisticsClassifier(nn.Module):
    """Mean, spread and change of the features seen so far; a linear layer of its own for every step.

    Few numbers to fit, so a few clips a class are enough. Frames come in their order in time; step k has seen the
    first k of `order`. The change is the mean distance between neighbours among the frames seen.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, features: int, classes: int, order: Sequence[int]) -> None:
        super().__init__()
        self.order = list(order)
        self.heads = nn.ModuleList(nn.Linear(3 * features, classes) for _ in self.order)
        self.register_buffer("mean", torch.zeros(len(self.order), 3 * features))
        self.register_buffer("scale", torch.ones(len(self.order), 3 * features))

    def statistics(self, features_BTF: Tensor) -> Tensor:
        """[B, T, 3 F] after 1, 2, ..., T frames."""
        steps = []
        for k in range(1, len(self.order) + 1):
            seen = features_BTF[:, sorted(self.order[:k])]
            change = seen.diff(dim=1).abs().mean(1) if k > 1 else torch.zeros_like(seen[:, 0])
            spread = (seen.var(1, correction=0) + 1e-12).sqrt()
            steps.append(torch.cat([seen.mean(1), spread, change], -1))
        return torch.stack(steps, 1)

    def standardize(self, features_BTF: Tensor) -> None:
        """Fits the normalisation in front of the linear layers to these clips."""
        seen = self.statistics(features_BTF)
        spread = seen.std(0, correction=0)
        self.mean.copy_(seen.mean(0))
        self.scale.copy_(torch.where(spread > 1e-5, spread, torch.ones_like(spread)))

    def forward(self, features_BTF: Tensor) -> Tensor:
        """Logits [B, T, C] after 1, 2, ..., T frames."""
        return self.heads_only((self.statistics(features_BTF) - self.mean) / self.scale)

    def heads_only(self, seen_BTS: Tensor) -> Tensor:
        """Logits [B, T, C] of standardised statistics."""
        return torch.stack([head(seen_BTS[:, t]) for t, head in enumerate(self.heads)], 1)
