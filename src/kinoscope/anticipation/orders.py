"""What usually follows what: the orders of the training actions as a hidden Markov model that motion informs.

A state is the last `memory` actions (the start of a stream counts as one) and whether the latest still goes on or a
pause follows it. Counts of the training streams say how likely each next action is, shorter memories stand in for
those that are rare; times in a state are exponential with the mean of the training streams. The network's
probabilities of what goes on at each step are the evidence, tempered because neighbouring steps tell much the same.
The belief after a step depends on that step and the belief before: it grows with a stream.

No part of S-GEAR (difference from the official code): six orders of five actions are more than a network of one window
learns from forty streams, and little for counts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from kinoscope.anticipation.settings import OrderSettings

START = -1
SHARE = 0.5  # how many observations a shorter memory counts for
LEAST = 1e-6  # evidence and probabilities are at least this

Context = tuple[int, ...]
Order = Sequence[tuple[float, float, int]]


@dataclass(frozen=True)
class Orders:
    """contexts: remembered actions of each state, the latest last; following (S, A): probability of the next action;
    then (S, A): the state it leads to; action_s (A,): mean seconds of an action, pause_s, lead_s: of the pauses and of
    what precedes the first action; direct: share of actions that follow without a pause."""

    contexts: tuple[Context, ...]
    following: np.ndarray
    then: np.ndarray
    action_s: np.ndarray
    pause_s: float
    lead_s: float
    direct: float

    @classmethod
    def fit(cls, orders: Sequence[Order], classes: int, memory: int) -> Orders:
        """orders: (start_s, end_s, label) of the actions of each stream, by time."""
        counts: dict[Context, Counter[int]] = {}
        known: dict[Context, None] = {(START,): None, **{(a,): None for a in range(classes)}}
        for order in orders:
            labels = [START, *(label for _, _, label in order)]
            for k in range(1, len(labels) + 1):
                known[tuple(labels[max(k - memory, 0) : k])] = None
                for size in range(min(memory, k) + 1):
                    if k < len(labels):
                        counts.setdefault(tuple(labels[k - size : k]), Counter())[labels[k]] += 1
        contexts = tuple(known)
        place = {context: row for row, context in enumerate(contexts)}
        following = np.stack([_following(counts, context, classes) for context in contexts])
        then = np.array([[_longest(place, (*c, a), memory) for a in range(classes)] for c in contexts])
        spans = [(b - a, label) for order in orders for a, b, label in order]
        gaps = [max(b[0] - a[1], 0.0) for order in orders for a, b in pairwise(order)]
        usual = _mean([length for length, _ in spans])
        action_s = [_mean([length for length, label in spans if label == a], usual) for a in range(classes)]
        return cls(
            contexts,
            following,
            then,
            np.array(action_s),
            _mean(gaps),
            _mean([order[0][0] for order in orders if len(order)]),
            float(np.mean([gap < 1e-3 for gap in gaps])) if gaps else 0.0,
        )

    # -- beliefs: (2 S,), states in which the action goes on, then those in which it is over --------------------

    def start(self, known: bool = True) -> np.ndarray:
        """Nothing has happened yet; or, not known, anything may have."""
        states = len(self.contexts)
        belief = np.full(2 * states, 1.0 / (2 * states))
        if known:
            belief = np.zeros(2 * states)
            belief[states] = 1.0
        return belief

    def moves(self, seconds: float) -> np.ndarray:
        """(2 S, 2 S) probabilities of the states after so many seconds."""
        states = len(self.contexts)
        latest = np.array([context[-1] for context in self.contexts])
        out = np.zeros((2 * states, 2 * states))
        for row in range(states):
            lasts = self.lead_s if latest[row] == START else self.pause_s
            over = min(seconds / max(lasts, 1e-3), 0.95)
            out[states + row, states + row] += 1 - over
            np.add.at(out[states + row], self.then[row], over * self.following[row])
            if latest[row] == START:
                out[row, row] = 1.0  # the start of a stream is no action: nothing ever is there
                continue
            ends = min(seconds / max(self.action_s[latest[row]], 1e-3), 0.95)
            out[row, row] += 1 - ends
            out[row, states + row] += ends * (1 - self.direct)
            np.add.at(out[row], self.then[row], ends * self.direct * self.following[row])
        return out

    def weigh(self, belief: np.ndarray, p: np.ndarray, power: float) -> np.ndarray:
        """The belief after evidence p (A + 1,) of what goes on, the last entry for nothing."""
        likely = np.maximum(p, LEAST) ** power
        latest = np.array([context[-1] for context in self.contexts])
        belief = belief * np.concatenate([likely[latest], np.full(len(latest), likely[-1])])
        return belief / belief.sum()

    def next_action(self, belief: np.ndarray) -> np.ndarray:
        """(A,) probability of the action that starts next."""
        return (belief[: len(self.contexts)] + belief[len(self.contexts) :]) @ self.following

    # -- beside the weights ---------------------------------------------------------------------------------------

    def to_dict(self) -> dict[str, Any]:
        arrays = {name: getattr(self, name).tolist() for name in ("following", "then", "action_s")}
        numbers = {name: getattr(self, name) for name in ("pause_s", "lead_s", "direct")}
        return {"contexts": [list(context) for context in self.contexts], **arrays, **numbers}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Orders:
        following, then, action_s = (np.array(values[name]) for name in ("following", "then", "action_s"))
        pause_s, lead_s, direct = (float(values[name]) for name in ("pause_s", "lead_s", "direct"))
        contexts = tuple(tuple(context) for context in values["contexts"])
        return cls(contexts, following, then, action_s, pause_s, lead_s, direct)


class Follower:
    """Follows one stream after another through the steps of a network."""

    def __init__(self, orders: Orders, settings: OrderSettings, step_s: float) -> None:
        self.orders, self.settings, self.moves = orders, settings, orders.moves(step_s)

    def after(self, belief: np.ndarray, p: np.ndarray) -> np.ndarray:
        """The belief one step later, told what goes on then."""
        return self.orders.weigh(belief @ self.moves, p, self.settings.evidence)

    def follow(self, p_nA1: np.ndarray, from_start: bool = True) -> np.ndarray:
        """The belief after n steps of a stream, or of a part of it: (n, A + 1) evidence."""
        belief = self.orders.start(from_start)
        for p in p_nA1:
            belief = self.after(belief, p)
        return belief

    def answer(self, log_p_A: np.ndarray, belief: np.ndarray) -> np.ndarray:
        """(A,) logits of the next action: the network's own answer and that of the orders."""
        return self.settings.network * log_p_A + np.log(self.orders.next_action(belief) + LEAST)


def _following(counts: dict[Context, Counter[int]], context: Context, classes: int) -> np.ndarray:
    """(A,) probability of each next action, the longest memory first, shorter ones mixed in."""
    p_A = np.full(classes, 1.0 / classes)
    for size in range(len(context) + 1):
        seen = counts.get(context[len(context) - size :])
        if seen is not None:
            found = np.array([seen[a] for a in range(classes)], float)
            p_A = (found + SHARE * p_A) / (found.sum() + SHARE)
    return p_A


def _longest(place: dict[Context, int], context: Context, memory: int) -> int:
    """The state of the longest remembered end of `context`."""
    context = context[-memory:]
    while context not in place:
        context = context[1:]
    return place[context]


def _mean(values: Sequence[float], otherwise: float = 1.0) -> float:
    return float(np.mean(values)) if len(values) else otherwise
