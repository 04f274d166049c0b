"""GRPO on a speech recognizer, from recordings to a served and evaluated checkpoint.

A recognizer that was trained on transcripts knows one right answer for each clip. Here it learns in another way: it
transcribes each clip several times, a function of ours says how good each attempt is, and its weights move toward
the better ones. That function can be anything that can be computed; here it is minus the word error rate.

    pip install 'antiphon[synth,serve]'
    python examples/asr_grpo.py

As it stands this needs no download and no GPU: the model is a recognizer of 1.4 million parameters that ships with
the library, and the recordings are synthetic speech in loud noise, which it has never heard. For Qwen3-ASR on
LibriSpeech, change MODEL and the two data sets' names; nothing else knows which model it is.
"""

import jiwer

from antiphon import (
    AudioEvalRowResult,
    DeploymentConfig,
    EvalConfig,
    MultimodalDataset,
    Recipe,
    TrainConfig,
    list_checkpoints,
)

MODEL = "builtin:student"  # "Qwen/Qwen3-ASR-1.7B-hf"
SMALL = MODEL.startswith("builtin:")

# ## Recordings
#
# A data set is a class with a few attributes. These say where the recordings are; the class fetches them, decodes them
# itself (no torchcodec, no ffmpeg), and checks each one before anything is trained. A row has a clip, a request and a
# label, under keys that can be renamed too. To get rows from elsewhere, override `load()`.


class NoisyCommands(MultimodalDataset):
    hf_repo = "builtin:commands-train-noisy"  # "openslr/librispeech_asr", with hf_config = "other"
    hf_split = "train.500"  # Of a set on the hub; a built-in set has none.
    n_rows = 200


class UnseenVoices(NoisyCommands):
    hf_repo = "builtin:commands-noisy"  # "openslr/librispeech_asr"
    hf_split = "test"
    n_rows = 60


# ## A reward
#
# It is called once for each attempt. `response` is what the model wrote and `label` what was said. Error rates have no
# upper bound, as a model can write more words than were spoken; one runaway answer would outweigh a whole group, so
# the reward stops at −1. (The built-in reward "wer" does this too, after normalizing both texts.)


def minus_wer(sample):
    if not sample.label:
        return -float(bool(sample.response))
    return -min(1.0, jiwer.wer(sample.label.lower(), sample.response.lower()))


# ## How a checkpoint is judged
#
# The reading side of the reward: ask the served model about one row, and say how well it did. Whatever can be measured
# can go into `metrics`. The clip and the reference are kept beside the score, so that `antiphon dashboard` can play
# the one and show the other. If this function raises for a row, that row is marked as failed, and the rest go on.


def transcribe_and_score(deployment, example):
    heard = deployment.transcribe(example["audios"])
    wer = jiwer.wer(example["label"].lower(), heard.lower())
    return AudioEvalRowResult(
        score=max(0.0, 1.0 - wer),
        response=heard,
        prompt=example["prompt"],
        audio=example["audios"],
        reference=example["label"],
        metrics={"wer": wer},
    )


def judged(checkpoint=None):
    """Serve the model, or a checkpoint of it, in a process of its own, and ask it about every held-out clip."""
    with DeploymentConfig(model=MODEL, checkpoint=checkpoint).serve() as deployment:
        print(f"serving {checkpoint.path if checkpoint else MODEL} at {deployment.url}")
        return EvalConfig(dataset=UnseenVoices(), eval_fn=transcribe_and_score).evaluate(deployment, max_concurrency=16)


# ## Training
#
# 16 clips a step, 8 attempts at each. At temperature 1 the attempts differ, and only differences teach: GRPO compares
# each attempt with the others at the same clip. The encoder hears a clip once for all of them. A model of a billion
# parameters wants a learning rate some hundred times smaller than the built-in one, and longer answers.

before = judged()

training = TrainConfig(
    model=MODEL,
    dataset=NoisyCommands(),
    recipe=Recipe(
        "grpo",
        reward=minus_wer,
        rollout={"prompts_per_step": 16, "group_size": 8, "max_new_tokens": 24 if SMALL else 256},
        optimizer={"lr": 5e-4 if SMALL else 1e-6, "warmup_steps": 5, "schedule": "cosine"},
        train={"steps": 30, "save_every": 15},
    ),
)
result = training.train()
print(f"training run id: {result.training_run_id}")

# `training.launch()` would have started the same run in a process of its own and returned at once; its handle knows
# `.done()`, `.checkpoints()` and `.result()`. For that the reward has to be importable: in a file of its own, or in a
# script whose work stands under `if __name__ == "__main__":`.
#
# ## Checkpoints, and what they are worth
#
# The newest checkpoint is the last of the list. It is a folder that transformers loads as it is.

checkpoint = list_checkpoints(result.training_run_id)[-1]
after = judged(checkpoint)

for name, found in (("before", before), ("after", after)):
    low, high = found.summary()["ci"]
    print(f"{name:6}  word accuracy {found.mean:.3f} [{low:.3f}, {high:.3f}]  mean WER {found.metrics['wer']:.3f}")

# The intervals are 95% bootstrap intervals over speakers. The rows are in the data set's order, so that two
# evaluations can be laid side by side: here, where training helped most.


def wer(row):
    return row.metadata["metrics"]["wer"]


gains = sorted(zip(before.rows, after.rows, strict=True), key=lambda pair: wer(pair[1]) - wer(pair[0]))
for old, new in gains[:3]:
    print(f"\n  said    {new.metadata['reference']}\n  before  {old.response}\n  after   {new.response}")
print(f"\nrows and clips: {after.path}\nlook at them with: antiphon dashboard")
