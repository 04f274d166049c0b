"""What the dashboard reads of run folders: quickly, once, and whatever state they are in."""

import csv
import io
import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from antiphon.config import load_config
from antiphon.dashboard.charts import sections
from antiphon.dashboard.draw import options
from antiphon.dashboard.export import to_csv
from antiphon.dashboard.pages.runs import PER_PAGE, Wanted, paged
from antiphon.dashboard.read import runs
from antiphon.dashboard.read.cache import Cached
from antiphon.dashboard.read.curves import Curves, interval, short, thin, trailing_mean
from antiphon.dashboard.read.recipes import default_recipe, differences, read_recipe
from antiphon.dashboard.read.runs import Row, find, list_rows, read_row
from antiphon.dashboard.read.tables import read_table
from antiphon.errors import RunError
from antiphon.runs import RunFolder
from antiphon.runs.atomic import write_json, write_text
from antiphon.runs.lines import append
from antiphon.runs.status import Status


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> RunFolder:
    """A run of four steps and two evaluations, as training writes it."""
    root = tmp_path_factory.mktemp("written")
    run = RunFolder.create(load_config(None, [f"output={root}/runs", "train.steps=8", "algorithm=dapo"]), ["antiphon"])
    for step in (1, 2, 3, 4):
        run.log_metrics(step, {"reward_mean": -1 / step, "reward/wer": 1 / step, "samples": 32, "audio_seconds": 10.0})
        run.log_timings(step, {"rollout": 900.0, "step_seconds": 1800.0})
    rows = [{"id": "u1"}]
    run.save_eval("noisy", 0, {"wer": 0.5, "ci": [0.4, 0.6], "n": 1}, rows)
    run.save_eval("noisy", 4, {"wer": 0.25, "ci": [0.2, 0.3], "n": 1}, rows)
    run.update("running", 4)
    return run


@pytest.fixture
def run(written, tmp_path) -> Path:
    """A copy to be changed."""
    return Path(shutil.copytree(written.path, tmp_path / "runs" / written.id))


def test_a_row_says_what_a_run_does_and_what_it_measured(run):
    (row,) = list_rows(run.parent)
    assert (row.id, row.state, row.step, row.steps) == (run.name, "running", 4, 8)
    assert (row.model, row.algorithm) == ("builtin:student", "dapo")
    assert row.measure is not None
    assert (row.measure.key, row.best, row.last, row.reward) == ("wer", 0.25, 0.25, -0.25)
    assert row.damage == ()
    assert row.live


def test_folders_that_are_no_runs_are_left_out(run):
    (run.parent / "evals").mkdir()
    (run.parent / ".hidden").mkdir()
    shutil.copy(run / "status.json", run.parent / ".hidden")
    (run.parent / "notes.txt").write_text("none")
    assert [row.id for row in list_rows(run.parent)] == [run.name]
    assert list_rows(run.parent / "nowhere") == []


def test_a_run_whose_process_is_gone_was_killed(run):
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    set_status(run, pid=ended.pid)
    assert read_row(run).state == "killed"


@pytest.mark.parametrize("where", [{}, {"host": "another-machine"}], ids=["here", "elsewhere"])
def test_a_run_that_gives_no_sign_of_life_is_stale(run, where):
    set_status(run, **where)
    assert read_row(run).state == "running"
    age(run, runs.STALE_AFTER + 60)
    assert read_row(run).state == "stale"
    (run / "log.txt").write_text("still here\n")
    assert read_row(run).state == "running"


def test_only_running_runs_get_stale(run):
    set_status(run, state="finished")
    age(run, runs.STALE_AFTER + 60)
    assert read_row(run).state == "finished"


