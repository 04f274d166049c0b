"""Alignment, error counts and the figures of a corpus, worked by hand and checked against jiwer."""

import random

import jiwer
import pytest
from measured import measured, summarized

from antiphon.errors import DataError
from antiphon.evaluate.bootstrap import bootstrap_ci
from antiphon.tasks.labels import confusions
from antiphon.tasks.summary import main_column
from antiphon.tasks.task import Row, worst_first
from antiphon.text.alignment import Errors, Op, align, char_errors, characters, count_errors, word_errors


def test_each_kind_of_error_is_counted_once() -> None:
    # one two three four / one too three five four: a substitution and an insertion
    errors = word_errors("one two three four", "one too three five four", "en")
    assert errors == Errors(substitutions=1, deletions=0, insertions=1, hits=3)
    assert (errors.edits, errors.ref_len, errors.hyp_len, errors.rate) == (2, 4, 5, 0.5)


def test_alignment_covers_both_sides_in_order() -> None:
    assert align(["a", "b", "c"], ["a", "x", "c", "d"]) == [
        Op("hit", 0, 0),
        Op("substitution", 1, 1),
        Op("hit", 2, 2),
        Op("insertion", None, 3),
    ]
    assert align(["a", "b"], ["b"]) == [Op("deletion", 0, None), Op("hit", 1, 0)]
    assert align([], ["b"]) == [Op("insertion", None, 0)]
    assert align([], []) == []


def test_an_empty_reference_charges_every_word_made_up() -> None:
    assert word_errors("", "", "en").rate == 0.0
    assert word_errors("", "hello there", "en").rate == 2.0
    assert word_errors("...", "hello", "en").rate == 1.0
    assert word_errors("hello there", "", "en").rate == 1.0


def test_chinese_words_are_characters() -> None:
    assert word_errors("你好世界", "你好，世间", "zh") == Errors(substitutions=1, hits=3)
    assert word_errors("你好世界", "hello", None) == Errors(substitutions=1, deletions=3)


@pytest.mark.parametrize(
    ("language", "reference", "heard", "word", "char"),
    [
        # one syllable of five is another, and a space is not an error
        ("ko", "안녕 하세요", "안녕하셔요.", (1, 5), (1, 5)),
        ("zh", "今天天气很好", "今天 天汽好", (2, 6), (2, 6)),
        ("ja", "東京タワー", "東京タワ", (1, 5), (1, 5)),
        # Thai: a vowel sign belongs to its consonant as a unit, and is a code point of its own for CER
        ("th", "ที่นี่", "ที่นี", (1, 2), (1, 6)),
        # Indic scripts: the vowel sign alone is wrong, in one word of two; 13 code points with the space
        ("hi", "नमस्ते दुनिया", "नमस्ते दुनियो।", (1, 2), (1, 13)),
        ("bn", "আমি ভালো", "আমি ভাল", (1, 2), (1, 8)),
        ("ta", "வணக்கம் உலகம்", "வணக்கம் உலகம்!", (0, 2), (0, 13)),
    ],
)
def test_each_language_is_counted_in_its_own_units(language, reference, heard, word, char) -> None:
    row = measured("a", reference, heard, language=language)
    assert (row["wer_errors"], row["ref_words"]) == word
    assert (row["cer_errors"], row["ref_chars"]) == char


def test_characters_count_spaces_only_between_spaced_words() -> None:
    assert characters("set  a") == ["s", "e", "t", " ", "a"]
    assert characters("你好 世界 3 个") == list("你好世界3个")
    assert char_errors("你好 世界", "你好世界", "zh").edits == 0
    assert char_errors("ab c", "abc", None) == Errors(deletions=1, hits=3)


@pytest.mark.parametrize("seed", range(5))
def test_counts_agree_with_jiwer_on_random_texts(seed: int) -> None:
    draw = random.Random(seed)
    vocabulary = ["alpha", "beta", "gamma", "delta", "be", "alphabet"]
    total = Errors()
    references, hypotheses = [], []
    for _ in range(40):
        reference = " ".join(draw.choices(vocabulary, k=draw.randint(1, 12)))
        hypothesis = " ".join(draw.choices(vocabulary, k=draw.randint(0, 12)))
        errors = word_errors(reference, hypothesis)
        theirs = jiwer.process_words(reference, hypothesis)
        assert errors.edits == theirs.substitutions + theirs.deletions + theirs.insertions
        assert errors.hits >= theirs.hits
        assert errors.rate == pytest.approx(theirs.wer)
        assert char_errors(reference, hypothesis).rate == pytest.approx(jiwer.cer(reference, hypothesis))
        kinds = [op.kind for op in align(reference.split(), hypothesis.split())]
        assert kinds.count("hit") == errors.hits
        assert len(kinds) - kinds.count("hit") == errors.edits
        total += errors
        references.append(reference)
        hypotheses.append(hypothesis)
    assert total.rate == pytest.approx(jiwer.wer(references, hypotheses))


