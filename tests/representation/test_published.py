"""Training and evaluation on the published layouts, tiny: views, embeddings in pieces, probes, starting weights."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from kinoscope.engine.folder import train_stages
from kinoscope.errors import KinoscopeError
from kinoscope.models import load
from kinoscope.recipe import to_yaml
from kinoscope.representation import check, published, published_stage
from kinoscope.representation.image_augment import ImageAugment, evaluation_item
from kinoscope.representation.models import FrameEncoder, build_encoder
from kinoscope.representation.models import encoder as encoders
from kinoscope.representation.pretrained import FILES, load_trunk, resnet_state
from kinoscope.representation.published import ClassViews, PublishedSource, Views, batch_of, embed_video
from kinoscope.representation.published_judge import random_subsets
from kinoscope.representation.sampling import Sampler
from kinoscope.representation.settings import PublishedData, RepresentationSettings, Trunk
from kinoscope.representation.stages import stages
from kinoscope.tasks import load_recipe

from .layouts import penn_action, pouring, write_video

SMALL = [
    *(
        "data.image_size=32",
        "sampling.num_frames=6",
        "train.epochs=1",
        "train.workers=0",
        "train.precision=fp32",
    ),
    *("model.trunk.network=random", "evaluation.kendalls_tau_stride=1", "train.log_every=1"),
    *("model.embedder.hidden_size=16", "model.embedder.d_ff=16", "model.embedder.fc_layers=[8]"),
]


@pytest.fixture(autouse=True)
def small_trunk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two convolutions in place of ResNet-50."""

    def split(layer: int) -> tuple[nn.Sequential, nn.Module, int]:
        trunk = nn.Sequential(nn.Conv2d(3, 8, 4, 4), nn.BatchNorm2d(8))
        return trunk, nn.Sequential(nn.Conv2d(8, 12, 1), nn.BatchNorm2d(12)), 12

    monkeypatch.setattr(encoders, "split_resnet50", split)
    monkeypatch.setitem(encoders.CHANNELS, 3, 8)


def recipe(name: str, root: Path, *more: str) -> RepresentationSettings:
    found: RepresentationSettings = load_recipe(
        f"representation/{name}", [f"data.root={root}", *SMALL, *more]
    )
    return found


def trained(settings: RepresentationSettings, folder: Path) -> dict[str, Any]:
    return train_stages(stages(settings), folder, to_yaml(settings), resume=False, quiet=True)


def test_pouring_from_frames_to_the_published_table(tmp_path: Path) -> None:
    settings = recipe("carl_pouring", pouring(tmp_path), "evaluation.random_subsets=3")
    result = trained(settings, tmp_path / "run")
    assert -1 <= result["kendalls_tau"] <= 1
    assert set(result["retrieval"]) == {"AP@5", "AP@10", "AP@15"}
    assert set(result["classification_per_fraction"]) == {"0.1", "0.5", "1.0"}
    assert result["classification"] == result["classification_per_fraction"]["1.0"]
    assert result["event_completion"] <= 1
    subsets = result["classification_random_subsets"]["0.5"]
    assert subsets["interval"][0] <= subsets["mean"] <= subsets["interval"][1]
    model = load(tmp_path / "run")
    again = model.evaluate(tmp_path / "again")
    assert again["kendalls_tau"] == pytest.approx(result["kendalls_tau"])
    (found,) = model.predict(tmp_path / "pouring" / "videos" / "val_0000.mp4")
    assert found.values.shape == (12, 128)
    assert found.axis.fps == 25


@pytest.mark.parametrize(
    "name", ["tcc_pouring", "tcn_pouring", "classification_pouring", "tcc_transformer_pouring"]
)
def test_every_algorithm_trains(name: str, tmp_path: Path) -> None:
    settings = recipe(name, pouring(tmp_path))
    assert "kendalls_tau" in trained(settings, tmp_path / "run")


def test_penn_action_is_judged_by_action_and_trained_in_batches_of_one(tmp_path: Path) -> None:
    settings = recipe("tcc_penn_action", penn_action(tmp_path), "train.batch_size=2")
    result = trained(settings, tmp_path / "run")
    assert set(result["per_dataset"]) == {"bowl", "squat"}
    taus = [table["kendalls_tau"] for table in result["per_dataset"].values()]
    assert result["kendalls_tau"] == pytest.approx(np.mean(taus))
    source = PublishedSource(settings.data)  # type: ignore[arg-type]
    views = ClassViews(source.train, Sampler(4), ImageAugment(16), 1, batch_size=2)
    assert len(views) == 2
    for seed in range(4):
        assert len({len(sample[4]) for sample in views.draw(0, np.random.default_rng(seed))}) == 1


