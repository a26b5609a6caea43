"""From items to events: batches of videos, the network, decoding, suppression, seconds.

Videos of one length go through the network together, each padded only as far as exactness needs
(`padded_length`, specification 4.1, 4.3). Items come one by one, so memory does not grow with their number.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from kinoscope.localization.decode import decode_levels, peaks, suppress, to_seconds
from kinoscope.localization.items import Item
from kinoscope.localization.models import LocalizerOutput, ModelConfig, padded_length
from kinoscope.localization.postprocess import postprocessed
from kinoscope.localization.settings import Decode
from kinoscope.timeline import Events

BATCH = 8  # videos of one padded length that go through the network together
DECODE = ("pre_nms_thresh", "pre_nms_topk", "duration_thresh", "score_temperature")
AFTERWARDS = ("ext_score_file", "postprocess")  # not of the suppression


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
) -> Events:
    """Events of all `items`, best first within a video; the model must be in evaluation mode."""
    parts = [Events.empty(label_names)]
    for batch, length in _batches(items, config):
        x_BCT, mask_B1T = pad([item.feats for item in batch], length, device)
        with _autocast(device, precision):
            output = model(x_BCT, mask_B1T)
        for row, item in enumerate(batch):
            parts.append(item_events(_row(output, row), config, item, decode, label_names))
    return Events.concat(parts)


def _autocast(device: torch.device, precision: str) -> Any:
    if precision == "fp32":
        return contextlib.nullcontext()
    return torch.autocast(device.type, torch.bfloat16 if precision == "bf16" else torch.float16)


def _batches(items: Iterable[Item], config: ModelConfig) -> Iterator[tuple[list[Item], int]]:
    """Runs of items with the same padded length, at most BATCH long."""
    batch: list[Item] = []
    length = 0
    for item in items:
        own = padded_length(item.feats.shape[1], config, exact=False)
        if batch and (own != length or len(batch) == BATCH):
            yield batch, length
            batch = []
        batch.append(item)
        length = own
    if batch:
        yield batch, length


def _row(output: LocalizerOutput, row: int) -> LocalizerOutput:
    return LocalizerOutput(
        *(
            [level[row].float() if level.is_floating_point() else level[row] for level in part]
            for part in output
        )
    )


def item_events(
    output: LocalizerOutput, config: ModelConfig, item: Item, decode: Decode, label_names: Sequence[str]
) -> Events:
    """Events of one video from its rows of the output (levels without the batch axis)."""
    settings = {name: value for name, value in decode.model_dump().items() if name not in AFTERWARDS}
    first = {name: settings.pop(name) for name in DECODE}
    if config.model_name == "SnapFormer":
        segments, scores, labels = _instants(output, item, config, decode)
    else:
        candidates = decode_levels(output.logits, output.offsets, output.masks, config.strides, **first)
        segments, scores, labels = suppress(*candidates, **settings)
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
    return events if decode.postprocess is None else postprocessed(events, decode.postprocess)


def _instants(
    output: LocalizerOutput, item: Item, config: ModelConfig, decode: Decode
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Peaks of the finest heat map of every class, as segments of no length; the best `max_seg_num`."""
    found = [
        peaks(output.logits[0][:, k], item.feats.shape[1], config.strides[0], decode.min_score)
        for k in range(output.logits[0].shape[1])
    ]
    place = np.concatenate([p for p, _ in found])
    score = np.concatenate([s for _, s in found])
    label = np.repeat(np.arange(len(found)), [len(p) for p, _ in found])
    best = np.argsort(-score, kind="stable")[: decode.max_seg_num]
    return np.stack([place, place], 1)[best], score[best], label[best]
