"""GRPO steps of a text model against TRL's `GRPOTrainer`: time of a whole step, and peak memory.

    pip install 'antiphon[bench]'

Both sides start from the same random Qwen3, draw from the same prompts, give the same reward, and take the same
optimizer settings, with β = 0 and the clipped loss averaged over tokens. Neither logs, evaluates or saves.

Ours is a step of the library's loop: `Collector.collect` (prompts, rollout, reward), then `Trainer.step`.

The standard side runs `GRPOTrainer.train()`, with gradient checkpointing off, which its documentation puts at 20% of
the time, and one forward pass for the whole batch. Its step is timed from `on_step_begin` to `on_step_end`, so the
data loader is not counted; ours runs while its next step waits.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from random_models import QWEN
from side_by_side import OURS, STANDARD, Seconds, conclude, finish, medians, parse, peak_mb, report_peak, timed
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM, TrainerCallback

from antiphon.config import Config
from antiphon.data.stream import PromptStream
from antiphon.models.policy import Sampling
from antiphon.models.text_lm import TextLM
from antiphon.rewards.sample import Sample, Scored
from antiphon.rollout.collect import Collector
from antiphon.rollout.engines.in_process import InProcessEngine
from antiphon.tasks.text import task
from antiphon.train.objectives import load_objectives
from antiphon.train.trainer import Trainer
from antiphon.types import Example, Reward

LEARNING_RATE, BETAS, MAX_NORM = 1e-5, (0.9, 0.95), 1.0


@dataclass(frozen=True)
class Work:
    """A model, and what one GRPO step is of."""

    hidden: int
    feed_forward: int
    layers: int
    heads: int
    head_dim: int
    vocabulary: int = 4096
    prompt_tokens: int = 128
    prompts: int = 4
    group: int = 8
    tokens: int = 32


PRESETS = {
    "tiny": Work(32, 64, layers=1, heads=2, head_dim=16, vocabulary=64, prompt_tokens=8, prompts=2, group=2, tokens=4),
    "small": Work(256, 768, layers=6, heads=4, head_dim=64),
    QWEN: Work(2048, 6144, layers=28, heads=16, head_dim=128, vocabulary=151936),
}
EXAMPLES = 64


def language_model(work: Work, device: torch.device, dtype: torch.dtype) -> tuple[Any, Any]:
    """A Qwen3 with random weights, the same at each call, and a tokenizer whose every token is a word."""
    words = ["<pad>", "<eos>", *(f"w{i}" for i in range(work.vocabulary - 2))]
    core = Tokenizer(WordLevel({word: i for i, word in enumerate(words)}, unk_token="<pad>"))
    core.pre_tokenizer = WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, pad_token="<pad>", eos_token="<eos>")
    config = Qwen3Config(
        vocab_size=work.vocabulary,
        hidden_size=work.hidden,
        intermediate_size=work.feed_forward,
        num_hidden_layers=work.layers,
        num_attention_heads=work.heads,
        num_key_value_heads=work.heads // 2,
        head_dim=work.head_dim,
        tie_word_embeddings=True,
        pad_token_id=words.index("<pad>"),
        eos_token_id=words.index("<eos>"),
    )
    torch.manual_seed(0)
    with torch.device(device):
        return Qwen3ForCausalLM._from_config(config, dtype=dtype), tokenizer


def requests(work: Work) -> list[str]:
    """Prompts of `prompt_tokens` random words."""
    ids = torch.randint(work.vocabulary - 2, (EXAMPLES, work.prompt_tokens), generator=torch.Generator().manual_seed(0))
    return [" ".join(f"w{i}" for i in row) for row in ids.tolist()]


def reward(text: str) -> float:
    """The share of words with an even number."""
    words = text.split()
    return sum(word[-1] in "02468" for word in words) / max(len(words), 1)


class EvenWords:
    """`reward` as the library takes it."""

    name = "even_words"

    async def score(self, samples: Sequence[Sample]) -> list[Scored]:
        return [Reward(reward(sample.response)) for sample in samples]


class Ours:
    """Steps of the library's loop."""

    def __init__(self, work: Work, arguments: argparse.Namespace) -> None:
        self.device = arguments.device
        self.policy = TextLM(*language_model(work, arguments.device, arguments.dtype), block_tokens=())
        config = Config.model_validate(
            {
                "rollout": {"max_new_tokens": work.tokens, "group_size": work.group, "prompts_per_step": work.prompts},
                "optimizer": {"lr": LEARNING_RATE, "betas": BETAS, "max_grad_norm": MAX_NORM},
            }
        )
        objectives = load_objectives(config.algorithm)
        examples = [Example(str(i), "text", None, "", columns={"prompt": one}) for i, one in enumerate(requests(work))]
        self.collector = Collector(
            stream=PromptStream(examples, work.prompts, 0, lambda example: task.prompt(example, None, 0)),
            policy=self.policy,
            task=task,
            engine=(engine := InProcessEngine(self.policy)),
            source=engine,
            reward=EvenWords(),
            group_size=work.group,
            sampling=Sampling(1.0, work.tokens),
            seed=0,
            needs=objectives[0].needs,
        )
        self.trainer = Trainer(self.policy, objectives, config)

    def step(self, number: int) -> Seconds:
        seconds: Seconds = {}
        with timed(seconds, "step", self.device):
            groups, _, _ = self.collector.collect(number)
            self.trainer.step(groups, number)
        return seconds


