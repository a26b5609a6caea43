"""Action grids, actor-critics and their updates."""

from __future__ import annotations

import numpy as np
import torch

from golden.adafocus.setup import gradients, numpy, parameter_norms, settings, tensors, weights
from golden.kit import Case, Outputs, Runner
from kinoscope.recognition.models.policy import ContinuousPolicy, DiscretePolicy
from kinoscope.recognition.models.windows import action_grid, corners, crop
from kinoscope.recognition.official import load_named, policy_names
from kinoscope.recognition.ppo import Memory, normalized_returns, policy_optimizer, ppo_update


def patch_grid(case: Case) -> Outputs:
    given = settings(case, {"action_dims", "patch_sizes", "image_size", "patch_of_image"})
    out: Outputs = {}
    for actions in given["action_dims"]:
        positions = action_grid(actions)
        out[f"positions_{actions}"] = numpy(positions)
        for patch in given["patch_sizes"]:
            out[f"corner_{actions}_{patch}"] = numpy(corners(positions, given["image_size"], patch))
    image, actions = tensors(case, "image", "actions")
    patch = given["patch_of_image"]
    out["patches"] = numpy(crop(image, corners(actions, tuple(image.shape[-2:]), patch), patch))
    return out


def actor_critic(case: Case) -> Outputs:
    given = settings(
        case,
        {"feature_map_channels", "map_size", "hidden_state_dim", "action_dim", "policy_conv"},
        {"num_segments"},
    )
    policy = DiscretePolicy(
        given["feature_map_channels"],
        given["map_size"],
        given["hidden_state_dim"],
        given["action_dim"],
        given["policy_conv"],
    )
    load_named(policy, weights(case), policy_names(policy))
    states, actions = tensors(case, "states", "actions")
    with torch.no_grad():
        log_probability, value, entropy = policy.evaluate(states, actions)
        hidden = policy.hidden_states(states)
        greedy, _ = policy.act(states, explore=False)
        return {
            "logprob": numpy(log_probability),
            "value": numpy(value),
            "entropy": numpy(entropy),
            "probability": numpy(policy.probabilities(hidden)),
            "greedy_action": numpy(greedy),
            "hidden": numpy(hidden[-1:]),
        }


def update(case: Case) -> Outputs:
    given = settings(
        case,
        {
            "feature_map_channels", "map_size", "hidden_state_dim", "action_dim", "policy_conv", "gamma",
            "policy_lr", "eps_clip", "k_epochs", "reward_scale", "updates",
        },
        {"num_segments"},
    )  # fmt: skip
    pair = [
        DiscretePolicy(
            given["feature_map_channels"],
            given["map_size"],
            given["hidden_state_dim"],
            given["action_dim"],
            given.get("policy_conv", True),
        )
        for _ in range(2)
    ]
    policy, acting = pair
    names, old_names = policy_names(policy, "policy."), policy_names(acting, "policy_old.")
    state = weights(case)
    load_named(policy, state, names, ("policy_old.",))
    load_named(acting, state, old_names, ("policy.",))
    optimizer = policy_optimizer(policy, given.get("policy_lr", 3e-4))
    losses: list[float] = []
    first: Outputs = {}
    returns = torch.zeros(())
    count = given.get("updates", 1)
    for u in range(count):
        end = f"_{u}" if "updates" in given else ""
        states, actions, rewards = tensors(case, f"states{end}", f"actions{end}", f"rewards{end}")
        if f"old_logprobs{end}" in case.inputs:
            old = tensors(case, f"old_logprobs{end}")[0]
        else:
            with torch.no_grad():
                old = acting.evaluate(states, actions)[0]
        memory = Memory(states, actions, old, rewards * given.get("reward_scale", 1.0))
        returns = normalized_returns(memory.rewards, given["gamma"])
        losses += ppo_update(
            policy,
            acting,
            optimizer,
            memory,
            gamma=given["gamma"],
            eps_clip=given["eps_clip"],
            epochs=given["k_epochs"],
        )
        first = first or gradients(policy, names)
    equal = all(torch.equal(a, b) for a, b in zip(policy.parameters(), acting.parameters(), strict=True))
    return {
        "loss/ppo": np.array(losses),
        "return": numpy(returns),
        "old_equals_new": np.array(equal),
        **first,
        **parameter_norms(policy, names),
    }


def continuous(case: Case) -> Outputs:
    given = settings(
        case,
        {
            "feature_dim", "hidden_state_dim", "action_std", "policy_lr", "gamma", "actorcritic_with_bn",
            "reward_scale", "eps_clip", "k_epochs",
        },
    )  # fmt: skip
    states, actions, rewards, old = tensors(case, "states", "actions", "rewards", "old_logprobs")
    pair = [
        ContinuousPolicy(
            given["feature_dim"],
            states.shape[-1],
            given["hidden_state_dim"],
            given["action_std"],
            given["actorcritic_with_bn"],
        )
        for _ in range(3)
    ]
    policy, acting, copy = pair
    names = policy_names(policy)
    for each in pair:
        load_named(each, weights(case), names)
        each.train()
    with torch.no_grad():
        log_probability, value, entropy = copy.evaluate(states, actions)
    memory = Memory(states, actions, old, rewards * given.get("reward_scale", 1.0))
    losses = ppo_update(
        policy,
        acting,
        policy_optimizer(policy, given["policy_lr"]),
        memory,
        gamma=given["gamma"],
        eps_clip=given.get("eps_clip", 0.2),
        epochs=given.get("k_epochs", 1),
    )
    return {
        "logprob": numpy(log_probability),
        "value": numpy(value),
        "entropy": numpy(entropy),
        "loss/ppo": np.array(losses),
        **gradients(policy, names),
        **parameter_norms(policy, names),
    }


RUNNERS: dict[str, Runner] = {
    "adafocus.patch_grid": patch_grid,
    "adafocus.actor_critic": actor_critic,
    "adafocus.ppo_update": update,
    "adafocus.ppo_continuous": continuous,
}
