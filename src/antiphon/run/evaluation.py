"""Evaluation during a run: every set at a step, through the run's own engine, and whether the figures end the run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from antiphon.evaluate.groups import grouped
from antiphon.evaluate.recognize import evaluate
from antiphon.evaluate.watch import Stop, watch
from antiphon.run.components import Components
from antiphon.run.observers import Observers
from antiphon.runs.folder import RunFolder
from antiphon.tasks.task import Row
from antiphon.types import Example

Summary = dict[str, Any]


class Evaluations:
    """The evaluations of one run. A figure that its folder holds already is not made again."""

    def __init__(self, run: RunFolder, components: Components, observers: Observers) -> None:
        self._run, self._components, self._observers = run, components, observers

    def at(self, step: int) -> Stop | None:
        """Measure every set after `step` steps. Returns why the run should stop, if the figures say so."""
        components, world = self._components, self._components.world
        saved = world.from_main(lambda: self.saved(step))
        components.engine.sync(components.policy, step)
        for name, examples in components.eval_sets.items():
            if name not in saved:
                self._measure(step, name, examples)
        return world.from_main(lambda: watch(self._run, step, self._observers.noted))

    def saved(self, step: int) -> dict[str, Summary]:
        """The summary of each set that was measured after `step` steps."""
        of_step = (dict(summary) for summary in self._run.evals() if summary["step"] == step)
        return {one.pop("set"): {k: v for k, v in one.items() if k != "step"} for one in of_step}

    def _measure(self, step: int, name: str, examples: Sequence[Example]) -> None:
        components = self._components
        self._observers.phase(f"evaluating {name}", len(examples))
        summary, measured = evaluate(
            components.policy,
            components.decode,
            examples,
            components.prompt,
            components.config.rollout.max_new_tokens,
            self._observers.advance,
            components.world,
        )
        if not components.world.is_main:
            return
        summary, rows = grouped(components.prompt.task, summary, measured, components.groups.get(name))
        clips = {example.id: self._clip(example) for example in examples_in_order(examples, rows)}
        self._observers.evaluated(step, name, summary, [{**row, "audio": clips[row["id"]]} for row in rows])

    def _clip(self, example: Example) -> str | None:
        """Where an example's audio can be heard: a copy, as long as the run keeps copies, else its source."""
        clip = example.clip
        if clip is None:
            return None
        return self._run.save_eval_clip(clip, self._components.policy.rate) or clip.name


def examples_in_order(examples: Sequence[Example], rows: Sequence[Row]) -> list[Example]:
    """The examples in the order of their rows, the worst first: these are copied first."""
    by_id = {example.id: example for example in examples}
    return [by_id[row["id"]] for row in rows]
