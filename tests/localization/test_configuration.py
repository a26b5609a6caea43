from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from kinoscope.errors import KinoscopeError
from kinoscope.localization.configuration import convert_configuration
from kinoscope.localization.settings import LocalizationSettings
from kinoscope.tasks import load_recipe

OWN_DATA = """
dataset_name: thumos
train_split: ['training']
val_split: ['validation']
dataset: {json_file: a.json, feat_folder: feats, num_classes: 3, input_dim: 768, feat_stride: 8,
  num_frames: 16,  max_seq_len: 768, crop_ratio: [0.9, 1.0]}
model: {fpn_type: identity, max_buffer_len_factor: 8.0, n_mha_win_size: 9, embd_dim: 256, fpn_dim: 256,
  head_dim: 256, colour: red}
opt: {learning_rate: 1e-4, epochs: 30, weight_decay: 0.05, warmup_epochs: 3}
loader: {batch_size: 2}
train_cfg: {init_loss_norm: 100, clip_grad_l2norm: 1.0, dropout: 0.1}
test_cfg: {pre_nms_topk: 2000, max_seg_num: 200, class_sigma: {0: 0.4}}
output_folder: ./ckpt/
"""


def convert(tmp_path: Path, text: str) -> tuple[LocalizationSettings, list[str]]:
    path = tmp_path / "official.yaml"
    path.write_text(text)
    recipe, unknown = convert_configuration(path)
    return LocalizationSettings.model_validate(yaml.safe_load(recipe)), unknown


def test_the_custom_configuration_of_the_specification(tmp_path: Path) -> None:
    settings, unknown = convert(tmp_path, OWN_DATA)
    assert settings.data.annotations == "a.json"
    assert settings.data.num_classes == 3
    assert settings.model.backbone.embd_dim == settings.model.neck.fpn_dim == 256
    assert settings.model.backbone.dropout == 0.1
    assert settings.train.optimizer.learning_rate == 1e-4
    assert settings.train.schedule.warmup_epochs == 3
    assert settings.decode.class_sigma == {0: 0.4}
    assert unknown == ["model.colour", "output_folder"]


def test_the_nested_form_of_the_fork(tmp_path: Path) -> None:
    text = OWN_DATA.replace(
        "model: {", "model: {meta_arch: TBTFormer, backbone: {use_rope: true, n_kv_head: 2}, "
    )
    settings, _ = convert(tmp_path, text)
    assert settings.model.kind == "tbtformer"
    assert settings.model.backbone.use_rope
    assert settings.model.backbone.n_kv_head == 2


def test_a_published_recipe_is_what_its_official_file_says() -> None:
    """Values of the official thumos_i3d.yaml by specification section 13."""
    settings = load_recipe("localization/actionformer_thumos_i3d")
    assert settings.model.backbone.n_mha_win_size == 19
    assert (settings.train.init_loss_norm, settings.train.epochs, settings.train.batch_size) == (100, 30, 2)
    assert settings.train.optimizer.learning_rate == 1e-4
    assert (settings.decode.nms_sigma, settings.decode.max_seg_num) == (0.5, 200)


def test_something_else_is_refused(tmp_path: Path) -> None:
    with pytest.raises(KinoscopeError, match="no configuration of ActionFormer"):
        convert(tmp_path, "a: 1\n")


def test_every_nested_key_of_the_fork_has_its_place(tmp_path: Path) -> None:
    nested = "{arch: [2, 2, 5], mha_win_size: [-1, 9, 9, 9, 9, 9], n_embd: 256, max_len: 64, n_in: 3, n_hidden: 1536}"
    own = OWN_DATA.replace("n_mha_win_size: 9,", "").replace("model: {", f"model: {{backbone: {nested}, ")
    settings, unknown = convert(tmp_path, own)
    backbone = settings.model.backbone
    assert (backbone.embd_dim, backbone.n_hidden, backbone.n_mha_win_size[0]) == (256, 1536, -1)
    assert (settings.data.max_seq_len, settings.data.input_dim) != (64, 3)  # `dataset` comes first
    assert not [key for key in unknown if "backbone" in key]


def test_a_configuration_of_tridet(tmp_path: Path) -> None:
    own = "model: {num_bins: 12, k: 1.5, sgp_mlp_dim: 768, n_sgp_win_size: 3, iou_weight_power: 0.2, "
    settings, _ = convert(tmp_path, OWN_DATA.replace("n_mha_win_size: 9,", "").replace("model: {", own))
    assert (settings.model.kind, settings.model.backbone.kind) == ("tridet", "sgp")
    assert (settings.model.head.reg_max, settings.model.backbone.n_sgp_win_size) == (12, 3)
    assert (settings.train.cls_loss_type, settings.train.iou_weight_power) == ("iou_focal", 0.2)
