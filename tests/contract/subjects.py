"""A tiny random instance of every architecture as a policy, beside what transformers' own code makes of it.

Each subject answers for one clip (or text) at a time by the model's own processor and the model's own forward over
the whole (prompt, completion) pair: what a shared prefix must equal.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest
import tiny_audio
import tiny_classifier
import tiny_ctc
import tiny_encoder_decoder
import tiny_remote
import tiny_text
import torch
import transformers
from helpers import audible, noise_prompts
from torch import Tensor
from torch.nn.functional import ctc_loss

from antiphon.builtin.architecture import Size, build_model, build_processor
from antiphon.models.audio_lm import AudioPrefixLM
from antiphon.models.classifier import Classifier
from antiphon.models.ctc import CTC
from antiphon.models.load import load_policy
from antiphon.models.policy import Policy
from antiphon.models.text_lm import TextLM
from antiphon.types import Prompt

SECONDS = (1.37, 0.61, 2.903)
SHORT_SECONDS = (0.41, 0.2, 0.3234)
CPU = torch.device("cpu")


class Subject:
    """A policy whose actions are tokens, unless a subclass says otherwise."""

    idle: tuple[str, ...] = ()
    """Parts of the names of parameters that no completion depends on."""
    freezable: tuple[str, ...] = ("audio_encoder",)
    """Parts that can be frozen while something else learns."""

    def __init__(self, policy: Any, prompts: list[Prompt]) -> None:
        self.policy, self.prompts = policy, prompts

    def own_logits(self, prompt: Prompt, tokens: Tensor) -> Tensor:
        """Logits [G, T, V] that predict the completions `tokens` [G, T], each with a copy of the prompt before it."""
        raise NotImplementedError

    def own_greedy(self, prompt: Prompt, length: int) -> list[int]:
        """What transformers decodes, of at most `length` tokens."""
        raise NotImplementedError

    def completions(self, group: int, length: int = 6) -> tuple[Tensor, Tensor]:
        """Random completions [N, T] of unequal lengths that could have been sampled, and their mask."""
        generator = torch.Generator().manual_seed(1)
        allowed = (~self.policy.blocked_first).nonzero().squeeze(-1)
        rows = len(self.prompts) * group
        tokens = allowed[torch.randint(len(allowed), (rows, length), generator=generator)]
        lengths = torch.randint(1, length + 1, (rows,), generator=generator)
        mask = (torch.arange(length) < lengths[:, None]).float()
        return tokens * mask.long(), mask

    def score(self, logits: Tensor, tokens: Tensor, mask: Tensor) -> Tensor:
        """Log-probabilities [G, actions] of one prompt's completions under its own logits."""
        logits = logits.masked_fill(self.policy.blocked, -torch.inf)
        first = logits[:, :1].masked_fill(self.policy.blocked_first, -torch.inf)
        scores = torch.cat([first, logits[:, 1:]], 1).log_softmax(-1)
        return scores.gather(-1, tokens[..., None]).squeeze(-1).masked_fill(mask == 0, 0.0)

    def expanded_logprobs(self, tokens: Tensor, mask: Tensor, temperature: float) -> Tensor:
        """[N, actions], a forward pass of transformers' own over every (prompt, completion) pair."""
        rows = zip(self.prompts, tokens.chunk(len(self.prompts)), mask.chunk(len(self.prompts)), strict=True)
        return torch.cat([self.score(self.own_logits(p, t).float() / temperature, t, m) for p, t, m in rows])

    def own_size(self, prompt: Prompt) -> int:
        """Positions that the prompt takes in transformers' own model."""
        raise NotImplementedError

    def copied(self) -> Any:
        """A policy over a model of its own with the same weights."""
        parts = vars(self.policy)
        return type(self.policy)(copy.deepcopy(self.policy.model), parts.get("processor") or parts["tokenizer"])

    def reload(self, folder: Path) -> Policy:
        """The policy, saved to `folder` and loaded from there."""
        self.policy.save(folder)
        return self.reloaded(folder)

    def reloaded(self, folder: Path) -> Policy:
        """The policy that was saved to `folder`, with the processor of this one where none can be loaded."""
        return load_policy(str(folder), CPU, torch.float32)


