"""Trains the built-in recognisers from nothing: `python -m antiphon.builtin.pretrain student --out DIR`.

Supervised cross-entropy on synthesised `digits` and `commands`, with an auxiliary CTC loss on the audio states
(Graves et al. 2006), which teaches the encoder to align in a few hundred steps. The student hears training
voices in quiet rooms and on the telephone; the teacher hears them in loud noise, in reverberation and hurried too,
and is then refined on a crowd of further voices.
"""

from __future__ import annotations

import argparse
import math
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import Qwen3ASRForConditionalGeneration

from antiphon.builtin.architecture import MEL_BINS, SIZES, audio_token_count, build_model, build_processor
from antiphon.data.corpora.sets import CONDITIONS, NOISES, SYNTHESIS_RATE, Condition, make_example
from antiphon.device import prepare_cpu

Utterance = tuple[np.ndarray, str]
"""Log-mel features [mel, frames] in float16, and the transcript."""

_PLAIN = replace(CONDITIONS["train"], words_per_minute=(125, 230), pitch_shift=(-20, 20))
_RECIPES: dict[str, list[tuple[float, Condition]]] = {
    "student": [
        (0.30, _PLAIN),
        (0.55, replace(_PLAIN, noises=NOISES, snr_db=(15.0, 40.0))),
        (0.15, replace(_PLAIN, noises=NOISES, snr_db=(15.0, 40.0), telephone=True)),
    ],
    "teacher-refined": [
        (0.35, replace(_PLAIN, split="more")),
        (0.05, replace(_PLAIN, split="more", telephone=True)),
        (0.30, replace(_PLAIN, split="more", noises=NOISES, snr_db=(0.0, 20.0))),
        (0.15, replace(_PLAIN, split="more", words_per_minute=(230, 340))),
        (0.15, replace(_PLAIN, split="more", rt60=(0.3, 1.0))),
    ],
    "teacher": [
        (0.30, _PLAIN),
        (0.06, replace(_PLAIN, telephone=True)),
        (0.34, replace(_PLAIN, noises=NOISES, snr_db=(0.0, 20.0))),
        (0.15, replace(_PLAIN, words_per_minute=(230, 340))),
        (0.15, replace(_PLAIN, rt60=(0.3, 1.0))),
    ],
}
STEPS = {"student": 3600, "teacher": 4600, "teacher-refined": 2000}
POOL = {"student": 16000, "teacher": 24000, "teacher-refined": 16000}
PEAK_LR = {"student": 1.5e-3, "teacher": 1.5e-3, "teacher-refined": 8e-4}
BATCH = 32
CTC_WEIGHT = 0.5
DIGITS_SHARE = 0.3
SHARDS = 64
TEXT_MLP_WIDTH = 476
"""Of the shipped teacher: four units a layer fewer than it was trained with keep it under 2.5 M parameters."""


def make_shard(name: str, shard: int, count: int, seed: int) -> list[Utterance]:
    """`count` training utterances with their features, all from (seed, shard)."""
    torch.set_num_threads(1)
    extractor = build_processor().feature_extractor
    rng = np.random.default_rng([seed, shard])
    shares = np.array([share for share, _ in _RECIPES[name]])
    utterances: list[Utterance] = []
    for i in range(count):
        corpus = "digits" if rng.random() < DIGITS_SHARE else "commands"
        condition = _RECIPES[name][rng.choice(len(shares), p=shares / shares.sum())][1]
        example = make_example(corpus, f"pretrain-{name}", condition, shard * 100_000 + i, seed)
        assert example.clip is not None
        waveform = example.clip.load(SYNTHESIS_RATE)
        features = extractor(waveform, sampling_rate=SYNTHESIS_RATE, padding=True, n_window=0)
        utterances.append((features["input_features"][0].numpy().astype(np.float16), example.text))
    return utterances


