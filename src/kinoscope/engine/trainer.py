"""The training loop of one stage; reads top to bottom.

Everything random is a function of seed and position (order.py), so a checkpoint holds no random state,
and a run that was killed anywhere goes on to the same bits. Gradients of several processes are averaged; the
batch size of the settings counts all processes, so their number changes no result beyond rounding.
"""

from __future__ import annotations

import contextlib
import math
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from kinoscope.engine import checkpoint, order
from kinoscope.engine.ema import MovingAverage
from kinoscope.engine.logs import RunLog
from kinoscope.engine.optimizers import build_optimizer
from kinoscope.engine.processes import launch
from kinoscope.engine.schedules import Position
from kinoscope.engine.settings import Constant
from kinoscope.engine.stage import Run, Stage
from kinoscope.engine.weights import load_weights, save_weights
from kinoscope.errors import Interrupted, KinoscopeError

STOPPING = (signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)  # a run that gets one of them saves and stops


class Trainer:
    """Trains `stage` in the run folder `folder`; `recipe` is the resolved text kept with the weights.

    official: a checkpoint of the official program, whose run is gone on with (a checkpoint of ours goes first).
    """

    def __init__(
        self,
        stage: Stage,
        folder: Path,
        recipe: str,
        *,
        resume: bool,
        quiet: bool = False,
        official: Path | None = None,
    ) -> None:
        self.stage, self.folder, self.recipe, self.quiet = stage, folder, recipe, quiet
        self.settings = stage.settings
        self.processes = launch(self.settings.precision)
        self.run = Run(self.processes.device, self.processes, folder)
        self.checkpoints = folder / "checkpoints" / stage.name
        self.weights = folder / "weights" / stage.name
        self.resume, self.official = resume, official
        self.stop_signal: int | None = None

    # -- set-up ---------------------------------------------------------------------------------------------

    def _set_up(self) -> None:
        stage, settings = self.stage, self.settings
        stage.prepare(self.run)
        self.samples = stage.samples()
        if not len(self.samples):
            raise KinoscopeError(
                "there is no training sample", field="data", remedy="`kinoscope check` says what is missing"
            )
        self.plan = order.Plan(
            len(self.samples),
            settings.batch_size,
            settings.seed,
            settings.drop_last,
            self.processes.count,
            self.processes.rank,
        )
        torch.manual_seed(order.torch_seed(settings.seed, order.MODEL))
        self.network = stage.build_model().to(self.run.device)
        accelerator = self.processes.accelerator
        groups = stage.parameter_groups(self.network)
        self.model: nn.Module = accelerator.prepare_model(self.network)
        self.optimizer = accelerator.prepare_optimizer(build_optimizer(settings.optimizer, groups))
        self.base_rates = [group["lr"] for group in self.optimizer.param_groups]
        self.average = None if settings.ema_decay is None else MovingAverage(self.network, settings.ema_decay)
        steps = math.ceil(self.plan.batches_per_epoch / settings.accumulate)
        warmup = 0.0 if isinstance(settings.schedule, Constant) else settings.schedule.warmup_epochs
        self.run.position = Position(steps_per_epoch=steps, total_epochs=settings.epochs + warmup)
        self.best: float | None = None
        self.elapsed_s = 0.0
        if self.resume and (state := checkpoint.newest(self.checkpoints)) is not None:
            self._restore(state)
        elif self.official is not None:
            self._start_from(self.official)
        share = None if settings.minutes is None else min(self.elapsed_s / (60 * settings.minutes), 1.0)
        self.run.position.share = share

    @property
    def last_step(self) -> int | None:
        """Number of optimiser steps of the whole run; None under a budget of minutes."""
        if self.settings.minutes is not None:
            return None
        epochs = self.settings.stop_after_epochs or self.run.position.total_epochs
        return math.ceil(epochs * self.run.position.steps_per_epoch)

    @property
    def finished(self) -> bool:
        position = self.run.position
        last = self.last_step
        return (position.share or 0.0) >= 1.0 if last is None else position.step >= last

    # -- the loop -------------------------------------------------------------------------------------------

    def train(self) -> dict[str, Any]:
        """Runs to the end of the schedule; the final metrics. Raises Interrupted on SIGTERM, SIGUSR1 or SIGUSR2."""
        self._set_up()
        position = self.run.position
        quiet = self.quiet or not self.processes.first
        self.log = (
            RunLog(self.folder, self.stage.name, position.step, quiet) if self.processes.first else None
        )
        try:
            with self._signals():
                self._loop()
            return self._finish()
        finally:
            if self.log is not None:
                self.log.close()

    def _loop(self) -> None:
        settings, position = self.settings, self.run.position
        batches = order.batches(
            self.samples, self.stage.collate, self.plan, position.micro_step, settings.workers
        )
        self.stage.set_mode(self.model)
        validate = max(round(settings.validate_every * position.steps_per_epoch), 1)
        save = max(round(settings.checkpoint_every * position.steps_per_epoch), 1)
        clock = time.monotonic()
        while not self.finished:
            losses = self._step(batches)
            position.step += 1
            position.epoch, at = divmod(position.step, position.steps_per_epoch)
            if self.average is not None:
                self.average.update(self.network)
            self.elapsed_s, clock = self.elapsed_s + time.monotonic() - clock, time.monotonic()
            self._tell(losses)
            self._count_time()
            judged = position.step % validate == 0 or self.finished
            if judged:
                self._validate()
            if judged or at == 0:
                self.stage.set_mode(self.model)
            stopped = self._stop_asked()
            if position.step % save == 0 or self.finished or stopped:
                self._save()
            if stopped:
                raise Interrupted(
                    f"stopped by signal {stopped} after step {position.step}; the run is saved",
                    file=self.folder,
                    remedy="go on with --resume",
                )

    def _step(self, batches: Iterator[tuple[Any, dict[str, str]]]) -> dict[str, Tensor]:
        """One optimiser step over up to `accumulate` batches; the mean of their losses."""
        position, stage = self.run.position, self.stage
        left = self.plan.batches_per_epoch - position.micro_step % self.plan.batches_per_epoch
        parts = min(self.settings.accumulate, left)
        for group, base in zip(self.optimizer.param_groups, self.base_rates, strict=True):
            group["lr"] = stage.learning_rate(base, position)
        self.optimizer.zero_grad(set_to_none=True)
        total: dict[str, Tensor] = {}
        own = False
        for part in range(parts):
            batch, skipped = next(batches)
            self._note_skipped(skipped)
            torch.manual_seed(
                order.torch_seed(self.settings.seed, order.STEP, position.micro_step, self.processes.rank)
            )
            if (losses := stage.update(self.model, batch, self.run)) is None:
                losses = self._gradients(batch, parts, last=part + 1 == parts)
            else:
                own = True
            position.micro_step += 1
            for name, value in losses.items():
                total[name] = total.get(name, 0) + torch.as_tensor(value).detach() / parts
        if not own:
            if self.settings.clip_norm > 0:
                parameters = [p for group in self.optimizer.param_groups for p in group["params"]]
                norm = self.processes.accelerator.clip_grad_norm_(parameters, self.settings.clip_norm)
                total["grad_norm"] = norm if norm is not None else torch.zeros(())
            self.optimizer.step()
        stage.after_step(self.model, self.run)
        return total

    def _gradients(self, batch: Any, parts: int, last: bool) -> dict[str, Tensor]:
        stage, accelerator = self.stage, self.processes.accelerator
        quiet = contextlib.nullcontext() if last else accelerator.no_sync(self.model)
        with quiet:
            stage.before_step(self.model, batch, self.run)
            with accelerator.autocast():
                losses = stage.step(self.model, batch, self.run)
            accelerator.backward(losses["loss"] / parts)
        return losses

    # -- what the loop tells and keeps ----------------------------------------------------------------------

    def _tell(self, losses: dict[str, Tensor]) -> None:
        position = self.run.position
        if position.step % self.settings.log_every and not self.finished:
            return
        values = {
            name: float(self.processes.sum(v.float()) / self.processes.count) for name, v in losses.items()
        }
        if not math.isfinite(values["loss"]):
            raise KinoscopeError(
                f"the loss is no longer finite at step {position.step}",
                file=self.folder,
                field="loss",
                value=values["loss"],
                remedy="lower train.optimizer.learning_rate or set train.clip_norm=1",
            )
        values["learning_rate"] = self.optimizer.param_groups[0]["lr"]
        if self.log is not None:
            self.log.write("train", position, values)
            self.log.progress(position, values, self.last_step)

    def _count_time(self) -> None:
        if self.settings.minutes is not None:
            share = min(self.elapsed_s / (60 * self.settings.minutes), 1.0)
            self.run.position.share = float(self.processes.broadcast(share))

    def _note_skipped(self, skipped: dict[str, str]) -> None:
        for video, why in skipped.items():
            if video not in self.run.skipped and self.log is not None:
                self.log.say(f"left out: {why}")
            self.run.skipped[video] = why

    def judged_model(self) -> nn.Module:
        """The weights that count: the moving average where there is one."""
        return self.network if self.average is None else self.average.model

    def _validate(self) -> None:
        model = self.judged_model()
        model.eval()
        with torch.no_grad():
            values = self.processes.broadcast(self.stage.validate(model, self.run))
        headline = values.get(self.stage.headline) if self.stage.headline else None
        if self.settings.keep == "last" or self.stage.headline is None:
            better = True
        else:
            sign = 1 if self.stage.higher_is_better else -1
            better = headline is not None and (self.best is None or sign * headline > sign * self.best)
        if better:
            self.best = headline
        if self.processes.first:
            if better:
                about = {"stage": self.stage.name, "step": self.run.position.step, **self.stage.about()}
                save_weights(self.weights, model.state_dict(), self.recipe, about)
            if values and self.log is not None:
                self.log.write("validation", self.run.position, values)
                self.log.say("  ".join(f"{name} {value:.4g}" for name, value in values.items()))
        self.processes.wait()

    def _save(self) -> None:
        if self.processes.first:
            checkpoint.save(
                self.checkpoints, self.run.position.step, self._state(), self.settings.keep_checkpoints
            )
        self.processes.wait()

    def _state(self) -> dict[str, Any]:
        position = self.run.position
        scaler = self.processes.accelerator.scaler
        return {
            "model": self.network.state_dict(),
            "average": None if self.average is None else self.average.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": None if scaler is None else scaler.state_dict(),
            "stage": self.stage.state(),
            "position": {"step": position.step, "micro_step": position.micro_step, "epoch": position.epoch},
            "best": self.best,
            "elapsed_s": self.elapsed_s,
            "skipped": dict(self.run.skipped),
        }

    def _restore(self, state: dict[str, Any]) -> None:
        self.network.load_state_dict(state["model"])
        if self.average is not None:
            self.average.model.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        if state["scaler"] is not None and self.processes.accelerator.scaler is not None:
            self.processes.accelerator.scaler.load_state_dict(state["scaler"])
        self.stage.load_state(state["stage"])
        for name, value in state["position"].items():
            setattr(self.run.position, name, value)
        self.best, self.elapsed_s = state["best"], state["elapsed_s"]
        self.run.skipped.update(state["skipped"])

    def _start_from(self, path: Path) -> None:
        """Goes on where the official program stopped; its order and random numbers are not ours."""
        start = self.stage.official_start(path, self.network)
        self.network.load_state_dict(start.model)
        if self.average is not None:
            self.average.model.load_state_dict(start.average or start.model)
        for name, parameter in self.network.named_parameters():
            if name in start.optimizer:
                self.optimizer.state[parameter] = {
                    key: torch.as_tensor(value, dtype=torch.float32, device=parameter.device)
                    for key, value in start.optimizer[name].items()
                }
        if start.stage is not None:
            self.stage.load_state(start.stage)
        position = self.run.position
        position.epoch, position.step = start.epoch, start.epoch * position.steps_per_epoch
        position.micro_step = start.epoch * self.plan.batches_per_epoch

    def _finish(self) -> dict[str, Any]:
        """The stage's last word, with the best weights."""
        model = self.judged_model()
        model.load_state_dict(load_weights(self.weights).state)
        model.to(self.run.device).eval()
        with torch.no_grad():
            final = self.stage.finish(model, self.run)
        if self.log is not None:
            numbers = {name: value for name, value in final.items() if isinstance(value, int | float)}
            self.log.write("final", self.run.position, numbers)
        return final

    # -- signals --------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        """The signals that ask the loop to save and stop after the step in hand; submitit's is SIGUSR2."""

        def ask(number: int, frame: object) -> None:
            self.stop_signal = number

        try:
            before = {number: signal.signal(number, ask) for number in STOPPING}
        except ValueError:  # not the main thread: signals are somebody else's
            before = {}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _stop_asked(self) -> int:
        """The signal that any process received, else 0."""
        if self.processes.count == 1:
            return self.stop_signal or 0
        asked = torch.tensor(self.stop_signal or 0, device=self.run.device)
        return int(self.processes.gather(asked.reshape(1)).max())
