"""The references as completions, in the model's own format, for SFT."""

from __future__ import annotations

from collections.abc import Sequence

from antiphon.data.indexed import ById
from antiphon.models.policy import Policy, Sampling
from antiphon.types import Completion, Example, Prompt


class References:
    """A `Source` whose rollout is one completion per prompt: its reference."""

    def __init__(self, policy: Policy, examples: Sequence[Example]) -> None:
        """`examples` are those that fit the model with their references (`antiphon.models.fitting`)."""
        self.policy = policy
        self._examples = ById(examples)

    def rollout(
        self, prompts: Sequence[Prompt], n: int, sampling: Sampling, seed: int, step: int
    ) -> list[list[Completion]]:
        """One completion per prompt, whatever `n` and `sampling`; its log-probabilities are 0."""
        return [[self._completion(prompt, self._examples[prompt.id])] for prompt in prompts]

    def _completion(self, prompt: Prompt, example: Example) -> Completion:
        ids = tuple(self.policy.target(prompt, example.text, example.language))
        actions = len(ids) if self.policy.token_level else 1
        return Completion(ids, (0.0,) * actions, example.text, "stop", self.policy.version)
