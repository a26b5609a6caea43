"""The next action while a stream grows, frame by frame: the same answers as from the file, at a fraction of the work.

Kept between frames: what the last frame's features need, the sum of the step in hand, the decoder's keys and values of
finished steps, and the belief of the orders. A frame costs one step of the decoder. When tau_o is full the window's
start moves on by half of it (`streams.first_step`), and that one frame costs half a window.
"""

from __future__ import annotations

import numpy as np
import torch

from kinoscope.anticipation.evaluate import softmax
from kinoscope.anticipation.models.anticipator import Memory
from kinoscope.anticipation.orders import Follower
from kinoscope.anticipation.pose_stream import PoseStream
from kinoscope.anticipation.predict import AnticipationModel
from kinoscope.anticipation.streams import first_step, step_starts
from kinoscope.errors import KinoscopeError


class OnlineAnticipator:
    """`push(joints)` after every frame of one stream: (A,) probabilities of the action that starts next."""

    def __init__(self, model: AnticipationModel, fps: float, up_axis: str = "y") -> None:
        """Raises KinoscopeError for a model that looks at a window as a whole."""
        recipe = model.settings
        if not recipe.model.causal:
            raise KinoscopeError(
                "this model looks at every window as a whole and cannot go on frame by frame",
                field="model.reference_quirks",
                value=recipe.model.reference_quirks,
                remedy="train with model.reference_quirks=false and model.mean_representation=false",
            )
        self.model, self.data, self.fps = model, recipe.streams, fps
        self.pose = PoseStream(model.reader.plan, fps, up_axis)
        self.follower = None
        if model.orders is not None and recipe.model.orders is not None:
            self.follower = Follower(model.orders, recipe.model.orders, 1 / recipe.streams.frame_rate)
        self.frames = 0
        self._sum = np.zeros(1, np.float32)  # of the frames of the step in hand
        self._count = 0
        self._steps: list[np.ndarray] = []  # finished steps of the window
        self._begin = 0  # number of the window's first step
        self._forget()

    def _forget(self) -> None:
        self._memory: Memory | None = None
        self._now: np.ndarray | None = None  # what goes on, foretold by the last finished step
        self._belief = None if self.follower is None else self.follower.orders.start(self._begin == 0)

    def push(self, joints_VC: np.ndarray) -> np.ndarray:
        """One more frame, (V, 3) in metres."""
        features = self.pose.push(np.asarray(joints_VC)[None])[0]
        starts = step_starts(self.frames, self.fps, self.data.frame_rate)
        if self.frames and starts[-1] == self.frames:
            self._finish_step()
            self._move_on(len(starts))
        self.frames += 1
        self._sum, self._count = self._sum + features, self._count + 1
        logits, now, _ = self._advance(self._mean())
        if self.follower is None or self._belief is None:
            return softmax(logits)
        own = logits - np.logaddexp.reduce(logits)
        belief = self._belief if self._now is None else self.follower.after(self._belief, self._now)
        return softmax(self.follower.answer(own, self.follower.after(belief, now)))

    def _mean(self) -> np.ndarray:
        return self.model.reader.standardise((self._sum / self._count)[None])[0]

    def _finish_step(self) -> None:
        self._steps.append(self._mean())
        self._sum, self._count = np.zeros(1, np.float32), 0
        self._take_in(self._steps[-1])

    def _take_in(self, step: np.ndarray) -> None:
        if self._now is not None and self._belief is not None and self.follower is not None:
            self._belief = self.follower.after(self._belief, self._now)
        _, self._now, self._memory = self._advance(step)

    def _move_on(self, count: int) -> None:
        """The window's start, now that `count` steps have begun."""
        begin = first_step(count, self.data.num_frames)
        if begin != self._begin:
            self._steps = self._steps[begin - self._begin :]
            self._begin = begin
            self._forget()
            for step in self._steps:
                self._take_in(step)

    def _advance(self, step: np.ndarray) -> tuple[np.ndarray, np.ndarray, Memory]:
        """Logits of the next action, probabilities of what goes on at the following step, the longer memory."""
        with torch.inference_mode():
            frame = torch.from_numpy(step)[None].to(self.model.device)
            out, memory = self.model.network.advance(frame, self._memory)
        now = (
            softmax(out["logits/current"][0].float().cpu().numpy())
            if self.follower is not None
            else np.empty(0)
        )
        return out["logits/action"][0].double().cpu().numpy(), now, memory