DEEP = b"[" * 100_000
DAMAGE = {
    "torn status": ("status.json", b'{"state": "runn'),
    "status is a list": ("status.json", b"[1, 2]"),
    "status is junk": ("status.json", bytes(range(256)) * 40),
    "status is deep": ("status.json", DEEP),
    "status lacks its steps": ("status.json", b'{"state": "running", "step": 3}'),
    "step is text": ("status.json", b'{"state": "running", "step": "3", "steps": 8, "started": "2026"}'),
    "state is unknown": ("status.json", b'{"state": "resting", "step": 3, "steps": 8, "started": "2026"}'),
    "state is a list": ("status.json", b'{"state": [], "step": 3, "steps": 8, "started": "2026"}'),
    "no such process": ("status.json", b'{"state": "running", "step": 3, "steps": 8, "started": "2026", "pid": 1e99}'),
    "status is gone": ("status.json", None),
    "recipe is gone": ("config.yaml", None),
    "recipe is junk": ("config.yaml", bytes(range(256)) * 40),
    "recipe is deep": ("config.yaml", b"model: " + DEEP),
    "recipe is torn": ("config.yaml", b"model: builtin:student\nalgorithm: {name: gr"),
    "recipe is a list": ("config.yaml", b"- model\n- algorithm\n"),
    "recipe lacks the algorithm": ("config.yaml", b"model: builtin:student\n"),
    "metrics are junk": ("metrics.jsonl", bytes(range(256)) * 40),
    "metrics are text": ("metrics.jsonl", b"step 1\nstep 2\n"),
    "metrics are deep": ("metrics.jsonl", DEEP + b"\n"),
    "summary is torn": ("evals/step-000004-noisy/summary.json", b'{"set": "noisy", "st'),
    "summary's set is no text": (
        "evals/step-000004-noisy/summary.json",
        b'{"set": "\\ud800", "step": 4, "wer": 0.2, "ci": null}',
    ),
    "summary's step is endless": ("evals/step-000004-noisy/summary.json", b'{"set": "a", "step": 1e999, "wer": 0.2}'),
    "summary's step is huge": (
        "evals/step-000004-noisy/summary.json",
        b'{"set": "a", "step": ' + b"9" * 400 + b', "wer": 0.2}',
    ),
    "summary's rate is huge": (
        "evals/step-000004-noisy/summary.json",
        b'{"set": "a", "step": 4, "wer": ' + b"9" * 400 + b"}",
    ),
    "summary is deep": ("evals/step-000004-noisy/summary.json", DEEP),
    "summary is gone": ("evals/step-000004-noisy/summary.json", None),
    "summary's rate is text": (
        "evals/step-000004-noisy/summary.json",
        b'{"set": "noisy", "step": 4, "wer": "low", "ci": ["a", "b"]}',
    ),
}


@pytest.mark.parametrize(("name", "content"), DAMAGE.values(), ids=DAMAGE.keys())
def test_damage_is_named_and_hides_nothing_else(run, name, content):
    whole = read_row(run)
    damage(run / name, content)
    row = read_row(run)
    (said,) = row.damage
    assert Path(name).parts[0] in said
    assert "cannot be read: " in said
    if name != "status.json":
        assert (row.state, row.started) == (whole.state, whole.started)
    else:
        assert (row.state, row.step) == ("damaged", 4), "the step is known from the metrics"
    if name != "config.yaml":
        assert row.algorithm == "dapo"
    draw(run)


@pytest.mark.parametrize("name", ["metrics.jsonl", "timings.jsonl", "gate.jsonl", "guard.jsonl"])
@pytest.mark.parametrize(
    "content",
    [
        b"",
        b'{"step": 1, "loss": 2.0}\n{"step": 2, "lo',
        b'{"step": 1, "loss": "low", "lr": null, "grad_norm": true, "kl_old": [1]}\n',
        b'{"step": 1, "loss": 1e999, "reward_mean": NaN, "lr": ' + b"9" * 400 + b"}\n",
        b'{"step": "one"}\n{"step": -1}\n{"step": ' + b"9" * 40 + b"}\n[]\n7\n",
        b'{"step": 3, "difference_max": 0}\n{"step": 1, "difference_max": 1.0}\n{"step": 1, "step_seconds": -1}\n',
        bytes(range(256)) * 40,
    ],
)
def test_lines_of_any_kind_are_drawn_as_far_as_they_can_be(run, name, content):
    damage(run / name, content)
    read_row(run)
    draw(run)


def test_text_that_no_page_can_hold_is_replaced(run):
    """JSON can name half a character, and a folder's name need not be text; NiceGUI's pages are UTF-8."""
    status = json.loads((run / "status.json").read_bytes())
    (run / "status.json").write_text(json.dumps({**status, "error": "\ud800", "host": "\udfff"}))
    write_text(run / "config.yaml", 'model: "\\ud800"\nalgorithm: {name: grpo}\n')
    (run / "metrics.jsonl").write_bytes(b'{"step": 1, "\\ud800": 2.0, "reward/\\udc00": 1.0}\n')
    unnamed = run.rename(run.parent / os.fsdecode(b"\xff"))
    assert list_rows(run.parent) == []
    unnamed.rename(run)
    (row,) = list_rows(run.parent)
    assert (row.model, row.why, row.host) == ("?", "?", "?")
    assert read_recipe(run / "config.yaml")["model"] == "?"
    assert set(read_table(run / "metrics.jsonl").columns) == {"?", "reward/?"}
    draw(run)


