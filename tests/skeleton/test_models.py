"""Laws of the encoder and the contrastive models."""

import pytest
import torch

from kinoscope.errors import KinoscopeError
from kinoscope.media.layouts import LAYOUTS
from kinoscope.skeleton import official
from kinoscope.skeleton.models import (
    AimCLR,
    Encoder,
    EncoderConfig,
    TimeEncoderConfig,
    attention_drop,
    build_encoder,
)
from kinoscope.skeleton.models.contrast import write_queue

SMALL = EncoderConfig(hidden_channels=4, hidden_dim=16)


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=lambda layout: layout.name)
def test_every_layout_is_a_connected_skeleton_and_runs(layout):
    assert sorted(layout.flipped) == list(range(layout.count))
    reached = {layout.centre}
    for _ in range(layout.count):
        reached |= {b for a, b in layout.links if a in reached} | {a for a, b in layout.links if b in reached}
    assert len(reached) == layout.count
    config = EncoderConfig(hidden_channels=4, hidden_dim=16, layout=layout)
    assert Encoder(config, 5)(torch.randn(2, 3, 16, layout.count, 2)).shape == (2, 5)


def test_absent_bodies_change_no_number_and_batch_equals_one_by_one():
    encoder = Encoder(SMALL, 5).eval()
    x = torch.randn(3, 3, 20, 25, 2)
    x[1:, ..., 1] = 0
    slow = encoder(x).detach()
    with torch.no_grad():
        torch.testing.assert_close(encoder(x), slow)
        torch.testing.assert_close(torch.cat([encoder(one[None]) for one in x]), slow)


def test_all_dropped_stays_finite():
    assert torch.isfinite(attention_drop(torch.randn(2, 3, 4, 5), keep=0.1).features).all()


def test_queue_turns_round_and_refuses_uneven_batches():
    queue, pointer = torch.zeros(2, 4), torch.zeros(1, dtype=torch.long)
    for value in (1.0, 2.0, 3.0):
        write_queue(queue, pointer, torch.full((2, 2), value))
    assert queue[0].tolist() == [3, 3, 2, 2]
    assert pointer.item() == 2
    with pytest.raises(KinoscopeError, match="whole number of batches"):
        write_queue(queue, pointer, torch.zeros(3, 2))


def test_partial_checkpoints_fail_with_the_list(tmp_path):
    model = AimCLR(SMALL, 8, 16)
    state = official.official_state(model)
    del state["encoder_q.data_bn.weight"]
    with pytest.raises(KinoscopeError, match=r"missing encoder_q\.data_bn\.weight"):
        official.load(model, state)
    with pytest.raises(KinoscopeError, match="unknown x"):
        official.load(model, {**official.official_state(model), "x": torch.zeros(1)})
    (tmp_path / "a.pt").write_bytes(b"no")
    with pytest.raises(KinoscopeError, match="checkpoint"):
        official.read(tmp_path / "a.pt")


@pytest.mark.parametrize("frames", [1, 2, 7, 32])
def test_the_time_encoder_of_any_length_batch_equals_one_by_one(frames):
    config = TimeEncoderConfig(in_channels=3, hidden_channels=8, hidden_dim=12)
    encoder = build_encoder(config, 5).eval()
    x = torch.randn(3, 3, frames, 25, 2)
    x[1, ..., 1] = 0
    with torch.no_grad():
        whole = encoder(x)
        torch.testing.assert_close(whole, torch.cat([encoder(one[None]) for one in x]))
        plain, dropped = encoder.forward_dropped(x)
    torch.testing.assert_close(plain, whole)
    assert whole.shape == dropped.shape == (3, 5)


def test_the_layout_of_large_batches_changes_no_number(monkeypatch):
    """Joints first (large) against the published order (small): outputs and gradients, in float64."""
    x = torch.randn(2, 3, 20, 25, 2, dtype=torch.float64)
    found = []
    for small in (0, 10**9):
        monkeypatch.setattr("kinoscope.skeleton.models.encoder.SMALL", small)
        torch.manual_seed(0)
        net = Encoder(EncoderConfig(hidden_channels=4, hidden_dim=128, dropout=0.0), 5).double().train()
        out = net(x)
        out.square().sum().backward()
        found.append([out.detach(), *(p.grad for p in net.parameters()), *net.buffers()])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other)
