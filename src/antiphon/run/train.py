"""One training run from its recipe: evaluate, loop, save; or pick it up where it was killed."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from antiphon.config import Config, load_config
from antiphon.distributed.device import prepare_cpu, release_memory
from antiphon.errors import ConfigError, RunError
from antiphon.evaluate.groups import grouped
from antiphon.evaluate.metrics import main_measure
from antiphon.evaluate.recognise import evaluate
from antiphon.evaluate.watch import Stop, watch
from antiphon.models.autoregressive import Autoregressive
from antiphon.models.pieces import Pieces
from antiphon.models.policy import Sampling
from antiphon.rewards.load import RewardSpec, in_recipe
from antiphon.rollout.engine import InProcessEngine
from antiphon.rollout.gate import run_gate
from antiphon.run.components import Components, pinned
from antiphon.run.loop import Step, run_loop
from antiphon.run.plots import plot_run
from antiphon.run.recorder import record_eval, record_step
from antiphon.run.reporter import Reporter, Silent
from antiphon.runs.find import list_runs, resolve
from antiphon.runs.folder import RunFolder
from antiphon.train.checkpoint import load_checkpoint, save_checkpoint
from antiphon.train.spread import SpreadWatch

Summary = dict[str, Any]


@dataclass(frozen=True)
class TrainResult:
    """What a finished run amounts to."""

    run: RunFolder
    steps: int
    seconds: float
    """Of this process, evaluations included."""
    checkpoint: Path | None
    before: dict[str, Summary] = field(default_factory=dict)
    """Each evaluation set's summary before the first step."""
    after: dict[str, Summary] = field(default_factory=dict)
    """Likewise after the last step that was made."""
    stopped: Stop | None = None
    """Why it ended early, or what the guard saw at its end."""

    @property
    def training_run_id(self) -> str:
        """The run's id, by which its checkpoints are listed."""
        return self.run.id

    def to_dict(self) -> dict[str, Any]:
        """What `antiphon train --json` prints."""
        return {
            "run": self.run.id,
            "path": str(self.run.path),
            "steps": self.steps,
            "seconds": self.seconds,
            "checkpoint": str(self.checkpoint) if self.checkpoint else None,
            "best_step": self.run.best_step(),
            "stopped": asdict(self.stopped) if self.stopped else None,
            "eval": {"before": self.before, "after": self.after},
        }


def train(
    config: Config,
    resume: str | None = None,
    reporter: Reporter | None = None,
    command: Sequence[str] = (),
    reward: RewardSpec | None = None,
) -> TrainResult:
    """Run a recipe to its end and return what came of it.

    `resume` is RUN, RUN@STEP, `latest`, or `auto` (the latest run of this very recipe if it is unfinished,
    else a new one); the recipe then is the run's own (see `resumed_config` for changing it).
    `reward` stands in place of the recipe's, and may hold functions themselves (see `load_reward`).
    """
    began = time.perf_counter()
    reporter = reporter or Silent()
    config = pinned(config)
    if reward is not None:
        config = config.model_copy(update={"reward": in_recipe(reward)})
    prepare_cpu(config.threads)
    release_memory()  # Of earlier runs in this process.
    found = _find_resumable(config, resume)
    if found is None:
        parts = Components(config, config.model, reporter, reward)
        run, done = RunFolder.create(config, command or sys.argv), 0
        parts.write_transcripts(run)
    else:
        run, done = found
        run.require_free()
        whole = done and not config.lora
        weights = str(run.checkpoints.at(done).path) if whole else config.model
        parts = Components(config, weights, reporter, reward, run.transcripts())
        if done:
            load_checkpoint(run.checkpoints.at(done).path, parts.trainer)
        run.claim()
        run.write_config(config)
        parts.write_transcripts(run)
        run.truncate_after(done)
        run.log(f"resumed from step {done}")
    try:
        return _Experiment(run, parts, done, reporter).run_to_end(began)
    except KeyboardInterrupt:
        run.update("interrupted")
        kept = run.checkpoints.latest()
        message = f"interrupted after step {run.status.step}"
        run.log(message)
        reporter.note(f"{message}; resuming {run.id} starts from step {kept.step if kept else 0}")
        raise
    except BaseException as error:
        run.update("failed", error=f"{type(error).__name__}: {error}")
        run.log(f"failed: {type(error).__name__}: {error}")
        raise


def _find_resumable(config: Config, resume: str | None) -> tuple[RunFolder, int] | None:
    """The run to continue and the steps that are done in it; None for a new run."""
    if resume == "auto":
        newest = next(iter(list_runs(Path(config.output))), None)
        unfinished = newest is not None and newest.status.seen_state not in ("finished", "stopped")
        resume = newest.id if newest and unfinished and newest.config == config else None
    if resume is None:
        return None
    run, step = resolve(resume, Path(config.output))
    if step is None:
        latest = run.checkpoints.latest()
        done = latest.step if latest else 0
    else:
        done = run.checkpoints.at(step).step
    if done > config.train.steps:
        raise ConfigError(
            f"the checkpoint of {run.id} has {done} steps behind it, more than train.steps={config.train.steps}; "
            f"raise train.steps, or resume from an earlier one: {run.id}@STEP"
        )
    return run, done


class _Stopped(Exception):
    """Ends the loop after a step, for a reason."""

    def __init__(self, step: int, why: Stop) -> None:
        super().__init__(why.reason)
        self.step, self.why = step, why