def test_what_a_torn_line_or_a_first_line_leaves_is_no_damage(run):
    with (run / "metrics.jsonl").open("ab") as file:
        file.write(b'{"step": 5, "rew')
    assert read_row(run).damage == ()
    assert read_row(run).reward == -0.25
    assert read_table(run / "metrics.jsonl").damage is None
    (run / "metrics.jsonl").write_bytes(b'{"step": 1')
    assert read_row(run).damage == ()


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../other", "a/b", "..\\other", "/etc", "%2e%2e", "run\0", ".hidden", "no such run"]
)
def test_names_that_lead_elsewhere_find_nothing(run, name):
    other = run.parent.parent / "other"
    shutil.copytree(run, other)
    shutil.copytree(run, run.parent / ".hidden")
    with pytest.raises(RunError, match="there is no run"):
        find(run.parent, name)
    assert find(run.parent, run.name) == run


def test_a_table_reads_on_and_starts_over_for_another_file(run):
    path = run / "metrics.jsonl"
    assert read_table(path).steps.tolist() == [1, 2, 3, 4]
    assert read_table(path) is read_table(path)
    with path.open("a") as file:
        file.write('{"step": 5, "reward_mean": 1.0, "new": 3}\n{"step": 6')
    table = read_table(path)
    assert table.steps.tolist() == [1, 2, 3, 4, 5]
    assert table.column("reward_mean").tolist() == [-1, -1 / 2, -1 / 3, -1 / 4, 1]
    assert np.isnan(table.column("new")).tolist() == [True] * 4 + [False]
    with path.open("a") as file:
        file.write(', "reward_mean": 2.0}\n')
    assert read_table(path).column("reward_mean")[-1] == 2.0
    write_text(path, '{"step": 1, "reward_mean": 9.0}\n' * 20)
    assert read_table(path).column("reward_mean").tolist() == [9.0] * 20
    path.unlink()
    assert read_table(path).steps.size == 0


def test_damaged_lines_are_counted_and_the_first_is_named(run):
    path = run / "metrics.jsonl"
    with path.open("ab") as file:
        file.write(b'\xff\xfe\n{"step": 6}\n{"loss": 1}\n')
    assert read_table(path).steps.tolist() == [1, 2, 3, 4, 6]
    assert read_table(path).damage == (
        "metrics.jsonl, line 5 is skipped: it is not a JSON object with a step, and 1 more"
    )


def test_the_axes_are_steps_seconds_and_samples(run):
    curves = Curves.of(run)
    rewards = [-1.0, -0.5, -0.333333, -0.25]
    assert curves.line(curves.metrics, "reward_mean", "step") == [
        list(at) for at in zip([1, 2, 3, 4], rewards, strict=True)
    ]
    assert [x for x, _ in curves.line(curves.metrics, "reward_mean", "time")] == [1800, 3600, 5400, 7200]
    assert [x for x, _ in curves.line(curves.metrics, "reward_mean", "samples")] == [32, 64, 96, 128]
    assert curves.measured("noisy", "wer", "time").x == [0.0, 7200.0], "an evaluation before the first step is at 0"
    assert curves.measured("noisy", "wer", "step").low == [0.4, 0.2]
    assert curves.line(curves.timings, "audio_speed", "step") == [[step, 0.00555556] for step in (1, 2, 3, 4)]
    assert (curves.end("step"), curves.end("time"), curves.end("samples")) == (4, 7200.0, 128)


def test_without_the_figures_there_is_no_axis(run):
    (run / "timings.jsonl").unlink()
    curves = Curves.of(run)
    assert curves.has("step")
    assert curves.has("samples")
    assert not curves.has("time")
    assert curves.line(curves.metrics, "reward_mean", "time") == []


@pytest.mark.parametrize("odd", ["null", "NaN", "1e999"])
def test_a_figure_that_is_null_is_a_gap(run, odd):
    lines = "".join(f'{{"step": {step}, "loss": {odd if step in (3, 4) else step}}}\n' for step in range(1, 7))
    (run / "metrics.jsonl").write_text(lines)
    curves = Curves.of(run)
    assert curves.line(curves.metrics, "loss", "step") == [[1, 1], [2, 2], [2, None], [5, 5], [6, 6]]
    assert curves.line(curves.metrics, "loss", "step", 2)[-2:] == [[5, 3.5], [6, 5.5]], "means are of figures alone"


