"""Completions that nobody sampled: the references, as the model would have to say them. What SFT learns from."""

from __future__ import annotations

from collections.abc import Sequence

from antiphon.models.policy import Policy, Sampling
from antiphon.rollout.engine import Engine, InProcessEngine
from antiphon.types import Completion, Example, Prompt


class LabelEngine:
    """An `Engine` whose rollout is each prompt's reference, once; greedy answers are the model's own."""

    def __init__(self, policy: Policy, examples: Sequence[Example]) -> None:
        """Raises `ModelError` that names the first example whose reference the model cannot say."""
        self.policy = policy
        self._examples = {example.id: example for example in examples}
        self._engine: Engine = InProcessEngine(policy)
        for example in examples:
            policy.target(Prompt(example.id, example.task, None, policy.rate), example.text, example.language)

    def rollout(
        self, prompts: Sequence[Prompt], n: int, sampling: Sampling, seed: int, step: int
    ) -> list[list[Completion]]:
        """One completion a prompt, whatever the sampling; its log-probabilities are 0, for nothing was sampled."""
        return [[self._completion(prompt, self._examples[prompt.id])] for prompt in prompts]

    def greedy(self, prompts: Sequence[Prompt], max_new_tokens: int) -> list[Completion]:
        return self._engine.greedy(prompts, max_new_tokens)

    def _completion(self, prompt: Prompt, example: Example) -> Completion:
        ids = tuple(self.policy.target(prompt, example.text, example.language))
        actions = len(ids) if self.policy.token_level else 1
        return Completion(ids, (0.0,) * actions, example.text, "stop", self.policy.version)
