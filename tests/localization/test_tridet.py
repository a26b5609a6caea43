"""TriDet's own parts: SGP, its norm, the Trident head, the loss; training on streams."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from kinoscope.engine.folder import train_stages
from kinoscope.localization import losses
from kinoscope.localization.models import LocalizerOutput, ModelConfig, localizer
from kinoscope.localization.models.heads import HeadShape
from kinoscope.localization.models.sgp import SGP, MaskedGroupNorm
from kinoscope.localization.models.trident import TridentHead
from kinoscope.localization.stages import stages
from kinoscope.recipe import to_yaml
from kinoscope.tasks import load_recipe


def test_sgp_is_the_papers_formula() -> None:
    torch.manual_seed(0)
    layer, x = SGP(16, window=3, k=1.5), torch.randn(2, 10, 16)
    mask = torch.ones(2, 10, dtype=torch.bool)

    def conv(part: torch.nn.Module) -> torch.Tensor:
        kernel = part.weight.shape[-1]
        y = torch.nn.functional.conv1d(x.mT, part.weight, part.bias, padding=kernel // 2, groups=16)
        return y.mT

    assert layer.wide.weight.shape[-1] == 7
    phi = x.mean(1, keepdim=True).relu()  # the scale starts at 1, the shift at 0
    expected = phi * conv(layer.instant) + conv(layer.gate) * (conv(layer.narrow) + conv(layer.wide)) + x
    torch.testing.assert_close(layer(x, mask), expected, atol=1e-5, rtol=1e-5)


def test_the_masked_norm_is_group_norm_on_real_steps() -> None:
    torch.manual_seed(0)
    norm, x = MaskedGroupNorm(32), torch.randn(1, 20, 32)
    mask = torch.arange(20)[None] < 12
    expected = torch.nn.functional.group_norm(x[:, :12].mT, 16).mT
    torch.testing.assert_close(norm(x, mask)[:, :12], expected, atol=1e-5, rtol=1e-4)


def test_the_trident_head_finds_marked_bounds() -> None:
    """A start marked 3 steps before a point and an end 5 behind it are read off at that point."""
    head = TridentHead(HeadShape(8, 8), reg_max=6)
    start, end = torch.zeros(1, 20, 1), torch.zeros(1, 20, 1)
    start[0, 7], end[0, 15] = 50.0, 50.0
    logits = head._around(start, end, torch.zeros(1, 20, 14))
    distance = (logits.softmax(-1) * torch.arange(7)).sum(-1)
    torch.testing.assert_close(distance[0, 10], torch.tensor([3.0, 5.0]))
    assert float(distance[0, 2, 0]) == pytest.approx(3.0, abs=1e-4)  # nothing marked: the middle of the bins


def test_positives_weigh_by_their_overlap() -> None:
    logits, classes = torch.zeros(1, 2, 1), torch.tensor([[[1.0], [0.0]]])
    true, mask = torch.full((1, 2, 2), 2.0), torch.ones(1, 2, dtype=torch.bool)

    def loss(offset: float, kind: str) -> float:
        output = LocalizerOutput([logits], [torch.full((1, 2, 2), offset)], [mask], [])
        settings = losses.LossSettings(cls_loss_type=kind, iou_weight_power=0.5)
        return float(
            losses.localization_loss(output, classes, true, losses.LossNormaliser(1.0), settings)["cls_loss"]
        )

    assert loss(2.0, "iou_focal") == pytest.approx(loss(2.0, "focal"))
    positive, negative = 0.25 * 0.25 * np.log(2), 0.75 * 0.25 * np.log(2)
    assert loss(0.5, "iou_focal") == pytest.approx(
        0.5 * positive + negative, rel=1e-5
    )  # IoU 1/4, its root 1/2


def test_the_published_model_has_the_published_size() -> None:
    settings = load_recipe("localization/tridet_thumos_i3d")
    config = ModelConfig(
        **settings.model.published(), model_name="TriDet", input_dim=2048, num_classes=20, max_seq_len=2304
    )
    millions = sum(p.numel() for p in localizer(config).parameters()) / 1e6
    assert 15 < millions < 17


def test_trains_on_streams(tmp_path: Path) -> None:
    small = [
        "data.test_subjects=[p07]",
        "model.backbone={kind: sgp, arch: [1, 1, 2], embd_dim: 16, n_head: 2, n_mha_win_size: -1}",
        "model.neck.fpn_dim=16",
        "model.head.head_dim=16",
        "model.regression_range=[[0, 8], [8, 32], [32, 10000]]",
        "train.epochs=0.2",
        "train.schedule.warmup_epochs=0",
    ]
    chosen = load_recipe("localization/tridet_streams", small)
    result = train_stages(stages(chosen), tmp_path / "run", to_yaml(chosen), resume=False, quiet=True)
    assert np.isfinite(result["average_mAP"])