def make_pool(name: str, size: int, seed: int, workers: int) -> list[Utterance]:
    """All training utterances, made by `workers` processes."""
    count = math.ceil(size / SHARDS)
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        jobs = [pool.submit(make_shard, name, shard, count, seed) for shard in range(SHARDS)]
        return [utterance for job in jobs for utterance in job.result()]


class Collator:
    """Turns utterances into the model's inputs: prompt, transcript and labels that cover the transcript alone."""

    def __init__(self, processor) -> None:
        prompt = processor.apply_transcription_request(np.zeros(16000, np.float32), tokenize=False)[0]
        before, after = prompt.split("<|audio_pad|>")
        self.tokenizer = processor.tokenizer
        self.before, self.after = self._ids(before), self._ids(after)
        self.audio, self.pad = processor.audio_token_id, self.tokenizer.pad_token_id
        self.answer_head = self._ids("language English<asr_text>")
        self.stop = self.tokenizer.convert_tokens_to_ids("<|im_end|>")

    def _ids(self, text: str) -> list[int]:
        return self.tokenizer(text)["input_ids"]

    def __call__(self, batch: list[Utterance]) -> dict[str, Tensor | list]:
        longest = math.ceil(max(mel.shape[1] for mel, _ in batch) / 100) * 100
        features = torch.zeros(len(batch), MEL_BINS, longest)
        frames = torch.zeros(len(batch), longest, dtype=torch.long)
        rows, labels, targets = [], [], []
        for i, (mel, text) in enumerate(batch):
            features[i, :, : mel.shape[1]] = torch.from_numpy(mel.astype(np.float32))
            frames[i, : mel.shape[1]] = 1
            words = self._ids(text)
            answer = [*self.answer_head, *words, self.stop]
            prompt = [*self.before, *[self.audio] * int(audio_token_count(mel.shape[1])), *self.after]
            rows.append(prompt + answer)
            labels.append([-100] * len(prompt) + answer)
            targets.append(words)
        width = max(map(len, rows))
        return {
            "input_features": features,
            "input_features_mask": frames,
            "input_ids": torch.tensor([row + [self.pad] * (width - len(row)) for row in rows]),
            "attention_mask": torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows]),
            "labels": torch.tensor([row + [-100] * (width - len(row)) for row in labels]),
            "targets": targets,
        }


def batches(pool: list[Utterance], steps: int, seed: int):
    """`steps` batches of similar length: shuffled, sorted within buckets of 16 batches, shuffled again."""
    rng = np.random.default_rng([seed, 1])
    made = 0
    while made < steps:
        order = rng.permutation(len(pool))
        for start in range(0, len(order) - 16 * BATCH + 1, 16 * BATCH):
            bucket = sorted(order[start : start + 16 * BATCH], key=lambda i: pool[i][0].shape[1])
            groups = [bucket[i : i + BATCH] for i in range(0, len(bucket), BATCH)]
            for j in rng.permutation(len(groups)):
                if made == steps:
                    return
                made += 1
                yield [pool[i] for i in groups[j]]


def loss(model, ctc_head: nn.Linear | None, inputs: dict) -> tuple[Tensor, Tensor]:
    """Cross-entropy of the transcript tokens, and CTC over the audio states (0 without a head)."""
    labels = inputs["labels"]
    output = model.model(**{k: inputs[k] for k in inputs if k not in ("labels", "targets")}, use_cache=False)
    predicts = labels[:, 1:] != -100
    logits = model.lm_head(output.last_hidden_state[:, :-1][predicts])
    cross_entropy = F.cross_entropy(logits, labels[:, 1:][predicts])

    if ctc_head is None:
        return cross_entropy, torch.zeros(())
    lengths = torch.tensor([audio_token_count(int(n)) for n in inputs["input_features_mask"].sum(-1)])
    states = nn.utils.rnn.pad_sequence(list(output.audio_hidden_states.split(lengths.tolist())))
    log_probs = ctc_head(states).log_softmax(-1)
    sizes = torch.tensor([len(t) for t in inputs["targets"]])
    flat = torch.tensor([t for target in inputs["targets"] for t in target])
    blank = ctc_head.out_features - 1
    ctc = F.ctc_loss(log_probs, flat, lengths, sizes, blank=blank, zero_infinity=True)
    return cross_entropy, ctc


