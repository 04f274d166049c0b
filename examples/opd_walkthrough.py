"""On-policy distillation in one process: a small recognizer learns from a better one, without transcripts.

A transcript says what was said. A teacher says more: for each token of the student's own answer, how probable it finds
every token that could have stood there. The student learns from that at each place of answers that it gives itself, so
it is corrected where it goes, and not where a transcript goes. Nobody has to have transcribed anything.

    pip install 'antiphon[synth]'
    python examples/opd_walkthrough.py

Student and teacher ship with the library: both are Qwen3-ASR in small, and the teacher has heard noise, haste and
rooms. For real models, change the two names below and the data set's.
"""

import antiphon
from antiphon.config import load_config
from antiphon.data.source import load_set
from antiphon.distributed.device import resolve_device, resolve_dtype
from antiphon.evaluate.decode import decoder
from antiphon.evaluate.recognize import evaluate
from antiphon.models.load import load_policy
from antiphon.rollout.engines.in_process import InProcessEngine
from antiphon.tasks.load import prompter

STUDENT = "builtin:student"  # "Qwen/Qwen3-ASR-0.6B-hf"
TEACHER = "builtin:teacher"  # "Qwen/Qwen3-ASR-1.7B-hf"
SMALL = STUDENT.startswith("builtin:")

# ## The recipe
#
# `forward_kl` is the divergence of the student from the teacher, KL(teacher ‖ student), at every token. It is computed
# on the 32 tokens that either of them finds most probable, with all others as one: a vocabulary has 150,000, and hardly
# any of them matters at any place. Texts in the data are not read; a JSONL file may leave them out.

distil = antiphon.TrainConfig(
    model=STUDENT,
    dataset="builtin:commands-train-noisy",
    eval_dataset="builtin:commands-noisy",
    recipe=antiphon.Recipe(
        "opd",
        algorithm={"loss": "forward_kl", "top_k": 32},
        teacher=TEACHER,
        data={"limit": 128},
        rollout={"prompts_per_step": 32, "max_new_tokens": 24 if SMALL else 256},
        optimizer={"lr": 1e-3 if SMALL else 1e-5},
        train={"steps": 18, "save_every": -1},
        eval={"limit": 40},
    ),
)

# ## Calibration
#
# Before a long run, look at the first steps without learning from them. Four figures tell whether student and teacher
# fit together: how many of the student's tokens the teacher could judge (1 where both have the same tokens), how many
# tokens they could compare at a place, how far apart they are, and how many answers were cut off.

calibration = distil.calibrate(steps=2)
for name in ("teacher_aligned_share", "valid_topk_mean", "divergence", "truncated_share"):
    print(f"calibration: {name} {calibration.metrics[name]:.3f}")

# ## Training
#
# A rollout, one forward pass of the teacher over the same tokens and the same audio, one step of the student. The
# teacher's weights are in the same process and have no gradients. What each step measured is in the run's folder.

result = distil.train()
steps = result.run.metrics()
print(f"run {result.training_run_id}: divergence {steps[0]['divergence']:.3f} → {steps[-1]['divergence']:.3f}")

# ## Both, on clips that neither has heard
#
# The student was measured before and after training. The teacher is measured by the same parts of the library that do
# that: a policy (a model with its way of being asked), a decoder, examples, and a function from an example to a prompt.


def measured(model, set_name, limit):
    """The summary of a model on the first clips of a set."""
    config = load_config()
    device = resolve_device("auto")
    policy = load_policy(model, device, resolve_dtype("auto", device))
    examples, _ = load_set(set_name, config, limit)
    decode = decoder(policy, InProcessEngine(policy), 64)
    summary, _ = evaluate(policy, decode, examples, prompter(config, policy.rate), 24 if SMALL else 256)
    return summary


(before,), (after,) = result.before.values(), result.after.values()
teacher = measured(TEACHER, "builtin:commands-noisy", limit=40)
for name, summary in (("student before", before), ("student after", after), ("teacher", teacher)):
    low, high = summary["ci"]
    print(f"{name:15} WER {summary['wer']:.3f} [{low:.3f}, {high:.3f}]")
closed = (before["wer"] - after["wer"]) / (before["wer"] - teacher["wer"])
print(f"distillation closed {closed:.0%} of the distance to the teacher")
