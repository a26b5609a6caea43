"""From items to events: batches of videos, the network, decoding, suppression, seconds.

Videos of one length go through the network together, each padded only as far as exactness needs
(`padded_length`, specification 4.1, 4.3). Items come one by one, so memory does not grow with their number; long
videos go window by window, and of each no more than the best candidates stay, so memory grows with the features
of a video alone.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from kinoscope.localization.decode import Candidates, suppress_indexed, to_seconds
from kinoscope.localization.decode_arrays import instants
from kinoscope.localization.items import Item, piece
from kinoscope.localization.models import (
    WINDOW,
    Localizer,
    LocalizerOutput,
    ModelConfig,
    output_windows,
    padded_length,
    window_overlap,
)
from kinoscope.localization.postprocess import postprocessed
from kinoscope.localization.settings import Decode
from kinoscope.timeline import Events

BATCH = 8  # videos of one padded length that go through the network together
DECODE = ("pre_nms_thresh", "pre_nms_topk", "duration_thresh", "score_temperature")
AFTERWARDS = ("ext_score_file", "postprocess", "peak_gap_s", "peak_pyramid")  # not of the suppression


def pad(feats: Sequence[Tensor], length: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Features [C, T_i], left-aligned in zeros: x [B, C, length] and mask [B, 1, length], True at real steps."""
    x_BCT = torch.zeros(len(feats), feats[0].shape[0], length, device=device)
    mask_B1T = torch.zeros(len(feats), 1, length, dtype=torch.bool, device=device)
    for row, item in enumerate(feats):
        x_BCT[row, :, : item.shape[1]] = item.to(device)
        mask_B1T[row, :, : item.shape[1]] = True
    return x_BCT, mask_B1T


@torch.no_grad()
def predict_items(
    model: nn.Module,
    config: ModelConfig,
    items: Iterable[Item],
    decode: Decode,
    label_names: Sequence[str],
    device: torch.device,
    precision: str = "fp32",
    window: int = WINDOW,
) -> Events:
    """Events of all `items`, best first within a video; the model must be in evaluation mode.

    window: steps of a long video that go through the network at once.
    """
    network, parts = cast(Localizer, model), list[Events]()
    for batch, length in _batches(items, config):
        answers = [Answer(item, config, decode) for item in batch]
        if window_overlap(config, length, window) is None:
            x_BCT, mask_B1T = pad([piece(item, 0, length) for item in batch], length, device)
            with _autocast(device, precision):
                output = network(x_BCT, mask_B1T)
            for row, answer in enumerate(answers):
                answer.add(_row(output, row))
        else:
            for answer in answers:
                take = _taker(answer.item, device)
                with _autocast(device, precision):
                    for first, output in output_windows(network, config, take, length, window):
                        answer.add(_row(output, 0), first)
        parts.extend(answer.events(label_names) for answer in answers)
    return Events.concat(parts) if parts else Events.empty(label_names)


def _autocast(device: torch.device, precision: str) -> Any:
    if precision == "fp32":
        return contextlib.nullcontext()
    return torch.autocast(device.type, torch.bfloat16 if precision == "bf16" else torch.float16)


def _batches(items: Iterable[Item], config: ModelConfig) -> Iterator[tuple[list[Item], int]]:
    """Runs of items with the same padded length, at most BATCH long; long videos come alone."""
    batch: list[Item] = []
    length = 0
    for item in items:
        own = padded_length(item.feats.shape[1], config, exact=False)
        if batch and (own != length or len(batch) * own >= BATCH * config.max_seq_len):
            yield batch, length
            batch = []
        batch.append(item)
        length = own
        if own > config.max_seq_len:
            yield batch, length
            batch = []
    if batch:
        yield batch, length


def _taker(item: Item, device: torch.device) -> Any:
    """Pieces of a video as x_BTC and mask_BT; beyond its end there are zeros."""

    def take(first: int, last: int) -> tuple[Tensor, Tensor]:
        piece_CT = piece(item, first, last)
        x_1TC = torch.zeros(1, last - first, item.feats.shape[0], device=device)
        mask_1T = torch.zeros(1, last - first, dtype=torch.bool, device=device)
        x_1TC[0, : piece_CT.shape[1]] = piece_CT.T.to(device)
        mask_1T[0, : piece_CT.shape[1]] = True
        return x_1TC, mask_1T

    return take


def _row(output: LocalizerOutput, row: int) -> LocalizerOutput:
    return LocalizerOutput(
        *(
            [level[row].float() if level.is_floating_point() else level[row] for level in part]
            for part in output
        )
    )


class Answer:
    """What the network says of one video: takes its outputs piece by piece, gives its events."""

    def __init__(self, item: Item, config: ModelConfig, decode: Decode) -> None:
        self.item, self.config, self.decode = item, config, decode
        first = {name: getattr(decode, name) for name in DECODE}
        self.candidates = Candidates([float(stride) for stride in config.strides], **first)
        self.heat: list[list[Tensor]] = []  # of SnapFormer: the heat maps of every piece, fine to coarse

    def add(self, output: LocalizerOutput, first: int = 0) -> None:
        """The levels (without the batch axis) of the piece that begins at step `first`; in order of time."""
        if self.config.model_name == "SnapFormer":
            self.heat.append([level.cpu() for level in output.logits])
        else:
            self.candidates.add(output.logits, output.offsets, output.masks, output.distributions, first)

    def events(self, label_names: Sequence[str]) -> Events:
        """The video's events in seconds, best first."""
        item, spread = self.item, None
        if self.config.model_name == "SnapFormer":
            segments, scores, labels = self._instants()
        else:
            settings = self.decode.model_dump(exclude={*DECODE, *AFTERWARDS})
            segments, scores, labels, index = suppress_indexed(*self.candidates.result(), **settings)
            spread = self.candidates.spread()
            spread = None if spread is None else spread[index] * (item.feat_stride / item.fps)
        order = np.argsort(-scores, kind="stable")
        seconds = to_seconds(
            segments[order].reshape(-1, 2),
            fps=item.fps,
            duration=item.duration,
            feat_stride=item.feat_stride,
            feat_num_frames=item.feat_num_frames,
        )
        seconds[:, 1] = np.maximum(seconds[:, 1], seconds[:, 0])
        events = Events.of(item.video_id, seconds, labels[order], scores[order], label_names)
        if spread is not None:
            events = replace(events, uncertainty_s=spread[order])
        rules = self.decode.postprocess
        return events if rules is None else postprocessed(events, rules)

    def _instants(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Peaks of the heat maps, as segments of no length in steps; the best `max_seg_num`."""
        levels = [torch.cat(parts).float().numpy() for parts in zip(*self.heat, strict=True)]
        gap = self.decode.peak_gap_s * self.item.fps / self.item.feat_stride
        steps, settings = self.item.feats.shape[1], self.decode.model_dump()
        return instants(levels, self.config.strides, steps, settings, gap)
