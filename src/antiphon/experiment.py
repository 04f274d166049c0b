"""One training run from its recipe: load, check, evaluate, loop, save; or pick it up where it was killed."""

from __future__ import annotations

import sys
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any, Protocol

import torch

from antiphon.collect import Collector
from antiphon.config import Config, load_config
from antiphon.config.schema import Labels, Rollout
from antiphon.data.source import load_set, mixed, named_sets
from antiphon.data.stream import PromptStream
from antiphon.device import prepare_cpu, resolve_device, resolve_dtype
from antiphon.errors import ConfigError, RunError
from antiphon.evaluate.decode import decoder
from antiphon.evaluate.groups import group_names, grouped
from antiphon.evaluate.metrics import main_measure
from antiphon.evaluate.recognise import evaluate
from antiphon.evaluate.watch import Stop, watch
from antiphon.loop import Step, calibrate_step, run_loop
from antiphon.models.blocking import block_from
from antiphon.models.feature_cache import cache_features
from antiphon.models.load import load_policy, pin
from antiphon.models.lora import without_adapter
from antiphon.models.policy import Policy, Sampling
from antiphon.models.recompute import recompute_activations
from antiphon.recorder import record_step, step_metrics
from antiphon.report import plot_run
from antiphon.rewards.load import RewardSpec, in_recipe, load_reward
from antiphon.rollout.engine import Engine, InProcessEngine
from antiphon.rollout.enumerate import EveryLabelEngine
from antiphon.rollout.gate import GateReport, run_gate
from antiphon.rollout.labels import LabelEngine
from antiphon.rollout.transcripts import Transcript, relabel, transcribe
from antiphon.runs.find import list_runs, resolve
from antiphon.runs.folder import RunFolder
from antiphon.tasks.load import prompter
from antiphon.train.checkpoint import load_checkpoint, save_checkpoint
from antiphon.train.credit import AlignmentCredit
from antiphon.train.objectives import combined_needs, load_objectives
from antiphon.train.spread import SpreadWatch
from antiphon.train.teachers.load import load_teachers
from antiphon.train.trainable import make_trainable
from antiphon.train.trainer import Trainer
from antiphon.types import Example

Summary = dict[str, Any]


class Reporter(Protocol):
    """Told what happens, so that a terminal can show it."""

    def phase(self, title: str, total: int | None = None) -> None: ...
    def advance(self, done: int) -> None: ...
    def note(self, message: str) -> None: ...
    def gated(self, step: int, report: GateReport) -> None: ...
    def evaluated(self, set_name: str, step: int, summary: Summary) -> None: ...
    def stepped(self, step: Step, steps: int) -> None: ...


class Silent:
    """A reporter that says nothing."""

    def phase(self, title: str, total: int | None = None) -> None: ...
    def advance(self, done: int) -> None: ...
    def note(self, message: str) -> None: ...
    def gated(self, step: int, report: GateReport) -> None: ...
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
    """Likewise after the last step that was made."""
    stopped: Stop | None = None
    """Why it ended early, or what the guard saw at its end."""

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
    config = _pinned(config)
    if reward is not None:
        config = config.model_copy(update={"reward": in_recipe(reward)})
    prepare_cpu(config.threads)
    found = _find_resumable(config, resume)
    if found is None:
        parts = _Parts(config, config.model, reporter, reward)
        run, done = RunFolder.create(config, command or sys.argv), 0
        parts.write_transcripts(run)
    else:
        run, done = found
        run.require_free()
        whole = done and not config.lora
        weights = str(run.checkpoints.at(done).path) if whole else config.model
        parts = _Parts(config, weights, reporter, reward, run.transcripts())
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


@dataclass(frozen=True)
class Calibration:
    """What the first steps would learn from."""

    steps: int
    metrics: dict[str, float]
    """Means over the steps; of those called …_max the largest."""
    seconds: dict[str, float]
    """Mean wall-clock time of each phase."""


