"""Decoder prompts of encoder-decoders: the tokens that the model's own `generate` would use.

- Whisper: `<|startoftranscript|><|LANGUAGE|><|transcribe|><|notimestamps|>`, after `<|startofprev|>` and the context
  if there is one: its last tokens, at most half the positions less one. The language is the prompt's, else the
  generation config's, else the one that the model detects. English-only models have neither language nor task token.
- Moonshine: its start token. Each model has one language, so a prompt's language is ignored.
- Cohere-ASR: its processor's prompt, with punctuation. It cannot detect the language, so the prompt must give it.

Each function takes (model, processor, prompts, detect) and returns the tokens of each prompt; `detect` maps indices
into `prompts` to language tokens. `ModelError` names a prompt that the model does not support.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from antiphon.errors import ModelError
from antiphon.models.internals import TO_LANGUAGE_CODE
from antiphon.types import Prompt

Detect = Callable[[list[int]], list[int]]


def start_id(model: Any) -> int:
    """The token that the decoder starts from."""
    settings = model.generation_config
    return settings.bos_token_id if settings.decoder_start_token_id is None else settings.decoder_start_token_id


def token_id(processor: Any, token: str) -> int:
    """The id of `token`. Raises `ModelError` if the tokenizer does not have it."""
    found = processor.tokenizer.get_vocab().get(token)
    if found is None:
        raise ModelError(f"the model's tokenizer has no {token}, which the decoder's prompt needs")
    return found


def whisper(model: Any, processor: Any, prompts: Sequence[Prompt], detect: Detect) -> list[list[int]]:
    settings = model.generation_config
    before = [[*_whisper_context(model, processor, prompt), start_id(model)] for prompt in prompts]
    after = token_id(processor, "<|notimestamps|>")
    if not _multilingual(settings):
        for prompt in prompts:
            if prompt.language and _language_code(prompt.language) != "en":
                raise ModelError(
                    f"prompt {prompt.id!r} is in {prompt.language!r}, but this Whisper supports only English"
                )
        return [[*tokens, after] for tokens in before]
    usual = getattr(settings, "task", None) or "transcribe"
    tasks = [settings.task_to_id["translate" if prompt.translate else usual] for prompt in prompts]
    languages = [_whisper_language(settings, prompt) for prompt in prompts]
    unknown = [i for i, language in enumerate(languages) if language is None]
    found = dict(zip(unknown, detect(unknown), strict=True)) if unknown else {}
    return [
        [*before[i], found[i] if language is None else language, tasks[i], after]
        for i, language in enumerate(languages)
    ]


def english_only(settings: Any) -> bool:
    """Whether a Whisper's generation config says so."""
    return not getattr(settings, "lang_to_id", None) and not getattr(settings, "is_multilingual", True)


def translates(model: Any) -> bool:
    """Whether the model has Whisper's task of writing English for other languages."""
    settings = model.generation_config
    return bool(getattr(settings, "lang_to_id", None)) and "translate" in getattr(settings, "task_to_id", {})


def _multilingual(settings: Any) -> bool:
    if english_only(settings):
        return False
    if not getattr(settings, "lang_to_id", None):
        raise ModelError(
            "this Whisper's generation config names no languages (lang_to_id), nor says that it is English-only "
            "(is_multilingual: false); put the generation_config.json of the model it was made from beside it"
        )
    return True


def _whisper_language(settings: Any, prompt: Prompt) -> int | None:
    """The language token of the prompt, None if the model is to detect it."""
    language = prompt.language or getattr(settings, "language", None)
    if language is None:
        return None
    found = settings.lang_to_id.get(f"<|{_language_code(language)}|>")
    if found is None:
        raise _unknown_language(prompt, language, (token.strip("<|>") for token in settings.lang_to_id))
    return found


def _unknown_language(prompt: Prompt, language: str, known: Iterable[str]) -> ModelError:
    return ModelError(
        f"prompt {prompt.id!r} is in {language!r}, which this model does not support; it supports "
        + ", ".join(sorted(known))
    )


def whisper_languages(model: Any, processor: Any) -> frozenset[str]:
    """Codes of the languages that a Whisper can be told; an English-only one only English."""
    known = getattr(model.generation_config, "lang_to_id", None)
    return frozenset(token.strip("<|>") for token in known) if known else frozenset({"en"})


def _whisper_context(model: Any, processor: Any, prompt: Prompt) -> list[int]:
    """`<|startofprev|>` and the context's last tokens; of a long one the first are left out, as by `generate`."""
    if not prompt.context:
        return []
    try:
        opening, *ids = processor.get_prompt_ids(prompt.context).tolist()
    except ValueError as error:
        raise ModelError(f"prompt {prompt.id!r} has a context that Whisper cannot take: {error}") from error
    return [opening, *ids[-(model.config.max_target_positions // 2 - 1) :]]


def moonshine(model: Any, processor: Any, prompts: Sequence[Prompt], detect: Detect) -> list[list[int]]:
    for prompt in prompts:
        _refuse_context(prompt)
    return [[start_id(model)] for _ in prompts]


def cohere_asr(model: Any, processor: Any, prompts: Sequence[Prompt], detect: Detect) -> list[list[int]]:
    start = start_id(model)
    rows = []
    for prompt in prompts:
        _refuse_context(prompt)
        if prompt.language is None:
            raise ModelError(
                f"prompt {prompt.id!r} has no language, but this model needs one; "
                "set language=given, or language=CODE for every clip"
            )
        tokens = _cohere_prompt(processor, _language_code(prompt.language))
        if tokens is None:
            raise _unknown_language(prompt, prompt.language, cohere_languages(model, processor))
        rows.append(tokens if tokens[0] == start else [start, *tokens])
    return rows


def cohere_languages(model: Any, processor: Any) -> frozenset[str]:
    """Codes of the languages that its processor has a prompt for."""
    return frozenset(code for code in TO_LANGUAGE_CODE.values() if _cohere_prompt(processor, code))


def _cohere_prompt(processor: Any, code: str) -> list[int] | None:
    try:
        return processor.get_decoder_prompt_ids(language=code)
    except ValueError:
        return None


def _refuse_context(prompt: Prompt) -> None:
    if prompt.context:
        raise ModelError(f"prompt {prompt.id!r} has a context, for which this model has no place; leave it out")


def _language_code(language: str) -> str:
    """ "English" -> "en"; codes stay as they are."""
    return TO_LANGUAGE_CODE.get(language.lower(), language.lower())
