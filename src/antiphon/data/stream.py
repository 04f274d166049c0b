"""Selects each step's examples, as a function of (seed, step) only, and prepares their prompts in advance."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import lru_cache

import numpy as np

from antiphon.distributed.world import World
from antiphon.errors import ConfigError
from antiphon.types import Example, Prompt


class PromptStream:
    """Shuffled epochs over `examples`; the incomplete last step of an epoch is dropped and shuffled into the next.

    It has no state: any step can be requested, so a resumed run continues exactly where it left off.
    A thread reads the next step's clips during the current step.

    Every rank knows the examples of every step, but makes prompts only for its own shard.
    """

    def __init__(
        self,
        examples: Sequence[Example],
        per_step: int | None,
        seed: int,
        prompt: Callable[[Example], Prompt],
        world: World | None = None,
        augment: Callable[[Example, Prompt, int], Prompt] | None = None,
        weights: Sequence[tuple[int, float]] = (),
    ) -> None:
        """`per_step` is the total over all ranks of the `world`; None uses all examples in each step. `augment` makes
        of a prompt what the policy hears in an epoch (from 0).

        `weights` has the length of each set in `examples`, and how often its rows are seen compared to others. An
        epoch has every row of the sets of the largest weight, and a sample of the others, drawn anew each time.
        """
        heaviest = max((weight for _, weight in weights), default=1.0)
        self._draws = [(size, max(1, round(size * weight / heaviest))) for size, weight in weights]
        self.epoch = sum(drawn for _, drawn in self._draws) if weights else len(examples)
        per_step = self.epoch if per_step is None else per_step
        if self.epoch < per_step:
            raise ConfigError(
                f"the training set has {self.epoch} usable examples, fewer than "
                f"rollout.prompts_per_step={per_step}; lower that to {self.epoch} or add data"
            )
        self._examples = examples
        self.per_step = per_step
        self._seed = seed
        self._prompt, self._augment = prompt, augment
        self._world = world or World()
        self._order = lru_cache(maxsize=4)(self._shuffled)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="prompts")
        self._ahead: tuple[int, Future[list[Prompt]]] | None = None

    def examples(self, step: int, attempt: int = 0, without: Collection[str] = ()) -> list[Example]:
        """The examples of a step (0-based), all distinct, excluding the ids in `without`.

        Each further `attempt` at a step has its own shuffle.
        """
        steps_per_epoch = self.epoch // self.per_step
        epoch, place = divmod(step, steps_per_epoch)
        chosen = self._order(epoch, attempt)[place * self.per_step : (place + 1) * self.per_step].tolist()
        return [example for i in chosen if (example := self._examples[i]).id not in without]

    def _shuffled(self, epoch: int, attempt: int) -> np.ndarray:
        key = [self._seed, epoch, attempt] if attempt else [self._seed, epoch]
        rng = np.random.default_rng(key)
        if all(size == drawn for size, drawn in self._draws):
            return rng.permutation(self.epoch)
        begins = np.cumsum([0, *(size for size, _ in self._draws)])
        drawn = [begin + rng.choice(*sizes, replace=False) for begin, sizes in zip(begins, self._draws, strict=False)]
        return rng.permutation(np.concatenate(drawn))

    def prompts(self, step: int, attempt: int = 0, without: Collection[str] = ()) -> list[Prompt]:
        """Prompts of this rank's shard of the examples. The first attempt also starts preparing the next step's.

        If a step is the whole set, it does not, to avoid holding two copies in memory.
        """
        if attempt:
            return self._make(step, attempt, without)
        ready = self._ahead is not None and self._ahead[0] == step
        prompts = self._ahead[1].result() if ready and self._ahead else self._make(step)
        if self.per_step < self.epoch:
            self._ahead = (step + 1, self._thread.submit(self._make, step + 1))
        return prompts

    def _make(self, step: int, attempt: int = 0, without: Collection[str] = ()) -> list[Prompt]:
        examples = self._world.share(self.examples(step, attempt, without))
        if self._augment is None:
            return [self._prompt(example) for example in examples]
        epoch = step // (self.epoch // self.per_step)
        return [self._augment(example, self._prompt(example), epoch) for example in examples]

    def close(self) -> None:
        """Stop the reading thread."""
        self._thread.shutdown(wait=True, cancel_futures=True)
