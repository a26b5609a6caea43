"""Official YAML files as recipes, and the published recipes against the table of the specification."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from kinoscope.errors import KinoscopeError
from kinoscope.recipe import published, validate
from kinoscope.representation.configuration import convert_configuration
from kinoscope.representation.official_config import DEFAULTS, PENN_ACTIONS
from kinoscope.representation.settings import RepresentationSettings
from kinoscope.tasks import load_recipe

SUP = {
    **DEFAULTS["AUGMENTATION"],
    "BRIGHTNESS_MAX_DELTA": 32 / 255,
    "CONTRAST_MAX_DELTA": 0.5,
    "HUE": False,
    "SATURATION": False,
    "RANDOM_CROP": False,
}


def official(path: Path, **changes: object) -> Path:
    """A file as published: whole sections, the values that all of them share, then `changes` (`A__B=value`)."""
    values = yaml.safe_load(yaml.safe_dump(DEFAULTS))
    shared = {"OPTIMIZER__LR__WARMUP_LR": 0.0, "CHECKPOINT__SAVE_INTERVAL": 60, "USE_AMP": True}
    for key, value in {**shared, **changes}.items():
        *sections, last = key.split("__")
        place = values
        for section in sections:
            place = place.setdefault(section, {})
        place[last] = value
    path.write_text(yaml.safe_dump({k: v for k, v in values.items() if v is not None}))
    return path


def converted(path: Path) -> tuple[RepresentationSettings, list[str]]:
    text, unknown = convert_configuration(path)
    return validate(RepresentationSettings, yaml.safe_load(text)), unknown


CONV = {
    "MODEL__EMBEDDER_TYPE": "conv",
    "MODEL__TRAIN_BASE": "train_all",
    "DATA__SAMPLING_STRATEGY": "offset_uniform",
    "DATA__SAMPLING_REGION": 0,
    "DATA__NUM_CONTEXTS": 2,
    "DATA__CONTEXT_STRIDE": 15,
    "MODEL__EMBEDDER_MODEL__NUM_LAYERS": 2,
    "EVAL__FRAMES_PER_BATCH": 25,
}
CASES = {
    "carl_pouring": {"MODEL__EMBEDDER_MODEL__NUM_LAYERS": 2},
    "carl_penn_action": {
        "DATASETS": list(PENN_ACTIONS),
        "TRAIN__NUM_FRAMES": 80,
        "TRAIN__MAX_EPOCHS": 300,
        "EVAL__KENDALLS_TAU_STRIDE": 2,
    },
    "carl_finegym99": {
        "DATASETS": ["finegym"],
        "TRAIN__MAX_EPOCHS": 300,
        "EVAL__FRAMES_PER_BATCH": 6000,
        "EVAL__CLASS_NUM": 99,
        "EVAL__CLASSIFICATION_LR": 50,
        "EVAL__CLASSIFICATION_EPOCHS": 100,
    },
    "tcc_penn_action": {
        "DATASETS": list(PENN_ACTIONS),
        "TRAINING_ALGO": "tcc",
        "SSL": False,
        **CONV,
        "TRAIN__NUM_FRAMES": 20,
        "TRAIN__MAX_EPOCHS": 300,
        "TRAIN__BATCH_SIZE": 4,
        "MODEL__PROJECTION": False,
        "MODEL__L2_NORMALIZE": False,
        "OPTIMIZER__LR__DECAY_TYPE": "fixed",
        "EVAL__KENDALLS_TAU_STRIDE": 2,
        "LOGGING__REPORT_INTERVAL": 80,
        "AUGMENTATION": SUP,
    },
    "simclr_transformer_k400_pretrain_config": {
        "DATASETS": ["kinetics400", "baseball_pitch"],
        "TRAINING_ALGO": "simclr",
        "SCL": None,
        "SIMCLR": {**DEFAULTS["SCL"], "SOFTMAX_TEMPERATURE": 1.0},
        "MODEL__BASE_MODEL__NETWORK": "Resnet50_pretrained",
        "MODEL__EMBEDDER_MODEL__NUM_LAYERS": 2,
        "TRAIN__NUM_FRAMES": 80,
        "TRAIN__MAX_EPOCHS": 10,
        "TRAIN__BATCH_SIZE": 2,
        "DATA__CONSISTENT_OFFSET": 1.0,
        "EVAL__VAL_INTERVAL": 2,
        "CHECKPOINT__SAVE_INTERVAL": 5,
        "LOGGING__REPORT_INTERVAL": 2000,
        "EVAL__KENDALLS_TAU_STRIDE": 2,
        "EVAL__CLASSIFICATION_FRACTIONS": [1.0],
    },
}


@pytest.mark.parametrize("name", CASES)
def test_a_published_file_becomes_the_recipe_of_its_name(name: str, tmp_path: Path) -> None:
    found, unknown = converted(official(tmp_path / f"{name}.yml", **CASES[name]))
    wanted = load_recipe(f"representation/{name}")
    for section in ("data", "sampling", "augment", "model", "algorithm", "evaluation"):
        assert getattr(found, section) == getattr(wanted, section), section
    if wanted.algorithm == "scl":
        assert found.scl == wanted.scl
    same = {"precision", "description"}  # bf16 here, fp16 officially
    assert found.train.model_dump(exclude=same) == wanted.train.model_dump(exclude=same)
    assert found.rates is not None
    assert found.rates.decay_type == wanted.rates.decay_type
    assert {"MODEL.PROJECTION_HIDDEN_SIZE", "TCC.CYCLE_LENGTH"} <= set(unknown)
    assert "TRAIN.NUM_FRAMES" not in unknown


def test_keys_without_counterpart_are_named(tmp_path: Path) -> None:
    _, unknown = converted(official(tmp_path / "a.yml", DATA__CONSISTENT_VIEWS=2, SSL=False))
    assert "DATA.CONSISTENT_VIEWS" in unknown
    assert "SSL" in unknown


def test_the_temperature_of_the_first_release(tmp_path: Path) -> None:
    file = official(tmp_path / "a.yml", TRAINING_ALGO="simclr", SCL=None, SIMCLR={"LABEL_VARIENCE": 10.0})
    assert converted(file)[0].scl.softmax_temperature == 0.3


def test_a_file_that_is_none_of_carl_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.yml").write_text("model: x\n")
    with pytest.raises(KinoscopeError, match="no configuration of CARL"):
        convert_configuration(tmp_path / "a.yml")
    with pytest.raises(KinoscopeError, match="no such data set"):
        convert_configuration(official(tmp_path / "b.yml", DATASETS=["cooking"]))


def test_every_published_recipe_is_valid() -> None:
    names = [name for name in published() if name.startswith("representation/")]
    assert len(names) == 26
    for name in names:
        load_recipe(name)
