"""Which examples a step sees, as a function of (seed, step) alone, and their prompts made ahead of time."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np

from antiphon.distributed.world import World
from antiphon.errors import ConfigError
from antiphon.types import Example, Prompt


class PromptStream:
    """Shuffled epochs over `examples`; what an epoch cannot divide evenly waits for the next one's shuffle.

    No position is stored: any step can be asked for, so a resumed run continues where it would have been.
    The next step's clips are read in a thread while the present step is computed.

    Every rank knows every step's examples, and makes the prompts of its own share of them alone.
    """

    def __init__(
        self,
        examples: Sequence[Example],
        per_step: int | None,
        seed: int,
        prompt: Callable[[Example], Prompt],
        world: World | None = None,
    ) -> None:
        """`per_step` counts over all ranks of the `world`; None takes all of the examples in each step."""
        per_step = len(examples) if per_step is None else per_step
        if len(examples) < per_step:
            raise ConfigError(
                f"the training set has {len(examples)} usable examples, fewer than "
                f"rollout.prompts_per_step={per_step}; lower that to {len(examples)} or add data"
            )
        self._examples = examples
        self.per_step = per_step
        self._seed = seed
        self._prompt = prompt
        self._world = world or World()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="prompts")
        self._ahead: tuple[int, Future[list[Prompt]]] | None = None

    def examples(self, step: int, attempt: int = 0, without: Collection[str] = ()) -> list[Example]:
        """The examples of a step (0-based), all distinct, less those whose ids are in `without`.

        Further attempts at a step have shuffles of their own.
        """
        steps_per_epoch = len(self._examples) // self.per_step
        epoch, place = divmod(step, steps_per_epoch)
        key = [self._seed, epoch, attempt] if attempt else [self._seed, epoch]
        order = np.random.default_rng(key).permutation(len(self._examples))
        chosen = order[place * self.per_step : (place + 1) * self.per_step]
        return [example for i in chosen if (example := self._examples[i]).id not in without]

    def prompts(self, step: int, attempt: int = 0, without: Collection[str] = ()) -> list[Prompt]:
        """The prompts of this rank's share of the examples; a first attempt starts on those of the step after.

        Where a step is the whole set, it does not: two of it would have to be held.
        """
        if attempt:
            return self._make(step, attempt, without)
        ready = self._ahead is not None and self._ahead[0] == step
        prompts = self._ahead[1].result() if ready and self._ahead else self._make(step)
        if self.per_step < len(self._examples):
            self._ahead = (step + 1, self._thread.submit(self._make, step + 1))
        return prompts

    def _make(self, step: int, attempt: int = 0, without: Collection[str] = ()) -> list[Prompt]:
        return [self._prompt(example) for example in self._world.share(self.examples(step, attempt, without))]

    def close(self) -> None:
        """Stop the reading thread."""
        self._thread.shutdown(wait=True, cancel_futures=True)
