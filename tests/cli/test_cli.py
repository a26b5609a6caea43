from __future__ import annotations

import json
import subprocess
import sys

import pytest

from kinoscope import cli


def test_help_and_import_are_quick() -> None:
    for command in (["-c", "import kinoscope"], ["-m", "kinoscope", "--help"]):
        loaded = subprocess.run(
            [sys.executable, "-X", "importtime", *command], capture_output=True, text=True, check=True
        ).stderr
        assert not any(f" {heavy}\n" in loaded for heavy in ("torch", "numpy", "pydantic", "altair"))


def test_wrong_usage_is_status_2(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        cli.main(["evaluate", "--protocol", "none"])
    assert stop.value.code == 2


def test_bad_input_is_status_1_and_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["train", "localization/nothing_like_this"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert "no such recipe" in err


def test_recipes_lists_and_prints(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["recipes", "--json"]) == 0
    assert "localization/actionformer_thumos_i3d" in json.loads(capsys.readouterr().out)
    assert cli.main(["recipes", "localization/actionformer_thumos_i3d", "train.epochs=3", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["train"]["epochs"] == 3


def test_resume_needs_a_folder(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["train", "localization/actionformer_streams", "--resume"]) == 1
    assert "--output DIR" in capsys.readouterr().err


def test_commands_answer_help() -> None:
    for name in cli.COMMANDS:
        with pytest.raises(SystemExit) as stop:
            cli.main([name, "--help"])
        assert stop.value.code == 0


def test_check_tells_its_findings_as_json_even_when_it_refuses(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["check", "localization/actionformer_thumos_i3d", "--json"]) == 1
    told = capsys.readouterr()
    assert json.loads(told.out)["errors"]
    assert "must be mended" in told.err
