"""The policies that say where to look: recurrent actor-critics, and AdaFocus V2's differentiable one.

AdaFocus section 3.3 (specification 4.1), AdaFocus-TSM (11.5), AdaFocus V2 section 3.2 (12.1).
Shapes: T decisions, B clips, D channels of the map, M its side, H hidden, A actions.

What differs from the official code:
1. The hidden state is an argument and a result; the memory of a rollout is kept by the caller (`ppo.py`).
2. No random number is drawn where the action is the greedy one.
"""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor, nn
from torch.distributions import Categorical, Distribution, Independent, Normal


class ActorCritic(nn.Module):
    """Map -> encoder -> GRU -> distribution of actions, and the value of the state."""

    def __init__(self, encoder: nn.Module, hidden: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.gru = nn.GRU(hidden, hidden)
        self.critic = nn.Linear(hidden, 1)

    @abstractmethod
    def distribution(self, hidden: Tensor) -> Distribution:
        """Distribution of actions given GRU outputs [..., H]."""

    @abstractmethod
    def greedy(self, dist: Distribution) -> Tensor:
        """The action taken when nothing is explored."""

    def hidden_states(self, states_TBDMM: Tensor, before_BH: Tensor | None = None) -> Tensor:
        """GRU outputs [T, B, H] over T decisions in a row."""
        encoded = self.encoder(states_TBDMM.flatten(0, 1)).unflatten(0, states_TBDMM.shape[:2])
        return self.gru(encoded, None if before_BH is None else before_BH[None].contiguous())[0]

    def evaluate(self, states_TBDMM: Tensor, actions_TB: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Log-probability of the actions, value of the states, entropy: each [T, B]."""
        hidden = self.hidden_states(states_TBDMM)
        dist = self.distribution(hidden)
        return dist.log_prob(actions_TB), self.critic(hidden).squeeze(-1), dist.entropy()

    def act(self, states_TBDMM: Tensor, explore: bool) -> tuple[Tensor, Tensor]:
        """Actions [T, B] (or [T, B, 2]) and their log-probabilities [T, B].

        No state depends on an earlier action, so all T decisions are taken in one pass.
        """
        hidden = self.hidden_states(states_TBDMM)
        dist = self.distribution(hidden)
        actions = self.bounded(dist.sample()) if explore else self.greedy(dist)
        return actions, dist.log_prob(actions)

    def bounded(self, actions: Tensor) -> Tensor:
        """Samples as the environment takes them."""
        return actions


class DiscretePolicy(ActorCritic):
    """Chooses one of A grid positions (AdaFocus; `norms` and 64 channels: Something-Something)."""

    def __init__(
        self,
        channels: int,
        map_size: int,
        hidden: int,
        actions: int,
        conv: bool = True,
        norms: bool = False,
        reduced: int = 32,
    ) -> None:
        encoder = conv_encoder(channels, map_size, hidden, reduced, norms) if conv else None
        super().__init__(encoder or flat_encoder(channels * map_size**2, hidden), hidden)
        self.actor = nn.Linear(hidden, actions)

    def probabilities(self, hidden: Tensor) -> Tensor:
        return self.actor(hidden).softmax(-1)

    def distribution(self, hidden: Tensor) -> Categorical:
        return Categorical(self.probabilities(hidden))

    def greedy(self, dist: Distribution) -> Tensor:
        assert isinstance(dist, Categorical)
        return dist.probs.argmax(-1)


class ContinuousPolicy(ActorCritic):
    """Gaussian around a position (row, column) in [0, 1]; samples are clamped to the frame."""

    def __init__(self, channels: int, map_size: int, hidden: int, std: float, norms: bool = True) -> None:
        super().__init__(conv_encoder(channels, map_size, hidden, 64, norms), hidden)
        self.actor = nn.Linear(hidden, 2)
        self.std = std

    def distribution(self, hidden: Tensor) -> Independent:
        mean = self.actor(hidden).sigmoid()
        return Independent(Normal(mean, torch.full_like(mean, self.std)), 1)

    def greedy(self, dist: Distribution) -> Tensor:
        return dist.mean

    def bounded(self, actions: Tensor) -> Tensor:
        return actions.clamp(0, 1)


def conv_encoder(channels: int, map_size: int, hidden: int, reduced: int, norms: bool) -> nn.Sequential:
    """1 x 1 convolution to `reduced` channels, then a linear layer; ReLU, and batch norm where `norms`."""
    flat = reduced * map_size**2
    layers: list[nn.Module] = [nn.Conv2d(channels, reduced, 1, bias=False)]
    layers += [nn.BatchNorm2d(reduced)] if norms else []
    layers += [nn.ReLU(), nn.Flatten(), nn.Linear(flat, hidden)]
    layers += [nn.BatchNorm1d(hidden)] if norms else []
    return nn.Sequential(*layers, nn.ReLU())


def flat_encoder(width: int, hidden: int) -> nn.Sequential:
    """Two linear layers on the flattened map (`policy_conv: false`)."""
    return nn.Sequential(nn.Flatten(), nn.Linear(width, 2048), nn.ReLU(), nn.Linear(2048, hidden), nn.ReLU())


class PositionPolicy(nn.Module):
    """AdaFocus V2: a position for every frame, trained through the window itself."""

    def __init__(self, channels: int, map_size: int = 7, hidden: int = 2048, reduced: int = 64) -> None:
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Conv2d(channels, reduced, 1, bias=False),
            nn.BatchNorm2d(reduced),
            nn.Tanh(),
            nn.Flatten(),
            nn.Linear(reduced * map_size**2, hidden),
            nn.BatchNorm1d(hidden),
            nn.Tanh(),
        )
        self.gru = nn.GRU(hidden, hidden, batch_first=True)
        self.fc = nn.Linear(hidden, 2)

    def forward(self, maps_BTDMM: Tensor) -> Tensor:
        """Positions [B, T, 2], (row, column) in [0, 1]. Detach the maps first: the method stops there."""
        encoded = self.encoder(maps_BTDMM.flatten(0, 1)).unflatten(0, maps_BTDMM.shape[:2])
        return self.fc(self.gru(encoded)[0]).sigmoid()


class MotionPolicy(nn.Module):
    """Looks where the glancer's map changes: for few videos, from which no policy can be learned.

    The weight of a cell is energy^sharpness * exp(w . map): the energy is its mean distance from the clip's mean map.
    `w` starts at zero and the sharpness at 3, so training refines what already works. Not in the official code.
    """

    def __init__(self, channels: int, sharpness: float = 3.0) -> None:
        super().__init__()
        self.score = nn.Conv2d(channels, 1, 1, bias=False)
        nn.init.zeros_(self.score.weight)
        self.sharpness = nn.Parameter(torch.tensor(sharpness))

    def forward(self, maps_BTDMM: Tensor) -> Tensor:
        """Centres [B, T, 2], (row, column) in [0, 1], of frames in their order; smoothed over neighbours."""
        energy = (maps_BTDMM - maps_BTDMM.mean(1, keepdim=True)).abs().mean(2)
        energy = energy / energy.mean((2, 3), keepdim=True).clamp_min(1e-6)
        learned = self.score(maps_BTDMM.flatten(0, 1)).view_as(energy)
        weight = (self.sharpness * (energy + 1e-4).log() + learned).flatten(2).softmax(-1).view_as(energy)
        at = torch.stack([_centre(weight.sum(3)), _centre(weight.sum(2))], -1)
        wide = torch.cat([at[:, :1], at, at[:, -1:]], 1)
        return wide[:, :-2] / 4 + wide[:, 1:-1] / 2 + wide[:, 2:] / 4


def _centre(weight: Tensor) -> Tensor:
    """Mean place [...] in [0, 1] of weights [..., M] with sum 1 over M cells in a row."""
    cells = weight.shape[-1]
    return weight @ ((torch.arange(cells, device=weight.device, dtype=weight.dtype) + 0.5) / cells)
