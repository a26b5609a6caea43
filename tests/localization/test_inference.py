from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kinoscope.localization.decode import Candidates, decode_levels
from kinoscope.localization.inference import predict_items
from kinoscope.localization.items import Item, no_segments
from kinoscope.localization.models import Localizer, ModelConfig, localizer
from kinoscope.localization.settings import Decode, Postprocess
from kinoscope.timeline import Events

SMALL: dict[str, Any] = {
    "input_dim": 6,
    "num_classes": 3,
    "max_seq_len": 64,
    "backbone_arch": (1, 1, 2),
    "regression_range": ((0, 4), (4, 8), (8, 10000)),
    "n_head": 2,
    "n_mha_win_size": 5,
    "embd_dim": 16,
    "fpn_dim": 16,
    "head_dim": 16,
    "max_buffer_len_factor": 100.0,
}
NAMES = ("a", "b", "c")
DECODE = Decode(min_score=0.001, max_seg_num=50)


def network(**changes: Any) -> tuple[Localizer, ModelConfig]:
    torch.manual_seed(0)
    config = ModelConfig(**SMALL | changes)
    model = localizer(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)
        if model.reg_head is not None and config.model_name == "LocPointTransformer":
            model.reg_head.tower.output.bias.add_(3.0)  # so that segments have a length
    return model, config


def video(length: int, name: str = "v", seed: int = 0) -> Item:
    feats = torch.randn(6, length, generator=torch.Generator().manual_seed(seed))
    return Item(
        name, feats, *no_segments(), fps=10.0, duration=length / 10, feat_stride=1.0, feat_num_frames=1.0
    )


def events_of(model: Localizer, config: ModelConfig, items: list[Item], **options: Any) -> Events:
    return predict_items(
        model, config, items, options.pop("decode", DECODE), NAMES, torch.device("cpu"), **options
    )


def assert_same(found: Events, whole: Events) -> None:
    assert found.source.tolist() == whole.source.tolist()
    assert found.label.tolist() == whole.label.tolist()
    for name in ("start_s", "end_s", "score"):
        np.testing.assert_allclose(getattr(found, name), getattr(whole, name), atol=1e-5)


@pytest.mark.parametrize("kind", ["LocPointTransformer", "SnapFormer", "TBTFormer"])
def test_a_long_video_in_windows_equals_the_whole(kind: str) -> None:
    model, config = network(model_name=kind, heatmap_classes=kind == "SnapFormer")
    items = [video(500), video(40, "w")]
    whole = events_of(model, config, items, window=4608)
    assert len(whole) > 20
    seen: list[int] = []
    model.backbone.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].shape[1]))
    windows = events_of(model, config, items, window=64)
    assert_same(windows, whole)
    assert max(seen) < 300, "no more than a window and its surroundings go through the network at once"
    if kind == "TBTFormer":
        assert windows.uncertainty_s is not None
        assert whole.uncertainty_s is not None
        np.testing.assert_allclose(windows.uncertainty_s, whole.uncertainty_s, atol=1e-4)
        assert (whole.uncertainty_s > 0).all()


def test_a_batch_equals_one_by_one() -> None:
    model, config = network()
    items = [video(40, "a", 1), video(41, "b", 2), video(90, "c", 3), video(12, "d", 4)]
    alone = Events.concat([events_of(model, config, [item]) for item in items])
    assert len(alone) > 20
    assert_same(events_of(model, config, items), alone)


def test_rules_of_a_recipe_act_on_what_is_predicted() -> None:
    model, config = network()
    everything = events_of(model, config, [video(200)])
    middle = float(np.median(everything.score))
    rules = Postprocess(score_threshold=middle, max_overlap=0.2)
    found = events_of(model, config, [video(200)], decode=DECODE.model_copy(update={"postprocess": rules}))
    assert 0 < len(found) < len(everything) / 2
    assert found.score.min() >= middle


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 1000), st.integers(1, 40), st.lists(st.integers(1, 15), max_size=3))
def test_pieces_of_levels_decode_as_the_whole(seed: int, topk: int, cuts: list[int]) -> None:
    random = torch.Generator().manual_seed(seed)
    lengths = (64, 32)
    logits = [torch.randint(-4, 4, (t, 2), generator=random).float() for t in lengths]  # with ties
    offsets = [torch.rand(t, 2, generator=random) * 4 for t in lengths]
    masks = [torch.rand(t, generator=random) > 0.2 for t in lengths]
    options = {"pre_nms_thresh": 0.05, "pre_nms_topk": topk, "duration_thresh": 1.0}
    whole = decode_levels(logits, offsets, masks, (1.0, 2.0), **options)
    pieces = Candidates((1.0, 2.0), **options)
    bounds = sorted({0, 64, *(4 * cut for cut in cuts)})
    for first, last in pairwise(bounds):
        parts = [
            [level[first // stride : last // stride] for level, stride in zip(part, (1, 2), strict=True)]
            for part in (logits, offsets, masks)
        ]
        pieces.add(*parts, first=first)
    for column, expected in zip(pieces.result(), whole, strict=True):
        np.testing.assert_array_equal(column, expected)


def test_no_items_are_no_events() -> None:
    model, config = network()
    assert len(events_of(model, config, [])) == 0