def test_steps_that_say_nothing_of_a_metric_are_no_gap_in_it(run):
    (run / "metrics.jsonl").write_text('{"step": 1, "loss": 1}\n{"step": 2}\n{"step": 3, "loss": null}\n{"step": 4}\n')
    curves = Curves.of(run)
    assert curves.line(curves.metrics, "loss", "step") == [[1, 1]]
    (run / "metrics.jsonl").write_text('{"step": 1, "loss": 1}\n{"step": 2}\n{"step": 3, "loss": 3}\n')
    curves = Curves.of(run)
    assert curves.line(curves.metrics, "loss", "step") == [[1, 1], [3, 3]]


def test_gaps_survive_thinning_and_lone_points_are_drawn(run):
    write_text(
        run / "metrics.jsonl",
        "".join(json.dumps({"step": n, "loss": None if 400 <= n < 420 else n % 7}) + "\n" for n in range(1, 2001)),
    )
    curves = Curves.of(run)
    line = curves.line(curves.metrics, "loss", "step", most=200)
    assert sum(y is None for _, y in line) == 1
    assert all(x < 400 or x >= 420 for x, y in line if y is not None)
    lines = ({"step": n, "loss": None if n % 2 else n} for n in range(1, 6))
    (run / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (chart,) = (one for charts in sections([Curves.of(run)]).values() for one in charts if one.title == "Loss")
    drawn = options(chart, [("run", Curves.of(run))], "step", 1)["series"]
    assert [json.loads(one[":data"]) for one in drawn if one["type"] == "scatter"] == [[[2, 2], [4, 4]]]


@pytest.mark.parametrize(("seconds", "end", "unit"), [(10, 40, "s"), (100, 400 / 60, "min"), (3600, 4, "h")])
def test_time_is_counted_in_a_unit_that_fits(run, seconds, end, unit):
    lines = (json.dumps({"step": step, "step_seconds": seconds}) + "\n" for step in (1, 2, 3, 4))
    (run / "timings.jsonl").write_text("".join(lines))
    (chart,) = (one for charts in sections([Curves.of(run)]).values() for one in charts if one.title == "Reward")
    drawn = options(chart, [("run", Curves.of(run))], "time", 1)
    assert drawn["xAxis"]["max"] == pytest.approx(end)
    assert drawn["xAxis"]["axisLabel"][":formatter"].endswith(f"' {unit}'")
    assert json.loads(drawn["series"][0][":data"])[-1][0] == pytest.approx(end)


@pytest.mark.parametrize(
    ("values", "kind", "shown"),
    [([1, 10, 100], "log", [1, 10, 100]), ([0, 10, 100], "log", [None, 10, 100]), ([-1, 2, 3], "value", [-1, 2, 3])],
)
def test_a_logarithmic_axis_is_for_values_that_are_not_negative(run, values, kind, shown):
    (run / "metrics.jsonl").write_text(
        "".join(json.dumps({"step": step, "loss": y}) + "\n" for step, y in enumerate(values, 1))
    )
    (chart,) = (one for charts in sections([Curves.of(run)]).values() for one in charts if one.title == "Loss")
    drawn = options(chart, [("run", Curves.of(run))], "step", 1, log=True)
    assert drawn["yAxis"]["type"] == kind
    assert [y for _, y in json.loads(drawn["series"][0][":data"])] == shown


def test_a_chart_is_written_as_csv_with_all_its_values(run):
    curves = Curves.of(run)
    charts = {chart.title: chart for found in sections([curves]).values() for chart in found}
    written = list(csv.DictReader(io.StringIO(to_csv(charts["Reward"], [("a, b", curves), ("c", curves)]))))
    assert [(row["run"], row["step"]) for row in written] == [
        (run, str(n)) for run in ("a, b", "c") for n in range(1, 5)
    ]
    assert [float(row["value"]) for row in written[:4]] == [-1 / n for n in range(1, 5)], "no digit is lost"
    assert (written[3]["seconds"], written[3]["samples"], written[3]["metric"]) == ("7200.0", "128.0", "reward_mean")
    (first, last) = csv.DictReader(io.StringIO(to_csv(charts["WER on noisy"], [("run", curves)])))
    assert (first["value"], last["value"], last["low"], last["high"]) == ("0.5", "0.25", "0.2", "0.3")
    (run / "metrics.jsonl").write_text('{"step": 1, "reward_mean": null}\n{"step": 2}\n{"step": 3, "reward_mean": 2}\n')
    text = to_csv(charts["Reward"], [("run", Curves.of(run))])
    assert [(row["step"], row["value"]) for row in csv.DictReader(io.StringIO(text))] == [("1", ""), ("3", "2.0")]


def test_smoothing_is_the_mean_of_the_last_values():
    values = np.array([4.0, 2.0, 0.0, 6.0])
    assert trailing_mean(values, 1).tolist() == [4, 2, 0, 6]
    assert trailing_mean(values, 2).tolist() == [4, 3, 1, 3]
    assert trailing_mean(values, 9).tolist() == [4, 3, 2, 3]
    assert trailing_mean(np.empty(0), 5).tolist() == []


@pytest.mark.parametrize("count", [0, 1, 199, 200, 201, 399, 1000, 100_003])
def test_a_thinned_curve_keeps_its_ends_of_scale(count):
    values = np.random.default_rng(count).normal(size=count)
    chosen = thin(values, 200)
    assert len(chosen) <= 200
    assert (np.diff(chosen) > 0).all()
    if count:
        assert values[chosen].max() == values.max()
        assert values[chosen].min() == values.min()
    if count <= 200:
        assert len(chosen) == count


def test_numbers_are_shortened_to_six_digits():
    values = np.array([0.0, 1 / 3, -1 / 3, 1e-12 / 3, 123456789.0, 1e300, -5e-324])
    np.testing.assert_allclose(short(values), values, rtol=5e-6, atol=1e-300)
    assert [repr(value) for value in short(values)[:2].tolist()] == ["0.0", "0.333333"]


def test_an_interval_is_two_numbers_or_none(run):
    before = Curves.of(run).evaluations[0]
    assert interval(before) == (0.4, 0.6)
    for odd in (None, [], [0.1], ["a", "b"], [0.1, None], [0.1, float("inf")], {"low": 0}, 0.3):
        assert interval(replace(before, summary={**before.summary, "ci": odd})) is None


def test_a_file_is_read_again_only_when_it_changed(tmp_path):
    reads: list[Path] = []

    def read(path: Path) -> str:
        reads.append(path)
        return path.read_text()

    cached, paths = Cached(read, keep=2), [tmp_path / name for name in "abc"]
    for path in paths:
        write_text(path, path.name)
    assert [cached(paths[0]), cached(paths[0])] == ["a", "a"]
    assert len(reads) == 1
    write_text(paths[0], "A")
    assert cached(paths[0]) == "A"
    assert [cached(path) for path in paths] == ["A", "b", "c"]
    reads.clear()
    assert [cached(path) for path in reversed(paths)] == ["c", "b", "A"]
    assert reads == [paths[0]], "the one looked at longest ago was dropped"


def test_differences_are_the_settings_that_are_not_the_same(run):
    recipe = read_recipe(run / "config.yaml")
    changed = differences([recipe, default_recipe()])
    assert set(changed) == {"algorithm.name", "train.steps", "output"}
    assert changed["train.steps"] == ["8", "100"]
    assert differences([recipe, recipe]) == {}
    assert differences([{"a": "1"}, {"a": "1", "b": "2"}]) == {"b": [None, "2"]}
    assert differences([]) == {}


def test_every_figure_has_a_chart(run):
    with (run / "metrics.jsonl").open("a") as file:
        file.write('{"step": 5, "reward_mean": 0.5, "kl_old": 1e-9, "reward_dropped": 0.0, "my_own": 4.0}\n')
    charts = sections([Curves.of(run)])
    titles = {head: [chart.title for chart in found] for head, found in charts.items()}
    assert titles["Evaluation and reward"] == ["WER on noisy", "Reward", "Reward part: wer"]
    assert titles["Update"] == ["KL"]
    assert titles["Speed and memory"] == ["Throughput", "Seconds per step"]
    assert titles["Further metrics"] == ["audio_seconds", "my_own", "samples"]
    (kl,) = charts["Update"]
    assert [line.key for line in kl.lines] == ["kl_old"], "lines without a figure are left out"


def test_a_chart_of_several_runs_has_a_line_for_each(run):
    charts = {chart.title: chart for found in sections([Curves.of(run)]).values() for chart in found}
    runs = [("one", Curves.of(run)), ("two", Curves.of(run))]
    drawn = options(charts["Reward"], runs, "step", 2)["series"]
    named = [(one["name"], json.loads(one[":data"])) for one in drawn if not one.get("silent")]
    assert [name for name, _ in named] == ["one", "two"]
    assert named[0][1] == [[1, -1.0], [2, -0.75], [3, -0.416667], [4, -0.291667]]
    raw = [json.loads(one[":data"]) for one in drawn if one.get("silent")]
    assert raw[0][1] == [2, -0.5], "behind the smoothed line is the raw one"
    assert len({one["color"] for one in drawn}) == 2

    append(run / "guard.jsonl", {"step": 4, "worse": 2})
    runs = [("one", Curves.of(run))]
    base, band, line = options(charts["WER on noisy"], runs, "step", 50)["series"]
    assert json.loads(base[":data"]) == [[0, 0.4], [4, 0.2]]
    np.testing.assert_allclose(json.loads(band[":data"]), [[0, 0.2], [4, 0.1]])
    assert json.loads(line[":data"]) == [[0, 0.5, 0.4, 0.6], [4, 0.25, 0.2, 0.3]]
    assert [mark["xAxis"] for mark in line["markLine"]["data"]] == [4], "the guard's alarm"


ROWS = [
    Row("a", "running", step=5, model="builtin:student", algorithm="grpo", reward=0.5, best=0.2),
    Row("b", "failed", step=1, model="builtin:whisper", algorithm="raft", why="out of memory"),
    Row("c", "finished", step=9, model="builtin:student", algorithm="dapo", reward=-0.5, best=0.1),
]


@pytest.mark.parametrize(
    ("wanted", "ids"),
    [
        (Wanted(sort="id", down=False), "abc"),
        (Wanted(sort="step"), "cab"),
        (Wanted(sort="best", down=False), "cab"),
        (Wanted(sort="best", down=True), "acb"),
        (Wanted(q="STUDENT grpo"), "a"),
        (Wanted(q="fail"), "b"),
        (Wanted(q="nothing"), ""),
        (Wanted(model="builtin:student", sort="id"), "ca"),
        (Wanted(state="failed", algorithm="raft"), "b"),
        (Wanted(state="failed", algorithm="grpo"), ""),
    ],
)
def test_the_list_shows_what_its_address_asks_for(wanted, ids):
    """Runs without the figure that is sorted by are last, whichever way."""
    assert "".join(row.id for row in wanted.chosen(ROWS)) == ids


def test_an_address_tells_what_differs_from_the_plain_list():
    assert Wanted().url == "./"
    assert Wanted(q="a b&c", down=False, page=2).url == "./?q=a+b%26c&down=False&page=2"


def test_the_list_has_pages():
    rows = [Row(str(number), "finished") for number in range(PER_PAGE + 1)]
    assert [row.id for row in paged(rows, 2)[2]] == [str(PER_PAGE)]
    assert paged(rows, 99)[:2] == (2, 2), "the last one, where there are not so many"
    assert paged(rows[:PER_PAGE], 1) == (1, 1, rows[:PER_PAGE])
    assert paged([], 1) == (1, 1, [])


def draw(run: Path) -> None:
    """All charts of a run over all axes, as the page does: none may fail, and every number must be one."""
    curves = Curves.of(run)
    for axis in ("step", "time", "samples"):
        for charts in sections([curves]).values():
            drawn = [options(chart, [("run", curves)], axis, 5) for chart in charts]
            json.dumps(drawn, ensure_ascii=False, allow_nan=False).encode()
            points = [json.loads(series[":data"]) for one in drawn for series in one["series"]]
            values = [value for line in points for point in line for value in point if value is not None]
            assert np.isfinite(values).all()


def damage(path: Path, content: bytes | None) -> None:
    """Replaces a file; evaluations are replaced as whole folders, so theirs is touched too."""
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content)
    os.utime(path.parent.parent)


def set_status(run: Path, **changes) -> None:
    found = json.loads((run / "status.json").read_bytes())
    write_json(run / "status.json", {**vars(Status(**found)), "pid": os.getpid(), **changes})


def age(run: Path, seconds: float) -> None:
    for path in run.iterdir():
        os.utime(path, times=(0, path.stat().st_mtime - seconds))