class Standard:
    """Steps of TRL's trainer."""

    def __init__(self, work: Work, arguments: argparse.Namespace) -> None:
        self.work, self.arguments = work, arguments

    def run(self, steps: int, between: Callable[[int], None]) -> list[Seconds]:
        """The time of each of `steps` steps; `between(number)` is called after each and not timed."""
        from datasets import Dataset
        from trl.trainer.grpo_trainer import GRPOTrainer

        work, arguments = self.work, self.arguments
        # Mixed precision is TRL's way: weights in fp32, computation in bf16.
        model, tokenizer = language_model(work, arguments.device, torch.float32)
        steps_taken = StepTimes(arguments.device, between)
        with tempfile.TemporaryDirectory() as folder:
            trainer = GRPOTrainer(
                model=model,
                processing_class=tokenizer,
                reward_funcs=lambda completions, **_: [reward(text) for text in completions],
                train_dataset=Dataset.from_list([{"prompt": text} for text in requests(work)]),
                args=self._settings(folder, steps),
                callbacks=[steps_taken],
            )
            trainer.train()
        return steps_taken.seconds

    def _settings(self, folder: str, steps: int) -> Any:
        from trl.trainer.grpo_config import GRPOConfig

        work, arguments = self.work, self.arguments
        return GRPOConfig(
            output_dir=folder,
            max_steps=steps,
            per_device_train_batch_size=work.prompts * work.group,
            gradient_accumulation_steps=1,
            num_generations=work.group,
            max_completion_length=work.tokens,
            temperature=1.0,
            beta=0.0,
            loss_type="dapo",
            scale_rewards="none",
            learning_rate=LEARNING_RATE,
            lr_scheduler_type="constant",
            adam_beta1=BETAS[0],
            adam_beta2=BETAS[1],
            weight_decay=0.0,
            max_grad_norm=MAX_NORM,
            gradient_checkpointing=False,
            use_cpu=arguments.device.type == "cpu",
            bf16=arguments.dtype == torch.bfloat16,
            logging_strategy="no",
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
        )


class StepTimes(TrainerCallback):
    """Times each step of a transformers trainer, and calls `between` after it."""

    def __init__(self, device: torch.device, between: Callable[[int], None]) -> None:
        self.device, self.between = device, between
        self.seconds: list[Seconds] = []

    def on_step_begin(self, *_, **__) -> None:
        finish(self.device)
        self.began = time.perf_counter()

    def on_step_end(self, *_, **__) -> None:
        finish(self.device)
        self.seconds.append({"step": time.perf_counter() - self.began})
        self.between(len(self.seconds) - 1)


def main(argv: Sequence[str] | None = None) -> None:
    arguments = parse(__doc__, PRESETS, "small", argv)
    work, rounds = PRESETS[arguments.preset], arguments.rounds + 1
    if importlib.util.find_spec("trl") is None:
        sys.exit("this benchmark compares with TRL, which is not installed: pip install 'antiphon[bench]'")
    if arguments.memory_of:
        if arguments.memory_of == OURS:
            ours = Ours(work, arguments)
            for number in range(2):
                ours.step(number)
        else:
            Standard(work, arguments).run(2, lambda number: None)
        return report_peak(arguments.device)
    ours, taken = Ours(work, arguments), []
    standard = medians(Standard(work, arguments).run(rounds, lambda number: taken.append(ours.step(number)))[1:])
    seconds = {OURS: medians(taken[1:]), STANDARD: standard}
    peaks = {side: peak_mb(__file__, arguments, side) for side in (OURS, STANDARD)}
    conclude(
        {
            "ratio": seconds[STANDARD]["total"] / seconds[OURS]["total"],
            "memory_ratio": peaks[STANDARD] / peaks[OURS],
            "steps_per_second": {side: 1 / one["total"] for side, one in seconds.items()},
            "peak_mb": peaks,
        },
        arguments,
    )


if __name__ == "__main__":
    main()
