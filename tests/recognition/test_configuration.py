"""Official command lines as recipes."""

from __future__ import annotations

from pathlib import Path

import pytest

from kinoscope.errors import KinoscopeError
from kinoscope.recipe import parse_yaml, validate
from kinoscope.recognition.configuration import convert_configuration
from kinoscope.recognition.settings import AdaFocusModel, FramesData, RecognitionSettings

LINES = """\
# the three stages
CUDA_VISIBLE_DEVICES=0,1 python main_dist.py dataset=actnet data_dir=/data train_stage=1 batch_size=64 workers=8 \\
  dropout=0.8 lr_type=cos backbone_lr=0.0005 fc_lr=0.05 epochs=50 random_patch=true patch_size=128 glance_size=224 \\
  eval_freq=5 consensus=gru hidden_dim=1024 pretrained_glancer=g.pth.tar pretrained_focuser=l.pth.tar gpus=2
python main_dist.py dataset=actnet data_dir=/data train_stage=2 dropout=0.8 patch_size=128 action_dim=49 gamma=0.7 \\
  policy_lr=0.0003 epochs=50 resume=s1.pth.tar amp=true penalty=0.5
"""


def convert(tmp_path: Path, text: str) -> tuple[RecognitionSettings, list[str]]:
    file = tmp_path / "commands.txt"
    file.write_text(text, encoding="utf-8")
    recipe, unknown = convert_configuration(file)
    return validate(RecognitionSettings, parse_yaml(recipe)), unknown


def test_command_lines_of_two_stages_become_one_recipe(tmp_path: Path) -> None:
    settings, unknown = convert(tmp_path, LINES)
    assert isinstance(settings.data, FramesData)
    assert isinstance(settings.model, AdaFocusModel)
    assert (settings.data.dataset, settings.data.data_dir) == ("actnet", "/data")
    assert (settings.model.patch_size, settings.model.dropout, settings.model.gamma) == (128, 0.8, 0.7)
    first, second = settings.train.stage1, settings.train.stage2
    assert (first.epochs, first.backbone_lr, first.fc_lr, first.precision) == (51, 0.0005, 0.05, "fp16")
    assert (second.epochs, second.precision) == (50, "fp32")  # PPO: no dead pass, no mixed precision
    assert settings.start == ("g.pth.tar", "l.pth.tar")  # stage 2 goes on from stage 1
    assert unknown == ["gpus", "penalty"]


def test_what_is_left_out_has_the_official_default_not_the_published_value(tmp_path: Path) -> None:
    settings, _ = convert(tmp_path, "python main_dist.py train_stage=1")
    assert (settings.train.stage1.backbone_lr, settings.train.stage1.fc_lr) == (0.01, 0.005)


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("python main_dist.py", "no key=value"),
        ("python m.py patch_size=96\npython m.py patch_size=128", "disagree"),
        ("python m.py train_stage=7", "train_stage"),
        ("python m.py dataset='actnet", "cannot be read"),
        ("python m.py dataset=imagenet", "dataset"),
    ],
)
def test_faults_are_named(tmp_path: Path, text: str, part: str) -> None:
    with pytest.raises(KinoscopeError, match=part):
        convert(tmp_path, text)