def sclite(reference: list[str], hypothesis: list[str]) -> list[tuple[str, int | None, int | None]]:
    """NIST's alignment as it is defined: costs of 4, 3 and 3, and ties as its dynamic program breaks them."""
    cost: dict[tuple[int, int], float] = {(0, 0): 0}
    step: dict[tuple[int, int], str] = {}
    for i in range(len(reference) + 1):
        for j in range(len(hypothesis) + 1):
            if i or j:
                wrong = i and j and reference[i - 1] != hypothesis[j - 1]
                pair = cost[i - 1, j - 1] + 4 * wrong if i and j else float("inf")
                deletion = cost[i - 1, j] + 3 if i else float("inf")
                insertion = cost[i, j - 1] + 3 if j else float("inf")
                cost[i, j] = min(pair, deletion, insertion)
                first = "substitution" if wrong else "hit"
                step[i, j] = first if pair == cost[i, j] else "deletion" if deletion < insertion else "insertion"
    ops, i, j = [], len(reference), len(hypothesis)
    while i or j:
        kind = step[i, j]
        i, j = i - (kind != "insertion"), j - (kind != "deletion")
        ops.append((kind, None if kind == "insertion" else i, None if kind == "deletion" else j))
    return ops[::-1]


def test_ties_are_broken_as_sclite_breaks_them() -> None:
    draw = random.Random(0)
    compared = 0
    for _ in range(600):
        words = "abcdef"[: draw.randint(1, 6)]
        reference = draw.choices(words, k=draw.randint(0, 12))
        hypothesis = [draw.choice(words) if draw.random() < 0.3 else one for one in reference if draw.random() < 0.85]
        hypothesis = hypothesis if draw.random() < 0.5 else draw.choices(words, k=draw.randint(0, 12))
        ours, theirs = align(reference, hypothesis), sclite(reference, hypothesis)
        errors = count_errors(reference, hypothesis)
        counted = (errors.substitutions, errors.deletions, errors.insertions, errors.hits)
        kinds = [op.kind for op in ours]
        assert counted == tuple(map(kinds.count, ("substitution", "deletion", "insertion", "hit")))
        if sum(kind != "hit" for kind, _, _ in theirs) == errors.edits:
            assert [(op.kind, op.ref, op.hyp) for op in ours] == theirs
            compared += 1
    assert compared > 590


def test_the_fewest_edits_count_where_sclites_costs_prefer_more() -> None:
    reference, hypothesis = list("abcdexyz"), list("xyzabcde")
    assert [op.kind for op in align(reference, hypothesis)].count("hit") == 5
    assert count_errors(reference, hypothesis).edits == 6
    assert count_errors(list("ababa"), list("babab")) == Errors(deletions=1, insertions=1, hits=4)


def test_counting_units_of_any_kind() -> None:
    assert count_errors(["new york", "x"], ["new york"]) == Errors(deletions=1, hits=1)


def corpus() -> list[Row]:
    return [
        measured("right", "One two three four", "one, two three four", seconds=2.0, language="en"),
        measured("worst", "five six", "nine", seconds=1.0, language="en"),
        measured("longer", "a b c d", "a b c d e", seconds=1.5, language="en"),
        measured("silent", "", "", seconds=0.5, language="en"),
    ]


def test_a_row_holds_both_texts_and_their_counts() -> None:
    assert measured("w", "Five six!", "nine", seconds=1.0, speaker="jo", language="en") == {
        "id": "w",
        "ref_text": "Five six!",
        "pred_text": "nine",
        "ref_clean": "five six",
        "pred_clean": "nine",
        "wer_errors": 2,
        "cer_errors": 6,
        "ref_words": 2,
        "ref_chars": 8,
        "sub": 1,
        "del": 1,
        "ins": 0,
        "seconds": 1.0,
        "speaker": "jo",
        "language": "en",
        "rules": "English",
        "task": "asr",
        "truncated": False,
    }


def test_rates_of_a_corpus_are_sums_over_sums() -> None:
    # 10 reference words: 1 substitution, 1 deletion, 1 insertion
    summary = summarized(corpus())
    assert (summary["n"], summary["ref_words"], summary["edits"], summary["insertions"]) == (4, 10, 3, 1)
    assert (summary["wer"], summary["sub"], summary["del"], summary["ins"]) == (0.3, 0.1, 0.1, 0.1)
    # characters: "five six" against "nine" costs 6, " e" costs 2; 18 + 8 + 7 in the references
    assert summary["cer"] == pytest.approx(8 / 33)
    assert summary["empty_outputs"] == 0
    assert summary["seconds"] == 5.0
    low, high = summary["ci"]
    assert 0 <= low <= 0.3 <= high <= 1
    assert summary["ci_unit"] == "utterance"


