"""Evaluation during a run: every set at a step, through the run's own engine, and whether the figures end the run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from antiphon.evaluate.groups import grouped
from antiphon.evaluate.recognize import IN_MEMORY, score_timed, transcribe_on_ranks
from antiphon.evaluate.rewarded import rewarded, sample_of
from antiphon.evaluate.watch import Stop, watch
from antiphon.rewards.sample import Sample, group_samples
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
        task = components.prompt.task
        self._observers.phase(f"evaluating {name}", len(examples))
        heard = transcribe_on_ranks(
            components.policy,
            components.decode,
            examples,
            components.prompt,
            components.config.rollout.longest,
            self._observers.advance,
            components.world,
            components.piece,
        )
        sampled = self._sampled(step, name, examples)
        if heard is None:
            return
        summary, rows = score_timed(task, examples, *heard)
        if components.eval_reward is not None:
            answers = sampled or [[sample_of(task, *one)] for one in zip(examples, heard[0], strict=True)]
            summary, rows = rewarded(
                task,
                components.eval_reward,
                answers,
                summary,
                rows,
                lambda message: self._observers.noted(f"evaluating {name}: {message}"),
            )
        summary, rows = grouped(task, summary, rows, components.groups.get(name))
        clips = {example.id: self._clip(example) for example in examples_in_order(examples, rows)}
        saved = [{**row, "audio": clips[row["id"]], **self._answer(step, name, row)} for row in rows]
        self._observers.evaluated(step, name, summary, saved)

    def _answer(self, step: int, set_name: str, row: Row) -> Row:
        """Where an answer that is audio can be heard."""
        if "answer_audio" not in row:
            return {}
        name = f"{set_name}-{row['id']}"
        return {"answer_audio": self._run.save_eval_answer(step, name, row["answer_audio"])}

    def _sampled(self, step: int, name: str, examples: Sequence[Example]) -> list[list[Sample]] | None:
        """Answers drawn for each example, by all ranks, on rank 0; None where the greedy one is rewarded, or none."""
        components, collector = self._components, self._components.collector
        n = components.config.eval.samples_per_prompt
        if components.eval_reward is None or n == 1:
            return None
        self._observers.phase(f"sampling {n} answers for each prompt of {name}", len(examples))
        mine, drawn = components.world.share(examples), []
        for start in range(0, len(mine), IN_MEMORY):
            chosen = mine[start : start + IN_MEMORY]
            prompts = [components.prompt(example) for example in chosen]
            completions = components.engine.rollout(prompts, n, collector.sampling, collector.seed, step)
            drawn += [group_samples(collector.group(*one)) for one in zip(chosen, prompts, completions, strict=True)]
            self._observers.advance(len(drawn))
        ranks = components.world.gather_at_main(drawn)
        return None if ranks is None else [one for rank in ranks for one in rank]

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