def calibrate(config: Config, steps: int = 1, reporter: Reporter | None = None) -> Calibration:
    """Load a recipe's parts, roll out its first `steps` and score them: no update, and no run folder.

    Raises what `train` would: for settings, data and models that do not fit, and where too little is aligned.
    """
    reporter = reporter or Silent()
    config = _pinned(config)
    prepare_cpu(config.threads)
    parts = _Parts(config, config.model, reporter)
    reporter.phase("calibrating", steps)
    measured: dict[str, list[float]] = defaultdict(list)
    timed: dict[str, list[float]] = defaultdict(list)
    try:
        for step in range(steps):
            groups, metrics, seconds = calibrate_step(step, parts.collector, parts.trainer)
            for kept, found in ((measured, step_metrics(groups) | metrics), (timed, seconds)):
                for name, value in found.items():
                    kept[name].append(value)
            reporter.advance(step + 1)
    finally:
        parts.stream.close()
    summary = {name: max(of) if name.endswith("_max") else fmean(of) for name, of in measured.items()}
    return Calibration(steps, summary, {name: fmean(of) for name, of in timed.items()})


def _pinned(config: Config) -> Config:
    """The recipe with models that are runs named by their step, so that it means the same tomorrow."""
    teachers = [
        one if one.url or one.model is None else one.model_copy(update={"model": pin(one.model, config.output)})
        for one in config.teacher
    ]
    labels = config.labels and config.labels.model_copy(update={"model": pin(config.labels.model, config.output)})
    model = pin(config.model, config.output)
    return config.model_copy(update={"model": model, "teacher": teachers, "labels": labels})


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


