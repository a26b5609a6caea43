"""What a run tells while it goes: metrics.jsonl, TensorBoard events, and a line with rate and time left."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

from kinoscope.engine.files import write_text
from kinoscope.engine.stage import Position


class RunLog:
    """Logs of one stage. A resumed run first drops the lines that lie beyond its checkpoint."""

    def __init__(self, folder: Path, stage: str, step: int, quiet: bool = False) -> None:
        self.path, self.stage, self.quiet = folder / "metrics.jsonl", stage, quiet
        self._forget_after(step)
        self._board: Any = None
        self._folder = folder
        self._since = (time.monotonic(), step)

    def _forget_after(self, step: int) -> None:
        if not self.path.exists():
            return
        kept = []
        for line in self.path.read_text().splitlines():
            try:
                entry = json.loads(line)
            except ValueError:
                continue  # the line that a killed process was writing
            if entry.get("stage") != self.stage or (
                entry.get("step", 0) <= step and entry["event"] != "final"
            ):
                kept.append(line)
        write_text(self.path, "".join(line + "\n" for line in kept))

    def write(self, event: str, position: Position, values: dict[str, float]) -> None:
        """One JSON object a line: event, stage, step, epoch and the values."""
        entry = {
            "event": event,
            "stage": self.stage,
            "step": position.step,
            "epoch": position.epoch,
            **values,
        }
        with open(self.path, "a") as file:
            file.write(json.dumps(entry) + "\n")
        board = self._writer()
        for name, value in values.items():
            if isinstance(value, int | float):
                board.add_scalar(f"{self.stage}/{event}/{name}", value, position.step)

    def progress(self, position: Position, values: dict[str, float], last: int | None) -> None:
        """The line for people, on standard error: epoch, step, losses, steps a second, time left."""
        if self.quiet:
            return
        started, first = self._since
        rate = (position.step - first) / max(time.monotonic() - started, 1e-9)
        left = "" if last is None else f"  {_clock((last - position.step) / max(rate, 1e-9))} left"
        numbers = "  ".join(f"{name} {value:.4g}" for name, value in values.items())
        head = f"{self.stage}: epoch {position.epoch + 1} step {position.step}"
        print(f"{head}  {numbers}  {rate:.2f} steps/s{left}", file=sys.stderr, flush=True)

    def say(self, text: str) -> None:
        if not self.quiet:
            print(f"{self.stage}: {text}", file=sys.stderr, flush=True)

    def _writer(self) -> Any:
        if self._board is None:
            from torch.utils.tensorboard import SummaryWriter

            self._board = SummaryWriter(str(self._folder / "tensorboard"))
        return self._board

    def close(self) -> None:
        if self._board is not None:
            self._board.close()


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
