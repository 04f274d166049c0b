"""One training run from its recipe: load, check, evaluate, loop, save; or pick it up where it was killed."""

from __future__ import annotations

import importlib
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

from antiphon.config import Config, validate_settings
from antiphon.data.source import load_set, set_name
from antiphon.data.stream import PromptStream
from antiphon.device import prepare_cpu, resolve_device, resolve_dtype
from antiphon.errors import ConfigError, RunError
from antiphon.evaluate.recognise import evaluate
from antiphon.loop import Step, run_loop
from antiphon.models.audio_lm import AudioPrefixLM
from antiphon.models.load import load_policy
from antiphon.models.policy import Sampling
from antiphon.recorder import record_step
from antiphon.report import plot_run
from antiphon.rewards import load_reward
from antiphon.rollout.engine import InProcessEngine
from antiphon.runs.find import list_runs, resolve
from antiphon.runs.folder import RunFolder
from antiphon.tasks.load import prompter
from antiphon.train.checkpoint import load_optimizer, save_checkpoint
from antiphon.train.trainer import Trainer
from antiphon.types import Example

Summary = dict[str, Any]


class Reporter(Protocol):
    """Told what happens, so that a terminal can show it."""

    def phase(self, title: str, total: int | None = None) -> None: ...
    def advance(self, done: int) -> None: ...
    def note(self, message: str) -> None: ...
    def evaluated(self, set_name: str, step: int, summary: Summary) -> None: ...
    def stepped(self, step: Step, steps: int) -> None: ...


class Silent:
    """A reporter that says nothing."""

    def phase(self, title: str, total: int | None = None) -> None: ...
    def advance(self, done: int) -> None: ...
    def note(self, message: str) -> None: ...
    def evaluated(self, set_name: str, step: int, summary: Summary) -> None: ...
    def stepped(self, step: Step, steps: int) -> None: ...


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

    def to_dict(self) -> dict[str, Any]:
        """What `antiphon train --json` prints."""
        return {
            "run": self.run.id,
            "path": str(self.run.path),
            "steps": self.steps,
            "seconds": self.seconds,
            "checkpoint": str(self.checkpoint) if self.checkpoint else None,
            "eval": {"before": self.before, "after": self.after},
        }


def load_algorithm(spec: dict[str, Any]) -> tuple[ModuleType, Any]:
    """The algorithm's module (of `antiphon.algorithms`, or by import path) and its checked settings."""
    settings = dict(spec)
    name = settings.pop("name")
    path = name if "." in name else f"antiphon.algorithms.{name}"
    try:
        module = importlib.import_module(path)
    except ModuleNotFoundError as error:
        raise ConfigError(f"unknown algorithm {name!r}; there is: grpo (or give an import path)") from error
    if not hasattr(module, "advantages"):
        raise ConfigError(f"{path} is not an algorithm: it has no `advantages` and `loss`")
    return module, validate_settings(module.Settings, settings, where="", prefix="algorithm")


def train(
    config: Config, resume: str | None = None, reporter: Reporter | None = None, command: Sequence[str] = ()
) -> TrainResult:
    """Run a recipe to its end and return what came of it.

    `resume` is RUN, RUN@STEP, `latest`, or `auto` (the latest run of this very recipe if it is unfinished,
    else a new one); the recipe then is the run's own (see `resumed_config` for changing it).
    """
    began = time.perf_counter()
    reporter = reporter or Silent()
    if config.data.train is None:
        raise ConfigError("no training data; give --data FILE.jsonl, or data.train=builtin:commands-train")
    device = resolve_device(config.device)
    prepare_cpu(config.threads)
    run, done = _open_run(config, resume, command or sys.argv)
    try:
        experiment = _Experiment(run, config, done, device, reporter)
        result = experiment.run_to_end(began)
    except KeyboardInterrupt:
        run.update("interrupted")
        raise
    except BaseException as error:
        run.update("failed", error=f"{type(error).__name__}: {error}")
        run.log(f"failed: {type(error).__name__}: {error}")
        raise
    return result


def _open_run(config: Config, resume: str | None, command: Sequence[str]) -> tuple[RunFolder, int]:
    """The run folder, and the steps that are done in it."""
    if resume == "auto":
        newest = next(iter(list_runs(Path(config.output))), None)
        unfinished = newest is not None and newest.status.seen_state != "finished"
        resume = newest.id if newest and unfinished and newest.config == config else None
    if resume is None:
        return RunFolder.create(config, command), 0
    run, step = resolve(resume, Path(config.output))
    run.claim()
    if step is not None:
        done = run.checkpoints.at(step).step
    else:
        latest = run.checkpoints.latest()
        done = latest.step if latest else 0
    run.write_config(config)
    run.truncate_after(done)
    run.log(f"resumed from step {done}")
    return run, done


