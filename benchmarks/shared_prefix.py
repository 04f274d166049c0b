"""Shared prefix against the expanded batch: one rollout and one loss with gradients, both sides in one process.

    python benchmarks/shared_prefix.py [--seconds 10] [--prompts 4] [--group 16] [--tokens 32] [--rounds 5]

The expanded side is what a general trainer does: transformers' `generate` on every prompt repeated G times, and
one forward over every (prompt, completion) pair. Both sides run the same random-weight model (Qwen3-ASR classes,
encoder of 4 and LM of 6 layers, width 256) on the same waveforms, features extracted beforehand, interleaved; medians
over the rounds.
"""

from __future__ import annotations

import argparse
import time
from statistics import median

import numpy as np
import torch

from antiphon.builtin.architecture import Size, build_model, build_processor
from antiphon.device import prepare_cpu
from antiphon.models.audio_lm import AudioPrefixLM
from antiphon.models.policy import Sampling
from antiphon.types import Prompt

SIZE = Size(width=256, audio_layers=4, text_layers=6, heads=4, feed_forward=768, conv_channels=64)


def make(arguments) -> tuple[AudioPrefixLM, list[Prompt]]:
    torch.manual_seed(0)
    processor = build_processor()
    policy = AudioPrefixLM(build_model(SIZE, processor), processor)
    rng = np.random.default_rng(0)
    length = int(arguments.seconds * 16000)
    waves = [0.1 * rng.standard_normal(length).astype(np.float32) for _ in range(arguments.prompts)]
    return policy, [Prompt(f"p{i}", "asr", wave, 16000) for i, wave in enumerate(waves)]


def expanded_inputs(policy: AudioPrefixLM, prompts: list[Prompt], group: int) -> dict[str, torch.Tensor]:
    inputs = policy.processor.apply_transcription_request([prompt.waveform for prompt in prompts])
    return {name: value.repeat_interleave(group, 0) for name, value in inputs.items()}


def rollout_shared(policy, prompts, group, tokens) -> None:
    draws = np.random.default_rng(0).random((len(prompts) * group, tokens))
    with torch.no_grad():
        policy.sample(policy.encode(prompts), group, Sampling(1.0, tokens), draws)


def rollout_expanded(policy, inputs, tokens) -> None:
    with torch.no_grad():
        policy.model.generate(**inputs, max_new_tokens=tokens, do_sample=True, top_k=0)


def loss_shared(policy, prompts, ids) -> None:
    logprobs = policy.logprobs(policy.encode(prompts), ids, torch.ones(ids.shape), 1.0)
    logprobs.mean().backward()
    policy.model.zero_grad(set_to_none=True)


def loss_expanded(policy, inputs, ids) -> None:
    inputs = dict(inputs)
    mask = torch.cat([inputs.pop("attention_mask"), torch.ones_like(ids)], 1)
    inputs["input_ids"] = torch.cat([inputs["input_ids"], ids], 1)
    logits = policy.model(**inputs, attention_mask=mask, use_cache=False, logits_to_keep=ids.shape[1] + 1).logits
    scores = logits[:, :-1].float().log_softmax(-1).gather(-1, ids[..., None])
    scores.mean().backward()
    policy.model.zero_grad(set_to_none=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=10.0, help="length of each clip")
    parser.add_argument("--prompts", type=int, default=4)
    parser.add_argument("--group", type=int, default=16)
    parser.add_argument("--tokens", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    prepare_cpu(arguments.threads)
    policy, prompts = make(arguments)
    policy.stop_ids = frozenset()
    policy.model.generation_config.eos_token_id = None
    allowed = (~policy.blocked).nonzero().squeeze(-1)
    ids = allowed[torch.randint(len(allowed), (len(prompts) * arguments.group, arguments.tokens))]
    inputs = expanded_inputs(policy, prompts, arguments.group)
    sides = {
        "rollout shared": lambda: rollout_shared(policy, prompts, arguments.group, arguments.tokens),
        "rollout expanded": lambda: rollout_expanded(policy, inputs, arguments.tokens),
        "loss shared": lambda: loss_shared(policy, prompts, ids),
        "loss expanded": lambda: loss_expanded(policy, inputs, ids),
    }
    times: dict[str, list[float]] = {name: [] for name in sides}
    for round_ in range(arguments.rounds + 1):
        for name, run in sides.items():
            began = time.perf_counter()
            run()
            if round_:
                times[name].append(time.perf_counter() - began)
    length = int(policy.encode(prompts).lengths[0])
    print(f"{arguments.prompts} prompts of {length} tokens x {arguments.group} completions of {arguments.tokens}")
    for phase in ("rollout", "loss"):
        shared, expanded = median(times[f"{phase} shared"]), median(times[f"{phase} expanded"])
        print(f"{phase:8} shared {shared:.2f} s  expanded {expanded:.2f} s  ratio {expanded / shared:.1f}")


if __name__ == "__main__":
    main()
