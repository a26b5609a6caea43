"""Every localizer: one base class of checks, and the lengths, windows and errors around them."""

from __future__ import annotations

from typing import ClassVar

import pytest
import torch

from kinoscope.errors import KinoscopeError
from kinoscope.localization.export import Graph, traced
from kinoscope.localization.models import ModelConfig, localizer, padded_length, windowed_forward
from kinoscope.nn.recompute import set_recompute

SMALL = {
    "input_dim": 12,
    "num_classes": 3,
    "max_seq_len": 64,
    "backbone_arch": (1, 1, 2),
    "regression_range": ((0, 4), (4, 8), (8, 10000)),
    "n_head": 2,
    "n_mha_win_size": 5,
    "embd_dim": 16,
    "fpn_dim": 16,
    "head_dim": 16,
    "droppath": 0.1,
}


def random_model(config):
    torch.manual_seed(0)
    model = localizer(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)
    return model


def padded(videos, length):
    x = torch.zeros(len(videos), videos[0].shape[0], length)
    mask = torch.zeros(len(videos), 1, length, dtype=torch.bool)
    for i, video in enumerate(videos):
        x[i, :, : video.shape[1]] = video
        mask[i, :, : video.shape[1]] = True
    return x, mask


def assert_equal(output, other, atol=1e-5):
    """Equal at the unmasked points that both have."""
    for part, part2 in ((output.logits, other.logits), (output.offsets, other.offsets)):
        assert len(part) == len(part2)
        for level, level2, mask in zip(part, part2, other.masks, strict=False):
            steps = min(level.shape[1], level2.shape[1])
            assert int(mask[:, steps:].sum()) == 0
            keep = mask[:, :steps]
            assert torch.allclose(level[:, :steps][keep], level2[:, :steps][keep], atol=atol)


class ModelChecks:
    """What every localizer must do; a subclass names its settings."""

    settings: ClassVar[dict] = {}

    @property
    def config(self):
        return ModelConfig(**SMALL | self.settings)

    def test_forward_and_backward(self):
        config, model = self.config, random_model(self.config).train()
        output = model(*padded([torch.randn(12, 61), torch.randn(12, 33)], 64))
        assert [level.shape[1] for level in output.logits] == [64, 32, 16]
        sum(level.sum() for part in output if part is not output.masks for level in part).backward()
        missing = [name for name, p in model.named_parameters() if p.grad is None]
        assert not missing
        assert len(config.strides) == 3

    def test_recomputation_changes_no_gradient(self):
        model, inputs = (
            random_model(self.config).train(),
            padded([torch.randn(12, 61), torch.randn(12, 33)], 64),
        )
        gradients = []
        for again in (False, True):
            set_recompute(model, again)
            model.zero_grad()
            torch.manual_seed(1)
            output = model(*inputs)
            sum(x.sum() for part in (output.logits, output.offsets) for x in part).backward()
            gradients.append([p.grad for p in model.parameters()])
        assert all(torch.equal(a, b) for a, b in zip(*gradients, strict=True))

    def test_batch_equals_single(self):
        model, videos = random_model(self.config), [torch.randn(12, 41), torch.randn(12, 29)]
        both = model(*padded(videos, 64))
        for i, video in enumerate(videos):
            alone = model(*padded([video], 64))
            row = type(both)(*([level[i : i + 1] for level in part] for part in both))
            assert_equal(row, alone)

    @pytest.mark.parametrize("length", [1, 7, 30, 55])
    def test_padding_changes_nothing(self, length):
        model, video = random_model(self.config), torch.randn(12, length)
        short = padded_length(length, self.config, exact=False)
        assert short < 64
        assert_equal(model(*padded([video], short)), model(*padded([video], 64)))

    def test_what_lies_under_the_mask_is_not_seen_beyond_the_embedding(self):
        model = random_model(self.config)
        x, mask = padded([torch.randn(12, 40)], 64)
        noise = x.clone()
        noise[..., 48:] = 1e3  # further than a convolution reaches
        assert_equal(model(noise, mask), model(x, mask))

    def test_save_and_load(self, tmp_path):
        model, other = random_model(self.config), localizer(self.config).eval()
        torch.save(model.state_dict(), tmp_path / "model.pt")
        other.load_state_dict(torch.load(tmp_path / "model.pt", weights_only=True))
        inputs = padded([torch.randn(12, 50)], 64)
        assert torch.equal(model(*inputs).logits[0], other(*inputs).logits[0])

    def test_windows_equal_the_whole(self):
        model = random_model(self.config)
        x, mask = padded([torch.randn(12, 500)], 512)
        assert_equal(windowed_forward(model, self.config, x, mask, window=64), model(x, mask))

    def test_export(self):
        model, config = Graph(random_model(self.config)), self.config
        module = traced(model, config, 32).module()
        for length in (8, 44, 64):
            inputs = padded([torch.randn(12, length - 5)], length)
            with torch.no_grad():
                pairs = zip(model(*inputs), module(*inputs), strict=True)
            assert all(torch.allclose(own, other, atol=1e-5) for own, other in pairs)


class TestActionFormer(ModelChecks):
    settings: ClassVar[dict] = {"use_rel_pe": True}


class TestPositions(ModelChecks):
    settings: ClassVar[dict] = {"use_abs_pe": True}


class TestConvBackbone(ModelChecks):
    settings: ClassVar[dict] = {"backbone_type": "conv", "fpn_type": "fpn"}


class TestSnapFormer(ModelChecks):
    settings: ClassVar[dict] = {"model_name": "SnapFormer", "fpn_type": "cs_fpn"}


class TestTBTFormer(ModelChecks):
    settings: ClassVar[dict] = {"model_name": "TBTFormer", "fpn_type": "cs_fpn", "reg_max": 8, "n_hidden": 96}


class TestTriDet(ModelChecks):
    settings: ClassVar[dict] = {"model_name": "TriDet", "backbone_type": "sgp", "reg_max": 6, "n_hidden": 24}


class TestTridentHeadOnTransformer(ModelChecks):
    settings: ClassVar[dict] = {"model_name": "TriDet", "reg_max": 6}


class TestSecondTransformer(ModelChecks):
    settings: ClassVar[dict] = {
        "backbone_type": "convTransformerv2",
        "n_mha_win_size": (-1, 5, -1),
        "n_kv_head": 1,
        "use_rope": True,
        "use_flash_attn": True,
        "use_swiglu": True,
        "use_rms_norm": True,
        "head_version": 2,
    }


def test_published_lengths():
    thumos = ModelConfig(n_mha_win_size=19, num_classes=20, input_dim=2048)
    assert padded_length(1000, thumos) == 2304
    assert padded_length(1000, thumos, exact=False) == 1056
    assert padded_length(2400, thumos) == 2880
    assert (
        padded_length(2303, thumos, exact=False) == 2304
    )  # the official length leaves no step on some levels
    with pytest.raises(KinoscopeError, match="max_seq_len"):
        padded_length(2305, thumos, training=True)


def test_indivisible_length_names_the_remedy():
    with pytest.raises(KinoscopeError, match="72"):
        padded_length(10, ModelConfig(**SMALL | {"max_seq_len": 66, "n_mha_win_size": 19}))


def test_published_sizes():
    thumos = ModelConfig(n_mha_win_size=19, num_classes=20, input_dim=2048)
    assert sum(p.numel() for p in localizer(thumos).parameters()) == 29_251_612
