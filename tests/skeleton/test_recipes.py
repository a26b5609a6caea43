"""Every recipe of the room is valid, and the published ones hold the published numbers (specification, section 11)."""

from importlib import resources

import pytest

from kinoscope.engine.schedules import Position, learning_rate
from kinoscope.skeleton.schedule import learning_rate as published_rate
from kinoscope.tasks import load_recipe

NAMES = sorted(
    f"skeleton/{path.name.removesuffix('.yaml')}"
    for path in (resources.files("kinoscope") / "recipes" / "skeleton").iterdir()
)


@pytest.mark.parametrize("name", NAMES)
def test_recipes(name):
    s = load_recipe(name)
    assert s.description
    if name == "skeleton/aimclr_sequences":
        return
    assert s.data.kind == "official"
    assert (s.train.epochs, s.train.batch_size, s.train.mining_epoch, s.train.topk) == (300, 128, 150, 1)
    assert (s.linear.epochs, s.linear.batch_size, s.linear.optimizer.learning_rate) == (100, 128, 3.0)
    assert (s.linear.optimizer.weight_decay, s.linear.standardise, s.finetune.evaluation_mode) == (
        0.0,
        False,
        True,
    )
    m = s.model
    assert (m.hidden_channels, m.hidden_dim, m.dropout, m.feature_dim, m.queue_size) == (
        16,
        256,
        0.5,
        128,
        32768,
    )
    assert (m.momentum, m.temperature, m.mlp, m.encoder, m.key_starts_equal) == (
        0.999,
        0.07,
        True,
        "graph",
        False,
    )
    assert (s.augment.shear, s.augment.padding_ratio, s.augment.extreme) == (0.5, 6, "12345")
    ours = {k: v for k, v in s.augment.model_dump().items() if k not in ("shear", "padding_ratio", "extreme")}
    assert not any(ours.values())
    assert m.stream == ("three" if "_3s_" in name or "crossclr" in name or "transfer" in name else "joint")
    assert s.few_labels == (0.01, 0.05, 0.1)
    steps = 7
    for section, milestones in ((s.train, [250]), (s.linear, [80]), (s.finetune, [10, 30, 50])):
        base = section.optimizer.learning_rate
        for epoch in range(1, int(section.epochs) + 1):
            position = Position((epoch - 1) * steps + 3, 0, epoch - 1, steps, section.epochs)
            assert learning_rate(section.schedule, base, position) == pytest.approx(
                published_rate(base, milestones, epoch)
            )
