"""Loads the teachers of a recipe."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from antiphon.config import Config
from antiphon.config.teacher import TeacherConfig
from antiphon.errors import ConfigError
from antiphon.models.policy import Policy, emits_tokens
from antiphon.models.prompt_cache import share_prepared
from antiphon.train.objectives import Objective
from antiphon.train.teachers.by_text import TextTeacher
from antiphon.train.teachers.remote import RemoteTeacher
from antiphon.train.teachers.same_tokens import SameTokensTeacher, same_tokens
from antiphon.train.teachers.server import Server
from antiphon.train.teachers.teacher import Teacher, Teachers

Load = Callable[[str, str], Policy]
"""(model, dtype) -> the policy, with the student's tokens blocked."""


def load_teachers(config: Config, student: Policy, objectives: Sequence[Objective], load: Load) -> Teachers:
    """The recipe's teachers of `student`.

    Raises `ConfigError` if there is none, or if a loss compares what a teacher cannot provide: distributions over
    other tokens, or softened ones from a server. Raises `ModelError` if one cannot be loaded or reached.
    """
    if not config.teacher:
        raise ConfigError("the algorithm learns from a teacher; name one: teacher=builtin:teacher")
    distributions = [one for one in objectives if one.needs.teacher == "distributions"]
    _require_tokens(distributions, student)
    teachers = [(one.weight, _load(one, config, student, distributions, load)) for one in config.teacher]
    return Teachers(teachers)


def _load(
    spec: TeacherConfig, config: Config, student: Policy, distributions: Sequence[Objective], load: Load
) -> Teacher:
    if spec.url is not None:
        _require_served(config, distributions)
        return RemoteTeacher(Server(spec), student, bool(distributions))
    if spec.model is None:
        raise ConfigError("'teacher' needs a 'model', or the 'url' of a server")
    policy = load(spec.model, spec.dtype or config.dtype)
    policy.model.requires_grad_(False)
    _require_same_modality(spec.model, student, policy)
    temperature, max_tokens = config.rollout.temperature or 1.0, config.train.max_tokens_per_batch
    share_prepared(policy, student)
    if emits_tokens(policy) and same_tokens(student, policy):
        return SameTokensTeacher(spec.model, policy, temperature, max_tokens)
    if distributions:
        raise ConfigError(
            f"teacher {spec.model} has other tokens than {config.model}, or another answer format, so "
            f"{distributions[0].name} cannot compare their distributions; set loss: sampled, which compares by text"
        )
    return TextTeacher(spec.model, policy, student, temperature, max_tokens)


def _require_tokens(distributions: Sequence[Objective], student: Policy) -> None:
    for objective in distributions:
        wanted = getattr(objective.settings, "top_k", None)
        if wanted is not None and emits_tokens(student) and wanted > student.vocabulary:
            raise ConfigError(
                f"{objective.name} compares the {wanted} most probable tokens, but the student has only "
                f"{student.vocabulary}; lower 'top_k', or set it to null for the whole vocabulary"
            )


def _require_served(config: Config, distributions: Sequence[Objective]) -> None:
    """Servers report only the most probable tokens, at temperature 1. Raises `ConfigError` if a loss needs more."""
    if config.rollout.temperature not in (0.0, 1.0):
        raise ConfigError(
            f"a teacher on a server scores at temperature 1, but 'rollout.temperature' is "
            f"{config.rollout.temperature:g}; set it to 1 or 0, or load the teacher in this process"
        )
    for objective in distributions:
        if getattr(objective.settings, "temperature", 1.0) != 1.0 or getattr(objective.settings, "top_k", 1) is None:
            raise ConfigError(
                f"a teacher on a server reports only its most probable tokens, so {objective.name} can neither soften "
                "its distribution nor compare the whole vocabulary; leave out 'temperature' and 'top_k: null'"
            )


def _require_same_modality(name: str, student: Policy, teacher: Policy) -> None:
    if bool(student.rate) != bool(teacher.rate):
        audio, text = (name, "the student") if teacher.rate else ("the student", name)
        raise ConfigError(f"{audio} takes audio and {text} takes text; teacher and student must take the same prompts")
