"""The demo's table: segments and starts, each beside its yardsticks."""

from __future__ import annotations

from pathlib import Path

import pytest

from kinoscope.localization.demo import demo

SMALL = (
    "model.backbone={kind: conv_transformer, arch: [1, 1, 2], embd_dim: 16, n_head: 2, n_mha_win_size: 5}",
    "model.neck.fpn_dim=16",
    "model.head.head_dim=16",
    "model.regression_range=[[0, 8], [8, 32], [32, 10000]]",
    "train.epochs=0.2",
    "train.schedule.warmup_epochs=0",
)


def test_demo(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kinoscope.localization.demo.linear_baseline", lambda source: source.test_truth())
    result = demo(tmp_path / "demo", SMALL)
    assert set(result["starts"]) == {"SnapFormer", "ActionFormer", "linear frame classifier"}
    assert set(result["starts"]["SnapFormer"]) == {"0.1", "0.2", "0.5"}
    assert result["starts"]["linear frame classifier"]["0.1"] == pytest.approx(1.0)  # the truth itself
    assert Path(result["report"]).is_file()
    assert (tmp_path / "demo" / "starts" / "report.html").is_file()
    assert "mAP of starts within s 0.1:" in capsys.readouterr().err
