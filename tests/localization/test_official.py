"""Official checkpoints: there and back, and what is wrong with those that do not fit."""

from __future__ import annotations

import pytest
import torch

from kinoscope.errors import KinoscopeError
from kinoscope.localization.models import ModelConfig, localizer
from kinoscope.localization.official import from_official, load_official, optimizer_state, to_official
from kinoscope.localization.parameter_groups import parameter_groups

SMALL = ModelConfig(
    input_dim=(6, 6),
    embd_dim=(8, 8),
    num_classes=3,
    max_seq_len=64,
    backbone_arch=(1, 1, 1),
    regression_range=((0, 4), (4, 10000)),
    n_head=2,
    n_mha_win_size=5,
    use_rel_pe=True,
    fpn_dim=16,
    head_dim=16,
)


def test_there_and_back(tmp_path):
    model, other = localizer(SMALL), localizer(SMALL)
    state = {f"module.{name}": value for name, value in to_official(model).items()}
    assert state["module.backbone.stem.0.attn.key.weight"].shape == (16, 16, 1)
    assert state["module.backbone.stem.0.drop_path_attn.scale"].shape == (1, 16, 1)
    torch.save({"epoch": 1, "state_dict": state, "state_dict_ema": state}, tmp_path / "a.pth.tar")
    load_official(other, tmp_path / "a.pth.tar")
    for name, value in model.state_dict().items():
        assert torch.equal(value, other.state_dict()[name])


def test_a_partial_checkpoint_lists_what_is_wrong():
    model = localizer(SMALL)
    state = to_official(model)
    del state["cls_head.cls_head.conv.bias"]
    state["unknown.weight"] = torch.zeros(1)
    with pytest.raises(KinoscopeError) as error:
        from_official(state, model)
    assert "cls_head.cls_head.conv.bias: missing" in str(error.value)
    assert "unknown.weight: not in this model" in str(error.value)


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"cos\nsystem\n(S'true'\ntR."])
def test_unreadable_files(tmp_path, content):
    (tmp_path / "a.pth.tar").write_bytes(content)
    with pytest.raises(KinoscopeError, match="safely"):
        load_official(localizer(SMALL), tmp_path / "a.pth.tar")


def test_optimiser_state_finds_its_parameters():
    model = localizer(SMALL)
    official = to_official(model)
    decayed, rest = parameter_groups(model)
    sizes = (len(decayed), len(rest))
    weight = "backbone.branch.0.attn.key.weight"  # the first decayed one in the official order
    order = [list(range(sizes[0])), list(range(sizes[0], sum(sizes)))]
    state = {0: {"exp_avg": torch.ones_like(official[weight]), "step": torch.tensor(3.0)}}
    found = optimizer_state({"param_groups": [{"params": p} for p in order], "state": state}, model)
    assert found["backbone.branch.0.attention.key.weight"]["exp_avg"].shape == (16, 16)