def pretrain(
    name: str, out: Path, start: Path | None = None, seed: int = 0, steps: int | None = None, workers: int = 2
) -> None:
    """Train `student` or `teacher` from nothing, or refine the teacher in `start`, which aligns already and needs no
    CTC; save it, in half precision, as transformers does."""
    started = time.perf_counter()
    steps = steps or STEPS[name]
    pool = make_pool(name, min(POOL[name], steps * BATCH), seed, workers)
    print(f"{len(pool)} utterances in {time.perf_counter() - started:.0f} s", flush=True)

    torch.manual_seed(seed)
    processor = build_processor()
    collate = Collator(processor)
    ctc_head = None
    if start is None:
        model: Any = build_model(SIZES[name], processor).train()
        ctc_head = nn.Linear(SIZES[name].width, len(processor.tokenizer) + 1)
    else:
        model = Qwen3ASRForConditionalGeneration.from_pretrained(start, dtype=torch.float32).train()
    parameters = [*model.parameters(), *(ctc_head.parameters() if ctc_head else ())]
    print(f"{name}: {sum(p.numel() for p in model.parameters()) / 1e6:.2f} M parameters", flush=True)
    optimizer = torch.optim.AdamW(parameters, lr=PEAK_LR[name], betas=(0.9, 0.98), weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, PEAK_LR[name], total_steps=steps, pct_start=0.08, final_div_factor=100
    )
    for step, batch in enumerate(batches(pool, steps, seed), 1):
        cross_entropy, ctc = loss(model, ctc_head, collate(batch))
        (cross_entropy + CTC_WEIGHT * ctc).backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad(set_to_none=True)
        if step % 100 == 0 or step == steps:
            seconds = time.perf_counter() - started
            print(f"step {step}  ce {cross_entropy:.3f}  ctc {ctc:.3f}  {seconds:.0f} s", flush=True)
    if name == "teacher-refined":
        prune_text_mlp(model, TEXT_MLP_WIDTH)
    model.generation_config.max_new_tokens = 64
    model.half().save_pretrained(out)
    processor.save_pretrained(out)


@torch.no_grad()
def prune_text_mlp(model: Any, width: int) -> None:
    """Keep the `width` strongest units of every text MLP: those of the largest product of weight norms."""
    for layer in model.model.language_model.layers:
        mlp = layer.mlp
        strength = mlp.gate_proj.weight.norm(dim=1) * mlp.up_proj.weight.norm(dim=1) * mlp.down_proj.weight.norm(dim=0)
        kept = strength.topk(width).indices.sort().values
        for linear in (mlp.gate_proj, mlp.up_proj):
            linear.weight = nn.Parameter(linear.weight[kept])
            linear.out_features = width
        mlp.down_proj.weight = nn.Parameter(mlp.down_proj.weight[:, kept])
        mlp.down_proj.in_features = mlp.intermediate_size = width
    model.config.text_config.intermediate_size = width


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=sorted(STEPS))
    parser.add_argument("--out", type=Path, required=True, help="folder for the checkpoint")
    parser.add_argument("--start", type=Path, help="the checkpoint to refine, for teacher-refined")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=None, help="fewer steps for a trial")
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    if (arguments.name == "teacher-refined") != (arguments.start is not None):
        parser.error("teacher-refined needs --start FOLDER with a teacher; the others start from nothing")
    prepare_cpu(arguments.threads)
    pretrain(arguments.name, arguments.out, arguments.start, arguments.seed, arguments.steps, arguments.threads)


if __name__ == "__main__":
    main()