class CausalSubject(Subject):
    """A language model: the completion follows the prompt's tokens."""

    def own_inputs(self, prompt: Prompt) -> dict[str, Tensor]:
        """What the model's own processor makes of the prompt, by the one call that its documentation shows."""
        raise NotImplementedError

    def own_logits(self, prompt: Prompt, tokens: Tensor) -> Tensor:
        inputs = {name: torch.cat([value] * len(tokens)) for name, value in self.own_inputs(prompt).items()}
        start = inputs["input_ids"].shape[1] - 1
        inputs["input_ids"] = torch.cat([inputs["input_ids"], tokens], 1)
        # Padding on the right is after all that is scored, so nothing has to mask it.
        inputs["attention_mask"] = torch.ones_like(inputs["input_ids"])
        return self.policy.model(**inputs, use_cache=False).logits[:, start:-1]

    def own_size(self, prompt: Prompt) -> int:
        return self.own_inputs(prompt)["input_ids"].shape[1]

    def own_greedy(self, prompt: Prompt, length: int) -> list[int]:
        inputs = self.own_inputs(prompt)
        theirs = self.policy.model.generate(
            **inputs,
            max_new_tokens=length,
            do_sample=False,
            bad_words_ids=[[i] for i in self.policy.blocked.nonzero().squeeze(-1).tolist()],
            eos_token_id=sorted(self.policy.stop_ids),
        )
        return theirs[0, inputs["input_ids"].shape[1] :].tolist()


class AudioPrefix(CausalSubject):
    idle = ("model.visual.", "audio_bos_eos_token")

    def __init__(self, model: Any, processor: Any) -> None:
        prompts = [replace(prompt, instruction="Write it down.") for prompt in noise_prompts(SECONDS)]
        super().__init__(self._policy(biased(audible(model)), processor), prompts)

    @staticmethod
    def _policy(model: Any, processor: Any) -> Any:
        policy: Any = AudioPrefixLM(model, processor)
        if "omni" in model.config.model_type:  # A whole omni processor needs torchvision.
            policy.save = model.save_pretrained
        return policy

    def copied(self) -> Any:
        return self._policy(copy.deepcopy(self.policy.model), self.policy.processor)

    def own_inputs(self, prompt: Prompt) -> dict[str, Tensor]:
        processor, kind = self.policy.processor, self.policy.model.config.model_type
        if kind == "voxtral":
            return processor.apply_transcription_request(
                prompt.waveform, model_id="any", sampling_rate=16000, format="wav", language=prompt.language
            )
        if kind in ("glmasr", "qwen3_asr"):
            return processor.apply_transcription_request([prompt.waveform])
        if kind == "granite_speech":
            chat = [{"role": "user", "content": f"{processor.audio_token}{prompt.instruction}"}]
            text = processor.tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
            return processor(text=[text], audio=[prompt.waveform], return_tensors="pt")
        content = [{"type": "audio", "audio": prompt.waveform}, {"type": "text", "text": prompt.instruction}]
        return processor.apply_chat_template(
            [{"role": "user", "content": content}],
            tokenize=True,
            return_dict=True,
            add_generation_prompt=True,
            return_tensors="pt",
        )

    def reloaded(self, folder: Path) -> Policy:
        processor = self.policy.processor
        if "omni" not in self.policy.model.config.model_type and not isinstance(processor, tiny_audio.Transcriber):
            again = super().reloaded(folder)
            again.processor.audio_kwargs = getattr(processor, "audio_kwargs", None)  # Voxtral's, of its object alone
            return again
        # Voxtral's processor needs mistral-common.
        architecture = getattr(transformers, self.policy.family.architecture)
        return self._policy(architecture.from_pretrained(folder, dtype=torch.float32), processor)


class Text(CausalSubject):
    freezable = ("embeddings", "head")  # one weight in some

    def __init__(self, kind: str) -> None:
        super().__init__(TextLM(tiny_text.tiny(kind), tiny_audio.bytes_tokenizer()), tiny_text.prompts())

    def own_inputs(self, prompt: Prompt) -> dict[str, Tensor]:
        chat = [{"role": "user", "content": prompt.instruction}]
        return self.policy.tokenizer.apply_chat_template(
            chat, add_generation_prompt=True, return_tensors="pt", return_dict=True, return_token_type_ids=False
        )


