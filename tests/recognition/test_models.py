"""Laws of the networks, windows, costs and names."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kinoscope.errors import KinoscopeError
from kinoscope.recognition.cost import part_costs
from kinoscope.recognition.exits import curve
from kinoscope.recognition.metrics import average_precision
from kinoscope.recognition.models import AdaFocus, UniAdaFocus
from kinoscope.recognition.models.adafocus_v2 import coarse_to_fine
from kinoscope.recognition.models.uni_adafocus import frame_choice, uni_loss
from kinoscope.recognition.models.windows import action_grid, crop, random_corners, soft_window
from kinoscope.recognition.official import load_official, model_names, to_official


@pytest.mark.parametrize(("patch", "local", "total"), [(96, 0.75070, 17.18), (128, 1.33458, 26.52)])
def test_cost_table_of_the_specification(patch: int, local: float, total: float) -> None:
    cost = part_costs(AdaFocus(200, patch_size=patch))
    assert round(cost["global"], 5) == 0.29949
    assert round(cost["local"], 5) == local
    assert round(cost["policy"], 5) == 0.00995
    assert round(cost["classifier"], 5) == 0.01357
    assert round(cost["total"], 2) == total


def test_a_batch_equals_its_clips_one_by_one() -> None:
    torch.manual_seed(0)
    model = AdaFocus(5, patch_size=32, input_size=64, glance_size=64, hidden_dim=8, hidden_state_dim=8).eval()
    frames = torch.randn(3, 2, 3, 64, 64)
    with torch.no_grad():
        together, alone = model(frames), torch.cat([model(clip[None]) for clip in frames])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)


def test_official_names_go_both_ways(tmp_path) -> None:
    torch.manual_seed(0)
    options = {"patch_size": 32, "input_size": 64, "glance_size": 64, "hidden_dim": 8, "hidden_state_dim": 8}
    model, other = AdaFocus(5, **options), AdaFocus(5, **options)
    state = to_official(model, model_names(model))
    assert len(state) == 662

    def part(prefix: str) -> dict[str, torch.Tensor]:
        return {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}

    content = {
        "glancer": part("glancer."),
        "focuser": part("focuser."),
        "fc": part("classifier."),
        "policy": part("focuser.policy.policy."),
    }
    torch.save(content, tmp_path / "checkpoint.pth.tar")
    assert load_official(other, tmp_path / "checkpoint.pth.tar") == [
        "global_cnn",
        "local_cnn",
        "classifier",
        "policy",
    ]
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), other.parameters(), strict=True))
    del content["fc"]["fc.bias"]
    torch.save(content, tmp_path / "checkpoint.pth.tar")
    with pytest.raises(KinoscopeError, match=r"fc\.bias"):
        load_official(other, tmp_path / "checkpoint.pth.tar")


@given(st.integers(0, 2**31), st.integers(0, 40), st.integers(0, 40))
@settings(max_examples=20, deadline=None)
def test_a_soft_window_at_whole_pixels_is_the_hard_crop(seed: int, y: int, x: int) -> None:
    image = torch.randn(1, 2, 64, 64, generator=torch.Generator().manual_seed(seed))
    soft = soft_window(image, torch.tensor([[y / 40, x / 40]]), 24)
    torch.testing.assert_close(soft, crop(image, torch.tensor([[y, x]]), 24), rtol=1e-3, atol=1e-3)


def test_grids_and_windows_refuse_what_does_not_fit() -> None:
    with pytest.raises(KinoscopeError, match="square"):
        action_grid(48)
    with pytest.raises(KinoscopeError, match="larger than the frame"):
        random_corners(1, 64, 96, np.random.default_rng(0))


@given(st.integers(1, 64))
def test_coarse_to_fine_visits_every_frame_once(frames: int) -> None:
    assert sorted(coarse_to_fine(frames)) == list(range(frames))


@given(st.integers(0, 2**31))
@settings(deadline=None)
def test_chosen_frames_are_increasing_and_exist(seed: int) -> None:
    weights = (5 * torch.randn(3, 16, generator=torch.Generator().manual_seed(seed))).softmax(-1)
    index = frame_choice(weights, 48, 16)
    assert (index.diff(dim=1) > 0).all()
    assert index.min() >= 0
    assert index.max() < 48


@given(st.integers(0, 2**31), st.booleans())
@settings(deadline=None)
def test_average_precision_equals_its_definition(seed: int, ties: bool) -> None:
    draws = np.random.default_rng(seed)
    scores = draws.standard_normal((20, 4)).round(1 if ties else 9)
    labels = draws.integers(-1, 4, (20, 2))
    p = np.exp(scores - scores.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    for c, value in enumerate(average_precision(scores, labels)):
        hit = (labels == c).any(1)[np.argsort(-p[:, c], kind="stable")]
        precision = hit.cumsum() / np.arange(1, 21)
        assert value == pytest.approx(100 * precision[hit].sum() / max(hit.sum(), 1))


def test_uni_adafocus_trains_every_part() -> None:
    torch.manual_seed(0)
    model = UniAdaFocus(
        3,
        num_segments=6,
        num_focus_segments=2,
        patch_size=32,
        smallest_window=32,
        input_size=64,
        classifier_dim=8,
    )
    frames, labels = torch.randn(2, 6, 3, 64, 64), torch.tensor([0, 2])
    random = model(frames, torch.rand(2, 6, 4), torch.tensor([[0, 3], [1, 5]]))
    uni_loss(model(frames), random, labels).backward()
    assert [name for name, p in model.named_parameters() if p.grad is None] == []


@given(st.integers(0, 2**31))
@settings(deadline=None, max_examples=20)
def test_a_larger_budget_costs_more(seed: int) -> None:
    logits = torch.randn(100, 4, 5, generator=torch.Generator().manual_seed(seed))
    points = curve(logits, logits, [1.0, 2.0, 3.0, 4.0], lambda out: {"clips": len(out)})
    assert points[0]["cost"] < points[-1]["cost"]
    assert all(len(point["thresholds"]) == 4 for point in points)