class _Parts:
    """Everything a run works with, loaded and checked before its folder is made."""

    def __init__(
        self,
        config: Config,
        weights: str,
        reporter: Reporter,
        reward: RewardSpec | None = None,
        transcripts: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        """`weights` are those to start from: the recipe's model, or a checkpoint that holds a whole one.
        `transcripts` are those that the run made already."""
        if not config.data.train:
            raise ConfigError("no training data; give --data FILE.jsonl, or data.train=builtin:commands-train")
        self.config, self.reporter = config, reporter
        self.skipped: list[str] = []
        self.transcripts: list[Transcript] = []
        objectives = load_objectives(config.algorithm)
        needs = combined_needs(objectives)
        rewards = load_reward(reward or config.reward, config.reward_limits) if needs.rewards else None
        texts = (needs.rewards or needs.alignment_credit or needs.source == "labels") and not config.labels
        self.examples = mixed([(spec, self._load(spec, config.data.limit, texts)) for spec in config.data.train])
        eval_sets = named_sets(config.data.eval)
        self.eval_sets = {name: self._load(spec, config.eval.limit) for name, spec in eval_sets.items()}
        column = config.eval.group_by
        self.groups = {name: group_names(rows, column, name) for name, rows in self.eval_sets.items() if column}

        device = resolve_device(config.device)

        def policy(spec: str, dtype: str = config.dtype) -> Policy:
            blocked, trust = config.rollout.block_tokens, config.trust_remote_code
            loaded = load_policy(spec, device, resolve_dtype(dtype, device), blocked, config.output, trust)
            if config.rollout.block_tokens_from is not None:
                block_from(loaded, config.rollout.block_tokens_from)
            return loaded

        if config.labels:
            self.examples = self._relabelled(config.labels, [Transcript(**row) for row in transcripts], device)
        reporter.phase("loading the model")
        self.policy = policy(weights)
        make_trainable(self.policy.model, config)
        if config.train.activation_checkpointing:
            recompute_activations(self.policy.model)
        if config.train.cache_features_mb:
            cache_features(self.policy, config.train.cache_features_mb)
        if needs.token_level and not self.policy.token_level:
            names = ", ".join(one.name for one in objectives if one.needs.token_level)
            raise ConfigError(
                f"{names} as configured needs a log-probability for each token, and {config.model} has one for its "
                "whole answer; leave the per-token options out, or use a loss over whole answers"
            )
        reference = None
        if needs.reference:
            reference = without_adapter(self.policy) if config.lora else policy(config.model)
        teacher = load_teachers(config, self.policy, objectives, policy) if needs.teacher else None
        credit = AlignmentCredit(self.policy) if needs.alignment_credit else None
        self.trainer = Trainer(self.policy, objectives, config, reference, teacher, credit)
        self.engine = self._engine(needs.source)
        self.decode = decoder(self.policy, config.eval.batch_size, config.eval.beam)
        self.prompt = prompter(config, self.policy.rate)
        self.stream = PromptStream(self.examples, config.rollout.prompts_per_step, config.seed, self.prompt)
        self.collector = Collector(
            stream=self.stream,
            policy=self.policy,
            engine=self.engine,
            reward=rewards,
            group_size=config.rollout.group_size or _group_size(self.engine),
            sampling=_sampling(config.rollout),
            seed=config.seed,
            needs=needs,
        )

    def _engine(self, source: str) -> Engine:
        """What completions come from."""
        if source == "labels":
            return LabelEngine(self.policy, self.examples)
        if source == "all":
            return EveryLabelEngine(self.policy)
        return InProcessEngine(self.policy, self.config.rollout.max_tokens)

    def _relabelled(self, labels: Labels, known: list[Transcript], device: torch.device) -> list[Example]:
        """The training examples with what a model hears in them as their texts; `known` clips are not heard again."""
        heard = {one.id for one in known}
        unheard = [example for example in self.examples if example.id not in heard]
        if unheard:
            self.reporter.phase(f"{labels.model} transcribes the training set", len(unheard))
            known = known + transcribe(unheard, labels, self.config, device, self.reporter.advance)
        self.transcripts = known
        examples, summary = relabel(self.examples, known, labels)
        if summary:
            self.reporter.note(summary)
            self.skipped.append(summary)
        return examples

    def write_transcripts(self, run: RunFolder) -> None:
        """Keep what was heard in the training set, so that a resumed run learns from the same."""
        if self.transcripts:
            run.write_transcripts([asdict(one) for one in self.transcripts])

    def _load(self, spec: str, limit: int | None = None, text_required: bool = True) -> list[Example]:
        self.reporter.phase(f"checking {spec}")
        examples, skipped = load_set(spec, self.config, limit, self.reporter.advance, text_required)
        if skipped:
            self.reporter.note(f"{spec}: skipped {len(skipped)} of {len(skipped) + len(examples)} rows")
            self.skipped += [f"skipped {spec}: {row}" for row in skipped]
        return examples


class _Stopped(Exception):
    """Ends the loop after a step, for a reason."""

    def __init__(self, step: int, why: Stop) -> None:
        super().__init__(why.reason)
        self.step, self.why = step, why


def _group_size(engine: Engine) -> int:
    """Completions for each prompt where the recipe names no number."""
    return engine.labels if isinstance(engine, EveryLabelEngine) else 8


def _sampling(rollout: Rollout) -> Sampling:
    return Sampling(rollout.temperature, rollout.max_new_tokens, rollout.top_k, rollout.top_p, rollout.min_p)


class _Experiment:
    """One run: its folder, its parts, and what happens when."""

    def __init__(self, run: RunFolder, parts: _Parts, done: int, reporter: Reporter) -> None:
        self.run, self.parts, self.done, self.reporter = run, parts, done, reporter
        self.config = parts.config
        parts.collector.log = run.log
        self.spread = SpreadWatch()

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
        record_step(self.run, step)
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
                self.run.save_eval(name, step, summary, table)
                self.run.log(f"step {step}: {name}: {measure} {summary[measure]}, interval {summary['ci']}")
                self.reporter.evaluated(name, step, summary)
        return watch(self.run, step, self.reporter.note)


def resumed_config(resume: str, flags: Mapping[str, Any], overrides: Sequence[str]) -> Config:
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