def test_two_views_of_one_video_come_from_one_decode(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pouring(tmp_path, frames=40)
    source = PublishedSource(PublishedData(root=str(tmp_path)))
    asked = []
    read = published.read_pictures
    monkeypatch.setattr(published, "read_pictures", lambda p, i: asked.append(i) or read(p, i))
    views = Views(source.train, Sampler(8), ImageAugment(16), 2)
    (sample,) = views.draw(0, np.random.default_rng(0))
    assert len(asked) == 1
    assert (np.diff(asked[0]) > 0).all()
    assert len(asked[0]) <= 16
    batch = batch_of([[sample], [sample]])
    assert batch.clips.shape == (2, 2, 8, 3, 16, 16)
    assert batch.steps.shape == batch.mask.shape == (2, 2, 8)
    one = batch_of([Views(source.train, Sampler(8), ImageAugment(16), 1).draw(0, np.random.default_rng(0))])
    assert one.clips.shape == (1, 8, 3, 16, 16)


def test_a_frame_number_past_the_end_gets_the_last_frame(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", 9)
    frames = published.read_pictures(path, np.array([0, 7, 8, 30]))
    assert len(frames) == 4
    np.testing.assert_array_equal(frames[2], frames[3])
    assert np.abs(frames[0].astype(int) - frames[1]).max() > 50


@pytest.mark.parametrize(("kind", "contexts"), [("transformer", 1), ("conv", 2), ("vanilla", 2)])
def test_a_video_in_pieces_equals_the_whole_forward_pass(kind: str, contexts: int, tmp_path: Path) -> None:
    """The trunk sees each frame once; contexts share its features."""
    torch.manual_seed(0)
    path = write_video(tmp_path / "a.mp4", 14)
    model = build_encoder(
        kind,
        3,
        6,
        contexts,
        hidden=16,
        inner=16,
        heads=2,
        layers=1,
        fc=(8,),
        conv=((4, 2, 1),),
        frames_per_pass=4,
    ).eval()
    found = embed_video(
        model, path, 14, size=32, centre_crop=True, frames_per_batch=9, contexts=contexts, stride=3
    )
    item = evaluation_item(published.read_pictures(path, np.arange(14)), None, 32)
    expected = []
    for piece in published.chunks(14, 9):
        load_ = published.with_contexts(np.arange(piece.start, piece.stop), 14, contexts, 3)
        with torch.no_grad():
            expected.append(model(item.video[torch.from_numpy(load_)][None])[0].numpy())
    np.testing.assert_allclose(found, np.concatenate(expected), atol=1e-5)


def test_an_unreadable_video_costs_itself(tmp_path: Path) -> None:
    pouring(tmp_path)
    (tmp_path / "pouring" / "videos" / "train_0001.mp4").write_bytes(b"nothing")
    (tmp_path / "pouring" / "videos" / "val_0001.mp4").write_bytes(b"nothing")
    result = trained(recipe("carl_pouring", tmp_path), tmp_path / "run")
    assert {entry["video"] for entry in result["skipped"]} >= {"train_0001", "val_0001"}
    assert "kendalls_tau" not in result  # one validation video is left


def test_labels_may_be_missing(tmp_path: Path) -> None:
    pouring(tmp_path)
    for split in ("train", "val"):
        file = tmp_path / "pouring" / f"{split}.pkl"
        content = pickle.loads(file.read_bytes())
        for row in content:
            row["frame_label"] = torch.full_like(row["frame_label"], -1)
        file.write_bytes(pickle.dumps(content))
    settings = recipe("carl_pouring", tmp_path)
    assert set(trained(settings, tmp_path / "run")) == {"protocol", "kendalls_tau", "skipped"}
    assert any("No validation frame has a label" in line for line in check.check(settings)["warnings"])


def test_what_the_check_says(tmp_path: Path) -> None:
    settings = load_recipe("representation/carl_pouring")
    assert "where are the data sets?" in check.check(settings)["errors"][0]
    pouring(tmp_path)
    told = check.check(load_recipe("representation/carl_pouring", [f"data.root={tmp_path}"]))
    assert "starting weights are not there" in told["errors"][0]
    told = check.check(recipe("carl_pouring", tmp_path, "sampling.num_frames=240"))
    assert not told["errors"]
    assert "fewer than 240 frames" in told["advice"][0]
    with pytest.raises(KinoscopeError, match="file of the data set is missing"):
        PublishedSource(PublishedData(root=str(tmp_path), dataset="finegym"))


def test_settings_that_contradict_each_other() -> None:
    for wrong, told in (
        ("train.batch_size=1", "compares videos"),
        ("augment.kind=features", "needs model.trunk and augment.kind images"),
    ):
        with pytest.raises(KinoscopeError, match=told):
            load_recipe("representation/tcc_pouring", [wrong])


PREFIXES = {"byol": "module.encoder.", "simclr": "encoder.", "mocov2": "module.encoder_q.", "pretrained": ""}


@pytest.mark.parametrize("network", PREFIXES)
def test_starting_weights_of_every_kind(
    network: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from torchvision.models import resnet50

    monkeypatch.undo()
    torch.manual_seed(0)
    state = resnet50(weights=None).state_dict()
    prefix, entry = PREFIXES[network], FILES[network][1]
    tensors = {prefix + name: value for name, value in state.items()}
    tensors["module.encoder_k.conv1.weight"] = torch.zeros(1)
    content = {entry: tensors} if entry else state
    (tmp_path / "pretrained_models").mkdir()
    torch.save(content, tmp_path / "pretrained_models" / FILES[network][0])
    for layer in (2, 3, 4):
        torch.manual_seed(1)
        model = build_encoder(layer=layer, layers=0)
        load_trunk(model, Trunk(network=network, layer=layer), tmp_path)
        own = model.state_dict()
        torch.testing.assert_close(own["trunk.0.weight"], state["conv1.weight"], check_stride=False)
        last = {2: "tail.1.2.conv3.weight", 3: "tail.2.conv3.weight", 4: "trunk.7.2.conv3.weight"}[layer]
        torch.testing.assert_close(own[last], state["layer4.2.conv3.weight"], check_stride=False)


def test_weights_of_another_kind_are_refused(tmp_path: Path) -> None:
    model = build_encoder(layers=0)
    torch.save({"state_dict": {"conv1.weight": torch.zeros(1)}}, tmp_path / "w.pth")
    with pytest.raises(KinoscopeError, match="no weights of simclr"):
        load_trunk(model, Trunk(network="simclr", weights=str(tmp_path / "w.pth")), tmp_path)
    with pytest.raises(KinoscopeError, match="not there"):
        load_trunk(model, Trunk(), tmp_path)
    (tmp_path / "w.pth").write_bytes(b"no")
    with pytest.raises(KinoscopeError, match="cannot be read"):
        load_trunk(model, Trunk(weights=str(tmp_path / "w.pth")), tmp_path)
    assert resnet_state("simclr", {"state_dict": {"encoder.v1.weight": 1}}) == {"conv1.weight": 1}


def test_random_subsets_repeat_with_the_seed() -> None:
    settings = load_recipe("representation/carl_pouring", ["evaluation.random_subsets=4"])
    x = [np.full((3, 2), k, float) for k in range(6)]
    y = [np.zeros(3, int)] * 6
    run = lambda a, b, f: float(np.mean(np.concatenate(a)))  # noqa: E731
    first, again = (random_subsets(run, x, y, settings) for _ in range(2))
    assert first == again
    assert set(first) == {"0.1", "0.5"}  # a draw of all videos is no draw
    assert first["0.5"]["draws"] == 4


def test_the_rate_follows_the_published_schedule(tmp_path: Path) -> None:
    from kinoscope.engine.schedules import Position

    stage = published_stage.PublishedStage(recipe("carl_pouring", pouring(tmp_path), "train.epochs=500"))
    assert stage.learning_rate(1e-4, Position(epoch=0)) == pytest.approx(1e-4)
    assert stage.learning_rate(1e-4, Position(epoch=250)) == pytest.approx(5e-5, rel=0.01)
    assert isinstance(published_stage.image_encoder(stage.recipe), FrameEncoder)
