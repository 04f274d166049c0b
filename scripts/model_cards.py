"""Measures the built-in recognizers on every built-in test set and writes their model cards (README.md)."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch

from antiphon.config import load_config
from antiphon.data.corpora.sets import CORPORA, TEST_SETS, builtin_set
from antiphon.distributed.device import prepare_cpu
from antiphon.evaluate.recognize import evaluate
from antiphon.models.load import load_policy
from antiphon.rollout.engine import InProcessEngine
from antiphon.tasks.load import prompter

CARD = """---
license: apache-2.0
language: en
library_name: transformers
pipeline_tag: automatic-speech-recognition
---

# antiphon {name}

A small English recognizer in transformers' {family} classes ({parameters:.2f} M parameters, 16 kHz input), trained
from nothing on synthesized speech. It ships with antiphon as `builtin:{name}` and exists so that post-training can be
tried, tested and taught without a download. It knows {vocabulary} words: spoken digits and commands to an assistant.

{training}

## Word error rates

Greedy decoding, {n} utterances a set, voices that training never heard; 95% bootstrap interval over speakers.

| set | WER | 95% interval | CER |
|---|---|---|---|
{rows}

`noisy`: white or pink noise at 0 to 10 dB, babble at 8 to 18 dB. `fast`: 260 to 320 words a minute. `accent`:
Caribbean and Lancashire voices, accents that training never heard. `reverb`: rooms with RT60 of 0.4 to 0.9 s.

## Rebuild

    make recognizers

runs `python -m antiphon.builtin.pretrain` (seed 0, two threads; a second time for the teacher, to refine it) and
measures the result with `python scripts/model_cards.py`. Weights are stored in half precision. About three quarters of
the test sets' sentences also occur in training with other voices: the grammar is small.
"""
FAMILIES = {"student": "Qwen3-ASR", "teacher": "Qwen3-ASR", "whisper": "Whisper", "wav2vec2": "wav2vec2"}
TRAINING = {
    "student": """\
The student was trained on clean speech, over a soft noise floor (15 to 40 dB) and over the telephone. Loud noise,
rooms and hurry are new to it.""",
    "teacher": """\
The teacher was trained on clean, noisy (0 to 20 dB), reverberant, hurried and telephone-band speech of 24 voices, then
refined on the same conditions with 144 further ones.""",
    "whisper": """\
It was trained on the student's speech: clean, over a soft noise floor (15 to 40 dB) and over the telephone. Its window
is 8 s long, and its prompt names English, the only language that it knows; it marks no times.""",
    "wav2vec2": """\
It was trained on the student's speech: clean, over a soft noise floor (15 to 40 dB) and over the telephone. Loud
noise, rooms and hurry are new to it. It hears waveforms and spells in lower-case letters, 50 frames a second, so that
one wrong letter spoils a word: in noise its word errors are about twice its character errors.""",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="+", help="built-in names or folders named so")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    prepare_cpu(2)
    for place in arguments.names:
        folder = Path(place)
        policy = load_policy(place, torch.device("cpu"), torch.float32)
        engine, prompt = InProcessEngine(policy), prompter(load_config(), policy.rate)
        results = {}
        for name in (f"{corpus}-{one}" for corpus in CORPORA for one in TEST_SETS):
            results[name], _ = evaluate(policy, engine.greedy, builtin_set(name), prompt, 64)
            print(name, {k: results[name][k] for k in ("wer", "ci", "cer")}, flush=True)
        rows = [
            f"| {name} | {r['wer']:.1%} | {r['ci'][0]:.1%} to {r['ci'][1]:.1%} | {r['cer']:.1%} |"
            for name, r in results.items()
        ]
        text = CARD.format(
            name=folder.name,
            family=FAMILIES[folder.name],
            parameters=sum(p.numel() for p in policy.model.parameters()) / 1e6,
            vocabulary=len(CORPORA["commands"].vocabulary()) + 1,
            training=TRAINING[folder.name],
            n=next(iter(results.values()))["n"],
            rows="\n".join(rows),
        )
        (folder / "README.md").write_text(text)
        (folder / "wer.json").write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