class Remote(CausalSubject):
    """Its processor has one way of making inputs, so the policy's own are as the author's."""

    freezable = ("ear",)

    def __init__(self, folder: Path) -> None:
        policy = load_policy(str(tiny_remote.publish(folder)), CPU, torch.float32, trust_remote_code=True)
        super().__init__(policy, noise_prompts((1.37, 0.61, 1.9)))

    def own_inputs(self, prompt: Prompt) -> dict[str, Tensor]:
        return self.policy.prepare(prompt)

    def reloaded(self, folder: Path) -> Policy:
        return load_policy(str(folder), CPU, torch.float32, trust_remote_code=True)


class Encoded(Subject):
    """An encoder-decoder: the completion follows the decoder's prompt."""

    idle = ("k_proj.bias",)  # softmax does not see what is added to every score alike

    def __init__(self, build: Callable[[], Any]) -> None:
        super().__init__(build(), tiny_encoder_decoder.english_prompts())

    def own_logits(self, prompt: Prompt, tokens: Tensor) -> Tensor:
        asked = torch.tensor([tiny_encoder_decoder.decoder_prompt(self.policy)] * len(tokens))
        audio = {n: torch.cat([x] * len(tokens)) for n, x in tiny_encoder_decoder.heard(self.policy, prompt).items()}
        output = self.policy.model(**audio, decoder_input_ids=torch.cat([asked, tokens], 1), use_cache=False)
        return output.logits[:, asked.shape[1] - 1 : -1]

    def own_size(self, prompt: Prompt) -> int:
        output = self.policy.encoder(**tiny_encoder_decoder.heard(self.policy, prompt))
        mask = getattr(output, "attention_mask", None)
        return output.last_hidden_state.shape[1] if mask is None else int(mask.sum())

    def own_greedy(self, prompt: Prompt, length: int) -> list[int]:
        asked = tiny_encoder_decoder.decoder_prompt(self.policy)
        options = {
            "whisper": {"language": "en", "task": "transcribe"},
            "moonshine": {},
            "cohere_asr": {"decoder_input_ids": torch.tensor([asked])},
        }
        theirs = self.policy.model.generate(
            **tiny_encoder_decoder.heard(self.policy, prompt),
            **options[self.policy.model.config.model_type],
            max_new_tokens=length,
            do_sample=False,
            suppress_tokens=self.policy.blocked.nonzero().squeeze(-1).tolist(),
        )[0].tolist()
        return theirs[len(asked) :] if theirs[: len(asked)] == asked else theirs


class Clip(Subject):
    """One pass over a clip, and no token after another."""

    idle = ("masked_spec_embed",)  # SpecAugment's own, which does not run

    def own_logits(self, prompt: Prompt, tokens: Tensor) -> Tensor:
        inputs = self.policy.processor([prompt.waveform], sampling_rate=16000, return_tensors="pt")
        return self.policy.model(**{name: torch.cat([x] * len(tokens)) for name, x in inputs.items()}).logits

    def own_size(self, prompt: Prompt) -> int:
        inputs = self.policy.processor([prompt.waveform], sampling_rate=16000, return_tensors="pt")
        model = self.policy.model
        lengths = getattr(model, "_get_feat_extract_output_lengths", None)
        lengths = lengths or getattr(model, "_get_subsampling_output_length", None)
        if "attention_mask" in inputs and lengths is not None:
            return int(lengths(inputs["attention_mask"].sum(-1)))
        return model(**inputs, output_hidden_states=True).hidden_states[-1].shape[1]


