"""Audio states for CTC, in every architecture that has them: a clip's are its own, whatever it is heard beside."""

import pytest
import torch
from subjects import SUBJECTS as ALL
from subjects import AudioPrefix, Encoded, make

from antiphon.models.audio_ctc import AudioCTC
from antiphon.types import Example

SUBJECTS = [name for name in ALL if not name.endswith(("-ctc", "-classifier", "-text")) and name != "remote-code"]


@pytest.mark.parametrize("name", SUBJECTS)
def test_a_clip_in_a_batch_spells_what_it_spells_alone(name, tmp_path, monkeypatch):
    subject = make(name, tmp_path, monkeypatch)
    assert isinstance(subject, AudioPrefix | Encoded)
    policy, prompts = subject.policy, subject.prompts
    allowed = (~policy.blocked_first).nonzero().squeeze(-1).tolist()
    text = next(text for i in allowed if (text := policy.tokenizer.decode([i])).isalpha())
    ctc = AudioCTC(policy, [Example(prompt.id, "asr", None, text) for prompt in prompts], seed=0)

    def losses(chosen) -> torch.Tensor:
        with ctc.recording():
            policy.encode(chosen)
        return ctc.loss(chosen)

    together, alone = losses(prompts), torch.cat([losses([prompt]) for prompt in prompts])
    assert (together > 0).all()
    assert len(set(together.tolist())) == len(prompts), "each clip has states of its own"
    assert torch.allclose(together, alone, rtol=1e-4)