class _Experiment:
    """The parts of one run, put together."""

    def __init__(self, run: RunFolder, config: Config, done: int, device, reporter: Reporter) -> None:
        self.run, self.config, self.done, self.reporter = run, config, done, reporter
        algorithm, settings = load_algorithm(config.algorithm)
        self.reward = load_reward(config.reward)
        dtype = resolve_dtype(config.dtype, device)

        def policy(spec: str) -> AudioPrefixLM:
            return load_policy(spec, device, dtype, config.rollout.block_tokens, config.output)

        reporter.phase("loading the model")
        checkpoint = run.checkpoints.at(done).path if done else None
        self.policy = policy(str(checkpoint) if checkpoint else config.model)
        self.engine = InProcessEngine(self.policy, config.rollout.max_sequences)
        self.recogniser = InProcessEngine(self.policy, config.eval.batch_size)
        self.prompt = prompter(config, self.policy.rate)
        reference = policy(config.model) if algorithm.needs_reference(settings) else None
        self.trainer = Trainer(self.policy, algorithm, settings, config, reference)
        if checkpoint:
            load_optimizer(checkpoint, self.trainer)

        assert config.data.train is not None
        self.examples = self._load(config.data.train)
        self.eval_sets = {set_name(spec): self._load(spec, config.eval.limit) for spec in config.data.eval}

    def _load(self, spec: str, limit: int | None = None) -> list[Example]:
        self.reporter.phase(f"checking {spec}")
        examples, skipped = load_set(spec, self.config, limit, self.reporter.advance)
        if skipped:
            self.reporter.note(f"{spec}: skipped {len(skipped)} of {len(skipped) + len(examples)} rows")
            for row in skipped:
                self.run.log(f"skipped {spec}: {row}")
        return examples

    def run_to_end(self, began: float) -> TrainResult:
        config, run = self.config, self.run
        run.update("running", self.done)
        before = self._evaluate_once(0) if config.eval.before and self.done == 0 else self._saved_evals(0)
        rollout = config.rollout
        stream = PromptStream(self.examples, rollout.prompts_per_step, config.seed, self.prompt)
        self.reporter.phase("training", config.train.steps)
        try:
            run_loop(
                start=self.done,
                stop=config.train.steps,
                stream=stream,
                policy=self.policy,
                engine=self.engine,
                reward=self.reward,
                trainer=self.trainer,
                group_size=rollout.group_size,
                sampling=Sampling(rollout.temperature, rollout.max_new_tokens),
                seed=config.seed,
                after_step=self._after_step,
            )
        finally:
            stream.close()
        steps = config.train.steps
        after = self._evaluate_once(steps) if config.eval.after else self._saved_evals(steps)
        latest = run.checkpoints.latest()
        plot_run(run)
        run.update("finished", steps)
        seconds = time.perf_counter() - began
        return TrainResult(run, steps, seconds, latest.path if latest else None, before, after)

    def _after_step(self, step: Step) -> None:
        train, every = self.config.train, self.config.eval.every
        last = step.number == train.steps
        record_step(self.run, step)
        self.run.update("running", step.number)
        self.reporter.stepped(step, train.steps)
        if every and step.number % every == 0 and not last:
            self._evaluate_once(step.number)
            self.reporter.phase("training", train.steps)
        if last or (train.save_every > 0 and step.number % train.save_every == 0):
            with self.run.checkpoints.save(step.number) as folder:
                save_checkpoint(folder, self.trainer, step.number)
            self.run.checkpoints.prune(train.keep_checkpoints)

    def _saved_evals(self, step: int) -> dict[str, Summary]:
        return {s["set"]: s for s in self.run.evals() if s["step"] == step}

    def _evaluate_once(self, step: int) -> dict[str, Summary]:
        """Every evaluation set, at this step; figures that the run folder holds already are not made again."""
        summaries = self._saved_evals(step)
        for name, examples in self.eval_sets.items():
            if name not in summaries:
                self.reporter.phase(f"evaluating {name}", len(examples))
                summary, rows = evaluate(
                    self.policy,
                    self.recogniser,
                    examples,
                    self.prompt,
                    self.config.rollout.max_new_tokens,
                    self.reporter.advance,
                )
                self.run.save_eval(name, step, summary, [row.to_row() for row in rows])
                summaries[name] = summary
                self.reporter.evaluated(name, step, summary)
        return summaries


def resumed_config(resume: str, output: str, overrides: Sequence[str]) -> Config:
    """The recipe of the run to resume, with overrides such as `train.steps=200` laid over it."""
    from antiphon.config import load_config

    run, _ = resolve(resume, Path(output))
    config = load_config(run.path / "config.yaml", overrides, {"output": output})
    if config.model != run.config.model:
        raise RunError(f"the run {run.id} trains {run.config.model}; start a new run to train {config.model}")
    return config