def test_an_empty_output_is_counted_only_where_something_was_said() -> None:
    rows = [measured("a", "hello", "..."), measured("b", "", ""), measured("c", "hello", "hello")]
    assert summarized(rows)["empty_outputs"] == 1


def test_what_is_missing_or_made_up_has_its_share() -> None:
    rows = [
        measured("cut", "one two three", "one two", truncated=True),
        measured("empty", "hello", "..."),
        measured("silent", "", ""),
        measured("dreamed", "...", "thank you"),
        measured("also dreamed", "", "bye"),
    ]
    summary = summarized(rows)
    assert (summary["empty_outputs"], summary["empty_share"]) == (1, 1 / 2)
    assert (summary["truncated_outputs"], summary["truncated_share"]) == (1, 1 / 5)
    assert (summary["non_speech"], summary["hallucination_rate"]) == (3, pytest.approx(2 / 3))
    spoken = summarized(rows[:2])
    assert (spoken["non_speech"], spoken["hallucination_rate"]) == (0, None)
    assert summarized(rows[2:])["empty_share"] is None


def test_speakers_are_resampled_once_there_are_ten() -> None:
    def of(speakers: int) -> dict:
        return summarized([measured(str(i), "a b", "a", speaker=str(i % speakers)) for i in range(30)])

    assert of(9)["ci_unit"] == "utterance"
    assert of(10)["ci_unit"] == "speaker"


def test_without_reference_words_there_is_no_rate_but_insertions_show() -> None:
    summary = summarized([measured("a", "", "hello there"), measured("b", "", "")])
    assert [summary[rate] for rate in ("wer", "cer", "sub", "del", "ins", "ci")] == [None] * 6
    assert (summary["insertions"], summary["n"], summary["ref_words"]) == (2, 2, 0)


def test_one_utterance_has_no_interval() -> None:
    summary = summarized([measured("a", "x y", "x")])
    assert (summary["wer"], summary["ci"]) == (0.5, None)


def test_no_utterances_is_an_error() -> None:
    with pytest.raises(DataError, match="there are no utterances to score: the evaluation set is empty"):
        summarized([])


def test_rows_come_worst_first() -> None:
    rows = corpus()
    assert [row["id"] for row in worst_first(rows)] == ["worst", "longer", "right", "silent"]
    near, far = measured("z", "abcd", "abce"), measured("a", "abcd", "wxyz")
    assert [row["id"] for row in worst_first([near, far])] == ["a", "z"]


def classified(pairs: str) -> list[Row]:
    """ "yes>no" is a clip of class yes that was taken for no."""
    answers = [pair.split(">") for pair in pairs.split()]
    return [measured(str(i), ref, pred, task="classify") for i, (ref, pred) in enumerate(answers)]


def test_classification_has_an_accuracy_an_f1_and_a_confusion_by_hand():
    summary = summarized(classified("yes>Yes yes>no yes>yes no>no up>yes up>maybe"))
    assert summary["accuracy"] == pytest.approx(3 / 6)
    # yes: TP 2, FP 1, FN 1; no: TP 1, FP 1, FN 0; up: TP 0, FP 0, FN 2
    assert summary["macro_f1"] == pytest.approx((4 / 6 + 2 / 3 + 0) / 3)
    assert summary["confusion"] == {"no": {"no": 1}, "up": {"yes": 1, "(other)": 1}, "yes": {"yes": 2, "no": 1}}
    assert confusions(summary["confusion"]) == [("up", "(other)", 1), ("up", "yes", 1), ("yes", "no", 1)]
    assert (summary["n"], summary["errors"]) == (6, 3)
    assert "wer" not in summary
    assert main_column(summary).key == "accuracy"


def test_the_interval_of_an_accuracy_is_that_of_its_errors():
    rows = classified("yes>yes " * 30 + "no>yes " * 10)
    low, high = summarized(rows)["ci"]
    errors_low, errors_high = bootstrap_ci([row["wer_errors"] for row in rows], [1] * 40)
    assert (low, high) == pytest.approx((1 - errors_high, 1 - errors_low))
    assert low < 0.75 < high


def test_an_answer_of_several_words_is_right_or_wrong_as_a_whole():
    rows = [
        measured("a", "turn left", "turn right", task="classify"),
        measured("b", "4 apples", "4 apples.", task="text"),
    ]
    assert [(row["wer_errors"], row["ref_words"]) for row in rows] == [(1, 1), (0, 1)]
    assert summarized(rows[1:])["accuracy"] == 1.0
    assert "macro_f1" not in summarized(rows[1:])