class Labeling(Clip):
    """CTC: the completion is a label sequence, of which all paths together have one log-probability."""

    def __init__(self, model: Any, processor: Any) -> None:
        super().__init__(CTC(audible(model), processor), noise_prompts(SHORT_SECONDS))

    def own_logits(self, prompt: Prompt, tokens: Tensor) -> Tensor:
        return super().own_logits(prompt, tokens)[:, : self.own_size(prompt)]

    def own_greedy(self, prompt: Prompt, length: int) -> list[int]:
        path = self.own_logits(prompt, torch.zeros(1, 1)).masked_fill(self.policy.blocked, -torch.inf)[0].argmax(-1)
        return [label for label, _ in groupby(path.tolist()) if label != self.policy.blank]

    def completions(self, group: int, length: int = 3) -> tuple[Tensor, Tensor]:
        """Of 0 to 3 labels, some with equal neighbors."""
        generator = torch.Generator().manual_seed(1)
        allowed = ~self.policy.blocked
        allowed[self.policy.blank] = False
        choices = allowed.nonzero().squeeze(-1)
        labels = choices[torch.randint(len(choices), (len(self.prompts) * group, 3), generator=generator)]
        labels[::3, 1] = labels[::3, 0]
        lengths = torch.randint(0, 4, (len(labels),), generator=generator)
        mask = (torch.arange(3) < lengths[:, None]).float()
        return labels * mask.long(), mask

    def score(self, logits: Tensor, tokens: Tensor, mask: Tensor) -> Tensor:
        scores = logits.masked_fill(self.policy.blocked, -1e9).log_softmax(-1).double().transpose(0, 1)
        frames, sizes = torch.full((len(tokens),), len(scores)), mask.sum(-1).long()
        return -ctc_loss(scores, tokens, frames, sizes, self.policy.blank, reduction="none").float()[:, None]


class Label(Clip):
    """A classifier: the completion is a label."""

    def __init__(self, model: Any, extractor: Any) -> None:
        super().__init__(Classifier(audible(model), extractor), noise_prompts(SHORT_SECONDS))
        if getattr(model.config, "use_weighted_layer_sum", False):  # which reads the last layer before its norm
            self.idle = (*self.idle, "encoder.layer_norm.")

    def own_greedy(self, prompt: Prompt, length: int) -> list[int]:
        return self.own_logits(prompt, torch.zeros(1, 1)).argmax(-1).tolist()

    def completions(self, group: int, length: int = 1) -> tuple[Tensor, Tensor]:
        labels, rows = len(self.policy.labels), len(self.prompts) * group
        tokens = torch.randint(labels, (rows, 1), generator=torch.Generator().manual_seed(1))
        return tokens, torch.ones(rows, 1)

    def score(self, logits: Tensor, tokens: Tensor, mask: Tensor) -> Tensor:
        return logits.log_softmax(-1).gather(-1, tokens)


def biased(model: Any) -> Any:
    """No bias left at zero: padding that an encoder fails to mask is then heard, and moves the numbers."""
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 1:
                parameter.add_(0.1 * torch.randn_like(parameter))
    return model


def qwen3_asr() -> tuple[Any, Any]:
    processor = build_processor()
    size = Size(width=32, audio_layers=2, text_layers=2, heads=4, feed_forward=64, conv_channels=8)
    return build_model(size, processor), processor


AUDIO_PREFIX = (
    tiny_audio.audioflamingo3,
    tiny_audio.glmasr,
    tiny_audio.granite_speech,
    tiny_audio.qwen2_audio,
    tiny_audio.qwen2_5_omni_thinker,
    tiny_audio.qwen3_omni_moe_thinker,
    qwen3_asr,
)
SUBJECTS: dict[str, Callable[[Path], Subject]] = {
    **{build.__name__: lambda _, build=build: AudioPrefix(*build()) for build in AUDIO_PREFIX},
    "voxtral": lambda folder: AudioPrefix(*tiny_audio.voxtral(folder)),
    **{name: lambda _, build=build: Encoded(build) for name, build in tiny_encoder_decoder.BUILDERS.items()},
    **{f"{build.__name__}-ctc": lambda folder, build=build: Labeling(*build(folder)) for build in tiny_ctc.BUILDERS},
    **{f"{build.__name__}-classifier": lambda _, build=build: Label(*build()) for build in tiny_classifier.BUILDERS},
    **{f"{name}-text": lambda _, name=name: Text(name) for name in tiny_text.CONFIGS},
    "remote-code": Remote,
}
"""Every architecture that has a policy, by name: made in a folder that may hold its tokenizer's files."""


def make(name: str, folder: Path, patch: pytest.MonkeyPatch) -> Subject:
    tiny_audio.without_torchaudio(patch)
    tiny_remote.keep_modules(patch)
    return SUBJECTS[name](folder)