class _Experiment:
    """One run: its folder, its parts, and what happens when."""

    def __init__(self, run: RunFolder, parts: Components, done: int, reporter: Reporter) -> None:
        self.run, self.parts, self.done, self.reporter = run, parts, done, reporter
        self.config = parts.config
        parts.collector.log = run.log
        self.spread = SpreadWatch()
        policy = parts.policy
        self.pieces = Pieces(policy.tokenizer) if isinstance(policy, Autoregressive) else None

    def run_to_end(self, began: float) -> TrainResult:
        config, run, parts = self.config, self.run, self.parts
        run.update("running", self.done)
        run.log(f"training {config.model} on {len(parts.examples)} examples of {', '.join(config.data.train)}")
        for line in parts.skipped:
            run.log(line)
        if config.gate.enabled and self.done < config.train.steps:
            self._check_parity(self.done)
        if config.eval.before and self.done == 0:
            self._evaluate_once(0)
        steps, stopped = config.train.steps, None
        self.reporter.phase("training", config.train.steps)
        try:
            run_loop(
                start=self.done,
                stop=config.train.steps,
                collector=parts.collector,
                trainer=parts.trainer,
                after_step=self._after_step,
            )
        except _Stopped as early:
            steps, stopped = early.step, early.why
        finally:
            parts.stream.close()
        if stopped is None and config.eval.after:
            stopped = self._evaluate_once(steps)
            self._prune()
        latest = run.checkpoints.latest()
        plot_run(run)
        state, reason = ("stopped", stopped.reason) if stopped else ("finished", None)
        run.update(state, steps, reason=reason)
        run.log(f"stopped after {steps} steps: {reason}" if reason else f"finished {steps} steps")
        seconds = time.perf_counter() - began
        evals = self._saved_evals(0), self._saved_evals(steps)
        return TrainResult(run, steps, seconds, latest.path if latest else None, *evals, stopped)

    def _after_step(self, step: Step) -> None:
        train, every = self.config.train, self.config.eval.every
        last = step.number == train.steps
        record_step(self.run, step, self.pieces)
        self.run.update("running", step.number)
        self.reporter.stepped(step, train.steps)
        if warning := self.spread(step.metrics, step.advantages):
            self.run.log(f"step {step.number}: {warning}")
            self.reporter.note(f"step {step.number:>5}  {warning}")
        stop, new_best = None, False
        if every and step.number % every == 0 and not last:
            stop = self._evaluate_once(step.number)
            new_best = train.keep_best and self.run.best_step() == step.number
            self.reporter.phase("training", train.steps)
        if last or stop or new_best or (train.save_every > 0 and step.number % train.save_every == 0):
            with self.run.checkpoints.save(step.number) as folder:
                save_checkpoint(folder, self.parts.trainer, step.number)
            self._prune()
        if stop:
            raise _Stopped(step.number, stop)
        gate = self.config.gate
        if gate.enabled and gate.every and step.number % gate.every == 0 and not last:
            self._check_parity(step.number)
            self.reporter.phase("training", train.steps)

    def _check_parity(self, step: int) -> None:
        """Measure, record and show the parity gate on the training stream's first prompts; `ModelError` if it fails."""
        self.reporter.phase("checking that engine and trainer agree")
        parts, config = self.parts, self.config
        report = run_gate(
            parts.policy,
            InProcessEngine(parts.policy, config.rollout.max_tokens),
            [parts.prompt(example) for example in parts.stream.examples(0)[: config.gate.prompts]],
            Sampling(config.rollout.temperature or 1.0, config.rollout.max_new_tokens),
            config.seed,
            step,
        )
        self.run.log_gate(step, report.to_dict())
        self.reporter.gated(step, report)
        report.require()

    def _prune(self) -> None:
        train = self.config.train
        self.run.checkpoints.prune(train.keep_checkpoints, self.run.best_step() if train.keep_best else None)

    def _saved_evals(self, step: int) -> dict[str, Summary]:
        saved = (dict(summary) for summary in self.run.evals() if summary["step"] == step)
        return {one.pop("set"): {k: v for k, v in one.items() if k != "step"} for one in saved}

    def _evaluate_once(self, step: int) -> Stop | None:
        """Every evaluation set, at this step; figures that the run folder holds already are not made again.

        Returns why the run should stop, if the figures say so.
        """
        saved = self._saved_evals(step)
        for name, examples in self.parts.eval_sets.items():
            if name not in saved:
                self.reporter.phase(f"evaluating {name}", len(examples))
                summary, rows = evaluate(
                    self.parts.policy,
                    self.parts.decode,
                    examples,
                    self.parts.prompt,
                    self.config.rollout.max_new_tokens,
                    self.reporter.advance,
                )
                measure = main_measure(summary)
                summary, table = grouped(summary, rows, self.parts.groups.get(name))
                record_eval(self.run, step, name, summary, table, examples, self.parts.policy.rate)
                self.run.log(f"step {step}: {name}: {measure} {summary[measure]}, interval {summary['ci']}")
                self.reporter.evaluated(name, step, summary)
        return watch(self.run, step, self.reporter.note)


def resumed_config(resume: str, flags: Mapping[str, Any], overrides: Sequence[str] | Mapping[str, Any]) -> Config:
    """The recipe of the run to resume, with flags and overrides such as `train.steps=200` laid over it.

    Raises `RunError` when there is no such run, or when another model or other labels are asked for.
    """
    run, _ = resolve(resume, Path(flags.get("output") or "runs"))
    config = load_config(run.path / "config.yaml", overrides, flags)
    if config.model != run.config.model:
        raise RunError(f"the run {run.id} trains {run.config.model}; start a new run to train {config.model}")
    if config.labels != run.config.labels:
        raise RunError(f"the run {run.id} has labels={run.config.labels}; start a new run to learn from other texts")
    return config
