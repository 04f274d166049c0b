"""What a run works with, from its recipe: data, model, trainer, engine, collector."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from antiphon.config import Config
from antiphon.config.data import Labels
from antiphon.config.rollout import Rollout
from antiphon.data.augmented import load_augmenter
from antiphon.data.forms import named_sets
from antiphon.data.indexed import asking, ids, joined
from antiphon.data.rows import BadRow
from antiphon.data.source import checked_set, for_evaluation, mixed
from antiphon.data.stream import PromptStream
from antiphon.data.training import HOLDOUT, cut_ends, leaked, load_training_sets
from antiphon.data.validate import Checked, unmeasured
from antiphon.distributed.device import resolve_device, resolve_dtype
from antiphon.distributed.world import World
from antiphon.errors import ConfigError
from antiphon.evaluate.decode import decoder
from antiphon.evaluate.groups import group_names
from antiphon.evaluate.pieces import piece_of
from antiphon.evaluate.sets import bar, unbounded
from antiphon.models.audio_ctc import AudioCTC
from antiphon.models.blocking import block_from
from antiphon.models.feature_cache import cache_features
from antiphon.models.fit import Fit
from antiphon.models.fitting import fitting
from antiphon.models.load import load_policy, pin
from antiphon.models.lora import without_adapter
from antiphon.models.pieces import Pieces
from antiphon.models.policy import Policy, Sampling
from antiphon.models.prompt_cache import share_prepared
from antiphon.models.recompute import recompute_activations
from antiphon.rewards.load import RewardSpec, load_reward
from antiphon.rewards.sample import RewardFunction
from antiphon.rollout.all_labels import AllLabels
from antiphon.rollout.collect import Collector
from antiphon.rollout.engine import Source, load_engine
from antiphon.rollout.pseudo_labels import PseudoLabel, make_pseudo_labels, relabel
from antiphon.rollout.references import References
from antiphon.run.can_learn import check_groups, check_rewards
from antiphon.run.observers import Observers
from antiphon.runs.folder import RunFolder
from antiphon.tasks.load import find_task, prompter
from antiphon.tasks.request import unread
from antiphon.train.credit import AlignmentCredit
from antiphon.train.objectives import combined_needs, load_objectives
from antiphon.train.teachers.load import load_teachers
from antiphon.train.trainable import make_trainable
from antiphon.train.trainer import Trainer
from antiphon.types import Example, Seconds

GROUP_SIZE = 8
"""Completions of a prompt where the recipe names no number."""


def pinned(config: Config) -> Config:
    """The recipe with models that are runs named by their step, and with its task's reward where it names none, so that
    it means the same tomorrow."""
    teachers = [
        one if one.url or one.model is None else one.model_copy(update={"model": pin(one.model, config.output)})
        for one in config.teacher
    ]
    labels = config.labels and config.labels.model_copy(update={"model": pin(config.labels.model, config.output)})
    model = pin(config.model, config.output)
    reward = config.reward or find_task(config.task).reward
    return config.model_copy(update={"model": model, "teacher": teachers, "labels": labels, "reward": reward})


class Components:
    """Everything a run works with, loaded and checked before its folder is made."""

    def __init__(
        self,
        config: Config,
        weights: str,
        observers: Observers,
        reward: RewardSpec | None = None,
        pseudo_labels: Sequence[Mapping[str, Any]] = (),
        world: World | None = None,
    ) -> None:
        """`weights` are those to start from: the recipe's model, or a checkpoint that holds a whole one.
        `pseudo_labels` are those that the run made already."""
        if not config.data.train:
            raise ConfigError("no training data; give --data FILE.jsonl, or data.train=builtin:commands-train")
        self.world = world or World()
        self.config, self.observers, self.device = config, observers, resolve_device(config.device)
        self.skipped: list[str] = []
        """What was left out of the data, for the log."""
        self.skipped_rows = 0
        self.pseudo_labels = [PseudoLabel(**row) for row in pseudo_labels]
        self.objectives = load_objectives(config.algorithm)
        self.needs = combined_needs(self.objectives)
        if config.teacher and not self.needs.teacher:
            names = " + ".join(one.name for one in self.objectives)
            raise ConfigError(
                f"{names} as configured learns from no teacher, so 'teacher' would do nothing; leave it out, or use "
                "opd, or set 'algorithm.teacher_coefficient' where the algorithm has one"
            )
        check_groups(self.objectives, config.rollout)
        rewards, self.eval_reward = self._load_rewards(reward or config.reward or find_task(config.task).reward)
        self._load_data()
        observers.phase("loading the model")
        self.policy = self._load_policy(weights)
        self._prepare_policy()
        self.prompt = prompter(config, self.policy.rate, self.policy.language, self.policy.reads)
        self._keep_what_fits()
        self._note_unread()
        self.trainer = self._make_trainer()
        self.engine = load_engine(self.policy, config.rollout)
        source, group_size = self._source()
        self.decode = decoder(self.policy, self.engine, config.eval.batch_size, config.eval.beam)
        per_step = config.rollout.prompts_per_step
        augment = load_augmenter(config, self.policy.rate, self._fits)
        self.stream = PromptStream(self.examples, per_step, config.seed, self.prompt, self.world, augment, self.weights)
        penalty = config.rollout.truncation_penalty if config.rollout.truncated == "penalize" else 0.0
        self.collector = Collector(
            stream=self.stream,
            policy=self.policy,
            task=self.prompt.task,
            engine=self.engine,
            source=source,
            reward=rewards,
            group_size=config.rollout.group_size or group_size,
            sampling=_sampling(config.rollout),
            seed=config.seed,
            needs=self.needs,
            truncation_penalty=penalty,
            world=self.world,
        )

    def _fits(self, example: Example, seconds: Seconds) -> bool:
        """Whether the model takes an example whose clip became longer or shorter."""
        return seconds <= self.config.data.max_seconds and self._fit(example, seconds) is None

    def _load_rewards(self, spec: RewardSpec | None) -> tuple[RewardFunction | None, RewardFunction | None]:
        """What training rewards by, and what evaluation does, whose failures end no run."""
        config = self.config
        if not self.needs.rewards:
            return None, None
        if spec is None:
            raise ConfigError(
                f"the task {config.task} has no reward of its own, and the algorithm needs one; name it: reward=exact, "
                "or a function of yours as reward=file.py:function"
            )
        training = load_reward(spec, config.reward_limits)
        check_rewards(self.objectives, training)
        if not config.data.evaluates or not config.eval.samples_per_prompt:
            return training, None
        return training, load_reward(spec, config.reward_limits.model_copy(update={"on_failure": "drop"}))

    def _load_data(self) -> None:
        config, needs = self.config, self.needs
        texts = (needs.rewards or needs.alignment_credit or needs.source == "labels") and not config.labels
        found = load_training_sets(config, texts, lambda spec: bar(self.observers, self._checking(spec)))
        for line in found.notes:
            self.observers.noted(line)
        self.skipped += found.listed
        for spec, rows, total in found.skipped:
            self._note_skipped(spec, rows, total)
        self.sets = found.sets
        mixed([(spec, checked.examples) for spec, checked in self.sets])
        self._checked_eval_sets = self._load_eval_sets(found.held_out)
        if config.labels:
            self._relabel(config.labels)

    def _load_eval_sets(self, held_out: Sequence[Example]) -> dict[str, Checked]:
        config = self.config
        named = named_sets(config.data.eval, config.data.format)
        if held_out and HOLDOUT in named:
            raise ConfigError(f"data.holdout makes an evaluation set {HOLDOUT!r}; rename {named[HOLDOUT]}")
        sets = {}
        for name, spec in named.items():
            title = self._checking(spec)
            own, progress = unbounded(for_evaluation(config, spec)), bar(self.observers, title)
            sets[name] = checked = checked_set(spec, own, config.eval.limit, progress)
            self._note_skipped(spec, checked.skipped, len(checked.skipped) + len(checked.examples))
            for line in [*cut_ends(spec, checked), *leaked(self.sets, name, checked)]:
                self.observers.noted(line)
                self.skipped.append(line)
        if held_out:
            sets[HOLDOUT] = unmeasured(held_out)
        return sets

    def _checking(self, spec: str) -> str:
        self.observers.phase(title := f"checking {spec}")
        return title

    def _note_skipped(self, spec: str, skipped: Sequence[BadRow], total: int) -> None:
        if skipped:
            self.observers.noted(f"{spec}: skipped {len(skipped)} of {total} rows")
            self.skipped += [f"skipped {spec}: {row}" for row in skipped]
            self.skipped_rows += len(skipped)

    def _keep_what_fits(self) -> None:
        """Leave out the examples that the model cannot take, or refuse them, as for those that cannot be used."""
        config, longest = self.config, self.config.rollout.max_new_tokens
        fit = Fit(self.policy, self.prompt, longest, self.needs.source == "labels" or self.needs.audio_ctc)
        self._fit = fit
        fitted = [(spec, self._fitting(fit, spec, checked)) for spec, checked in self.sets]
        self.examples = joined([examples for _, examples in fitted])
        weights = config.data.weights
        self.weights = [(len(examples), weights.get(spec, 1.0)) for spec, examples in fitted] if weights else []
        self.piece = piece_of(self.policy, self.prompt.task, config)
        if self.piece is not None and self.eval_reward is not None and config.eval.samples_per_prompt > 1:
            raise ConfigError(
                "'eval.samples_per_prompt' draws answers to whole clips, and data.long_audio=split answers long ones "
                "in pieces; set eval.samples_per_prompt to 1 or 0"
            )
        fit = Fit(self.policy, self.prompt, longest, piece=self.piece)
        self.eval_sets = {name: self._fitting(fit, name, checked) for name, checked in self._checked_eval_sets.items()}
        column = config.eval.group_by
        self.groups = {name: group_names(rows, column, name) for name, rows in self.eval_sets.items() if column}

    def _note_unread(self) -> None:
        """Say which rows ask something that the model does not read."""
        for name, examples in {"the training set": self.examples, **self.eval_sets}.items():
            for note in unread(asking(examples), self.policy.reads):
                self.observers.noted(f"{name}: {note}")
                self.skipped.append(f"{name}: {note}")

    def _fitting(self, fit: Fit, spec: str, checked: Checked) -> Sequence[Example]:
        data, examples = self.config.data, checked.examples
        self.observers.phase(title := f"checking {spec} against the model")
        told, seconds = bar(self.observers, title), checked.scans["seconds"]
        kept, bad = fitting(fit, examples, spec, data.on_bad_audio, data.long_audio, told, seconds)
        self._note_skipped(spec, bad, len(examples))
        return kept

    def _relabel(self, labels: Labels) -> None:
        """Take pseudo-labels as the texts of the training examples; those made before stay."""
        whole = joined([checked.examples for _, checked in self.sets])
        labeled = {one.id for one in self.pseudo_labels}
        unlabeled = [example for example in whole if example.id not in labeled]
        if unlabeled:
            self.observers.phase(f"{labels.model} transcribes the training set", len(unlabeled))
            mine = self.world.share(unlabeled)
            made = make_pseudo_labels(mine, labels, self.config, self.device, self.observers.advance) if mine else []
            self.pseudo_labels += [one for rank in self.world.gather(made) for one in rank]
        examples, summary = relabel(whole, self.pseudo_labels, labels)
        if summary:
            self.observers.noted(summary)
            self.skipped.append(summary)
        of = {id: spec for spec, checked in self.sets for id in ids(checked.examples).to_pylist()}
        self.sets = [(spec, unmeasured([one for one in examples if of[one.id] == spec])) for spec, _ in self.sets]

    def _load_policy(self, spec: str, dtype: str | None = None) -> Policy:
        """A model whose answers are held to the recipe's tokens."""
        config, rollout = self.config, self.config.rollout
        computed_in = resolve_dtype(dtype or config.dtype, self.device)
        policy = load_policy(
            spec, self.device, computed_in, rollout.block_tokens, config.output, config.trust_remote_code
        )
        if rollout.block_tokens_from is not None:
            block_from(policy, rollout.block_tokens_from)
        return policy

    def _prepare_policy(self) -> None:
        """Freeze, adapt, recompute and remember as the recipe says."""
        config, train = self.config, self.config.train
        make_trainable(self.policy.model, config)
        if train.activation_checkpointing:
            recompute_activations(self.policy.model)
        if train.cache_features_mb:
            cache_features(self.policy, train.cache_features_mb)
        if self.needs.token_level and not self.policy.token_level:
            names = ", ".join(one.name for one in self.objectives if one.needs.token_level)
            raise ConfigError(
                f"{names} as configured needs a log-probability for each token, and {config.model} has one for its "
                "whole answer; leave the per-token options out, or use a loss over whole answers"
            )

    def _make_trainer(self) -> Trainer:
        config, policy, needs = self.config, self.policy, self.needs
        reference = None
        if needs.reference:
            reference = without_adapter(policy) if config.lora else self._load_policy(config.model)
            share_prepared(reference, policy)
        teacher = load_teachers(config, policy, self.objectives, self._load_policy) if needs.teacher else None
        credit = AlignmentCredit(policy) if needs.alignment_credit else None
        ctc = AudioCTC(policy, self.examples, config.seed) if needs.audio_ctc else None
        return Trainer(policy, self.objectives, config, reference, teacher, credit, ctc, self.world)

    def _source(self) -> tuple[Source, int]:
        """What completions come from, and how many a prompt has where the recipe names no number."""
        if self.needs.source == "labels":
            return References(self.policy, self.examples), GROUP_SIZE
        if self.needs.source == "all":
            labels = AllLabels(self.policy)
            return labels, labels.labels
        return self.engine, GROUP_SIZE

    @property
    def pieces(self) -> Pieces | None:
        """What tokens write, for models that emit tokens."""
        return Pieces(getattr(self.policy, "tokenizer")) if self.policy.token_level else None  # noqa: B009

    def write_pseudo_labels(self, run: RunFolder) -> None:
        """Keep what was heard in the training set, so that a resumed run learns from the same."""
        if self.pseudo_labels:
            run.write_transcripts([asdict(one) for one in self.pseudo_labels])


def _sampling(rollout: Rollout) -> Sampling:
    filters = (rollout.top_k, rollout.top_p, rollout.min_p)
    return Sampling(rollout.temperature, rollout.longest, *filters, shorten=rollout.max_new_tokens is None)
