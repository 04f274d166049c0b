"""What happens when: the loop, and between its steps evaluations, checkpoints, the parity gate and the end."""

from __future__ import annotations

from antiphon.evaluate.watch import Stop
from antiphon.models.policy import Sampling
from antiphon.rollout.gate import run_gate
from antiphon.run.components import Components
from antiphon.run.evaluation import Evaluations
from antiphon.run.gather import GroupGatherer
from antiphon.run.loop import Step, run_loop
from antiphon.run.observers import Observers
from antiphon.runs.folder import RunFolder
from antiphon.train.checkpoint import save_checkpoint


class Schedule:
    """One run from the steps that are `done` to its end."""

    def __init__(self, run: RunFolder, components: Components, done: int, observers: Observers) -> None:
        self.run, self.components, self.done, self.observers = run, components, done, observers
        self.config, self.world = components.config, components.world
        self.evaluations = Evaluations(run, components, observers)
        self.gather = GroupGatherer(self.world, components.examples, run.log)
        components.collector.log = self.gather.note

    def run_to_end(self) -> tuple[int, Stop | None]:
        """The steps made in all, and why the run stopped early, if it did."""
        config, run, components = self.config, self.run, self.components
        if self.world.is_main:
            run.log(f"training {config.model} on {len(components.examples)} examples of {', '.join(config.data.train)}")
            for line in components.skipped:
                run.log(line)
        if config.gate.enabled and self.done < config.train.steps:
            self._check_parity(self.done)
        if config.eval.before and self.done == 0:
            self.evaluations.at(0)
        steps, stopped = config.train.steps, None
        self.observers.phase("training", steps)
        try:
            run_loop(self.done, steps, components.collector, components.trainer, self.gather, self._after_step)
        except _Stopped as early:
            steps, stopped = early.step, early.why
        finally:
            components.stream.close()
        if stopped is None and config.eval.after:
            stopped = self.evaluations.at(steps)
            self._prune()
        if stopped:
            self.observers.finished("stopped", steps, stopped.reason)
        else:
            self.observers.finished("finished", steps)
        return steps, stopped

    def _after_step(self, step: Step) -> None:
        train, every = self.config.train, self.config.eval.every
        last = step.number == train.steps
        self.observers.stepped(step)
        stop, new_best = None, False
        if every and step.number % every == 0 and not last:
            stop = self.evaluations.at(step.number)
            new_best = self.world.from_main(lambda: train.keep_best and self.run.best_step() == step.number)
            self.observers.phase("training", train.steps)
        if last or stop or new_best or (train.save_every > 0 and step.number % train.save_every == 0):
            self._save(step.number)
        if stop:
            raise _Stopped(step.number, stop)
        gate = self.config.gate
        if gate.enabled and gate.every and step.number % gate.every == 0 and not last:
            self._check_parity(step.number)
            self.observers.phase("training", train.steps)

    def _save(self, step: int) -> None:
        if not self.world.is_main:
            return
        with self.run.checkpoints.save(step) as folder:
            save_checkpoint(folder, self.components.trainer, step)
        self.observers.saved(step, self.run.checkpoints.at(step).path)
        self._prune()

    def _prune(self) -> None:
        train = self.config.train
        if not self.world.is_main:
            return
        self.run.checkpoints.prune(train.keep_checkpoints, self.run.best_step() if train.keep_best else None)

    def _check_parity(self, step: int) -> None:
        """Ask the parity gate about the training stream's first prompts, on every rank.

        Raises `ModelError` if it fails.
        """
        self.observers.phase("checking that engine and trainer agree")
        components, config = self.components, self.config
        components.engine.sync(components.policy, step)
        report = run_gate(
            components.policy,
            components.engine,
            [components.prompt(example) for example in components.stream.examples(0)[: config.gate.prompts]],
            Sampling(config.rollout.temperature or 1.0, config.rollout.longest, shorten=True),
            config.seed,
            step,
        )
        self.observers.gated(step, report)
        report.require()


class _Stopped(Exception):
    """Ends the loop after a step, for a reason."""

    def __init__(self, step: int, why: Stop) -> None:
        super().__init__(why.reason)
        self.step, self.why = step, why
