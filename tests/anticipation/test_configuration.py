"""Official experiment files become recipes; what has no counterpart is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from kinoscope import cli
from kinoscope.anticipation.configuration import convert_configuration
from kinoscope.errors import KinoscopeError
from kinoscope.tasks import load_recipe

FILE = """# features of EPIC-Kitchens-100
dataset@dataset_train=epic_kitchens100/anticipation_train
dataset@dataset_eval=epic_kitchens100/anticipation_val
model/backbone=identity  # no pixels
data_train.num_frames=15
data_train.frame_rate=1
dataset.epic_kitchens100.common.tau_o=15
model.mod_attn=true
model.intermediate_featdim=768
model.future_predictor.n_head=4
+model.freeze_prototypes=true
model.freeze_future_predictor=true
opt.lr_wd=[[__all__,1e-4,1e-5]]
opt.optimizer.momentum=0.9
opt.scheduler.num_epochs=20
opt.warmup.num_epochs=0
train.train_one_epoch_fn.accumulate=0
train.train_one_epoch_fn.loss_wts.global_simContrast=0
train.batch_size=16
pre_train_path=OUTPUTS/expts/vit.txt/0/checkpoint_best.pth
pretrain_blocks=[ProtAttn,future_predictor,classifier,vis_prototypes]
dataset.epic_kitchens100.reader_fn.lmdb_path=[DATA/rulstm/rgb]
future_steps=1
data_eval=${data_train}
"""


def test_an_experiment_becomes_a_recipe(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "tsn.txt").write_text(FILE)
    text, unknown = convert_configuration(tmp_path / "tsn.txt")
    assert unknown == ["future_steps=1", "data_eval=${data_train}"]
    assert cli.main(["convert", str(tmp_path / "tsn.txt"), "--task", "anticipation"]) == 0
    assert "no counterpart: future_steps=1" in capsys.readouterr().err
    recipe = load_recipe(str(tmp_path / "tsn.recipe.yaml"))
    assert recipe.segments.dataset == "epic100"
    assert (recipe.segments.num_frames, recipe.segments.tau_o) == (15, 15.0)
    assert recipe.segments.input.folders == ("DATA/rulstm/rgb",)
    assert recipe.model.prot_attn
    assert recipe.train.freeze_prototypes
    assert recipe.train.freeze == ("decoder.",)
    assert recipe.train.init[0].parts == ("prototype_attention.", "decoder.", "heads.", "prototypes")
    assert (recipe.train.optimizer.kind, recipe.train.optimizer.learning_rate) == ("sgd", 1e-4)
    assert (recipe.train.epochs, recipe.train.accumulate, recipe.train.schedule.warmup_epochs) == (20, 1, 0)
    assert recipe.train.losses.global_simContrast == 0
    assert "anticipation" in text


def test_pixels_start_from_their_backbone(tmp_path: Path) -> None:
    (tmp_path / "vit.txt").write_text(
        "model.backbone.model_type=vit_base_patch16_224\ndata_train.scale_h=248-280\ndata_train.crop_size=224\n"
        "train.init_from_model=[[backbone.model,DATA/vit.pth]]\nopt.lr_wd=[[backbone,1e-4,0],[__all__,1e-3,0]]\n"
    )
    text, unknown = convert_configuration(tmp_path / "vit.txt")
    assert unknown == ["opt.lr_wd=[[backbone,1e-4,0],[__all__,1e-3,0]]"]
    (tmp_path / "vit.yaml").write_text(text)
    recipe = load_recipe(str(tmp_path / "vit.yaml"))
    assert recipe.segments.input.kind == "videos"
    assert recipe.segments.input.scale_h == "248-280"
    assert recipe.train.init[0].backbone


def test_a_line_that_is_no_override_is_refused(tmp_path: Path) -> None:
    (tmp_path / "bad.txt").write_text("train.batch_size 4\n")
    with pytest.raises(KinoscopeError, match="line 1"):
        convert_configuration(tmp_path / "bad.txt")
