"""RAFT on Whisper and wav2vec2: learn from the best of one's own answers, cycle by cycle.

RAFT is the plainest way to learn from a reward. In each cycle the model transcribes every clip several times, the best
attempt at each is kept if it is good enough, and the model is trained on what was kept as if those were transcripts. It
needs nothing from a model but that it can answer and be fitted, so encoder-decoders such as Whisper and CTC models such
as wav2vec2 learn by it alike.

    pip install 'antiphon[synth]'
    python examples/raft_whisper_wav2vec2.py

The same from a shell, for real models and your own recordings:

    antiphon train --model openai/whisper-small --data train.jsonl --task asr --algorithm raft --cycles 3
    antiphon train --model facebook/wav2vec2-base-960h --data train.jsonl --task asr --algorithm raft --cycles 3
"""

from antiphon import Recipe, TrainConfig, list_checkpoints

MODELS = ["builtin:whisper", "builtin:wav2vec2"]  # ["openai/whisper-small", "facebook/wav2vec2-base-960h"]
TRAIN = "builtin:digits-train-noisy"  # "train.jsonl", or "hf:openslr/librispeech_asr:other:train.500"
TEST = "builtin:digits-noisy"  # "test.jsonl"
CYCLES = 3

# ## The recipe
#
# The reward is 1 − WER, from 0 to 1: a transcript with a tenth of its words wrong earns 0.9. Of four attempts at a clip
# the best is kept, unless even that has more than three words in ten wrong. The learning rate falls by 15% a cycle.
# Everything that is not set here is RAFT's default: four attempts, the reward, the decay, a checkpoint a cycle.

for model in MODELS:
    small = model.startswith("builtin:")
    run = TrainConfig(
        model=model,
        dataset=TRAIN,
        eval_dataset=TEST,
        recipe=Recipe(
            "raft",
            algorithm={"threshold": 0.7},
            data={"limit": 96},
            eval={"limit": 40},
            rollout={"max_new_tokens": 16 if small else 128},
            optimizer={"lr": 3e-4 if small else 5e-5},
            train={"steps": CYCLES},
        ),
    ).train()

    # ## What each cycle did
    #
    # `learned_share` is the share of attempts that were kept: at most a quarter, as one of four can be. It should rise,
    # for clips on which no attempt was good enough come within reach. The error rate is measured after each cycle.

    wer = {one["step"]: one["wer"] for one in run.run.evals()}
    print(f"\n{model}\ncycle  mean reward  kept   loss   learning rate  WER on {TEST}")
    print(f"{'start':>5}{'':41}{wer[0]:.1%}")
    for cycle in run.run.metrics():
        print(
            f"{cycle['step']:5}  {cycle['reward_mean']:11.3f}  {cycle['learned_share']:.3f}  {cycle['nll']:.3f}"
            f"  {cycle['lr']:13.2e}  {wer[cycle['step']]:.1%}"
        )

    # ## The best cycle
    #
    # More cycles are not always better: a model that only hears itself can drift. Every cycle has its checkpoint, and
    # the run knows which was best on the test set.

    best = run.run.best_step()
    checkpoint = next(one for one in list_checkpoints(run) if one.step == best)
    print(f"best cycle: {best}, in {checkpoint.path}")
