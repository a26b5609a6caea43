"""Proximal policy optimisation as AdaFocus uses it (section 3.3; specification 4.2-4.4, 11.5).

Episodes are the T decisions of a clip; a batch holds B of them. With one pass over the memory and equal
copies
the ratio is 1, so clipping acts only where the old log-probabilities come from elsewhere.

What differs from the official code:
1. The reward `padding`, whose official version crashes, is the chosen confidence less that with zeros in
   place
   of the local feature.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from kinoscope.recognition.models.policy import ActorCritic

REWARDS = ("random", "padding", "prev", "conf")


@dataclass(frozen=True)
class Memory:
    """One rollout: states [T, B, D, M, M], actions [T, B] or [T, B, 2], old log-probabilities, rewards [T,
    B]."""

    states: Tensor
    actions: Tensor
    log_probabilities: Tensor
    rewards: Tensor


def reward(kind: str, chosen_TB: Tensor, baseline_TB: Tensor) -> Tensor:
    """Rewards [T, B] from the true class's probability with the chosen and with the baseline window."""
    if kind in ("random", "padding"):
        return chosen_TB - baseline_TB
    if kind == "prev":
        return torch.diff(chosen_TB, dim=0, prepend=torch.zeros_like(chosen_TB[:1]))
    if kind == "conf":
        return chosen_TB
    raise ValueError(f"no reward {kind!r}; there are {', '.join(REWARDS)}")


def normalized_returns(rewards_TB: Tensor, gamma: float) -> Tensor:
    """Discounted sums R_t = r_t + gamma R_{t+1} [T, B], normalised over all T * B of them."""
    returns = torch.empty_like(rewards_TB)
    running = torch.zeros_like(rewards_TB[0])
    for t in reversed(range(len(rewards_TB))):
        running = rewards_TB[t] + gamma * running
        returns[t] = running
    return (returns - returns.mean()) / (returns.std() + 1e-5)


def ppo_loss(
    policy: ActorCritic,
    memory: Memory,
    returns_TB: Tensor,
    eps_clip: float = 0.2,
    value_weight: float = 0.5,
    entropy_weight: float = 0.01,
) -> Tensor:
    """-mean(min(r A, clip(r) A)) + value_weight MSE(V, R) - entropy_weight mean(entropy)."""
    log_probability, value, entropy = policy.evaluate(memory.states, memory.actions)
    ratio = torch.exp(log_probability - memory.log_probabilities)
    advantage = returns_TB - value.detach()
    gain = torch.min(ratio * advantage, ratio.clamp(1 - eps_clip, 1 + eps_clip) * advantage)
    return -gain.mean() + value_weight * F.mse_loss(value, returns_TB) - entropy_weight * entropy.mean()


def ppo_update(
    policy: ActorCritic,
    acting: ActorCritic,
    optimizer: torch.optim.Optimizer,
    memory: Memory,
    *,
    gamma: float = 0.7,
    eps_clip: float = 0.2,
    epochs: int = 1,
) -> list[float]:
    """One update of `policy` from a rollout of `acting`, which then takes over its weights; the losses."""
    returns = normalized_returns(memory.rewards, gamma)
    losses = []
    for _ in range(epochs):
        loss = ppo_loss(policy, memory, returns, eps_clip)
        optimizer.zero_grad()
        loss.backward()
        average_gradients(policy)
        optimizer.step()
        losses.append(float(loss.detach()))
    acting.load_state_dict(policy.state_dict())
    return losses


def average_gradients(policy: torch.nn.Module) -> None:
    """Mean of the gradients over processes, where there are several: each has rolled out its own clips."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        count = torch.distributed.get_world_size()
        if count > 1:
            for parameter in policy.parameters():
                if parameter.grad is not None:
                    torch.distributed.all_reduce(parameter.grad)
                    parameter.grad /= count


def policy_optimizer(policy: ActorCritic, learning_rate: float = 3e-4) -> torch.optim.Adam:
    """The published optimiser: Adam, no weight decay, no schedule."""
    return torch.optim.Adam(policy.parameters(), lr=learning_rate, betas=(0.9, 0.999), eps=1e-8)
