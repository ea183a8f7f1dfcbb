import json
from dataclasses import replace

import numpy as np
import pytest
from planned_actions import action, gained

from harness.cascade import CASCADE, compare, make_cell, run_cascade, score_of
from harness.options import Settings
from harness.recommendwords import describe_tried
from harness.store.gains import (
    Done,
    Gained,
    append_gains,
    find_open,
    past_gains,
    read_gains,
    settle_gains,
)
from harness.store.record import Record
from ml.core.contracts import (
    DataSummary,
    ReplicateResult,
    SampleInfo,
    Timings,
    TrainResult,
)
from ml.core.errors import DataInvalid, MatrixError
from ml.core.recommendations import (
    Plan,
    rank_actions,
)
from ml.health.cells import Cells, Sampled
from ml.health.staging import (
    part_reference,
    settle_target,
)

pytestmark = pytest.mark.unit


def record(cell, score, outcome="ok"):
    replicate = ReplicateResult(
        index=0,
        split_sha256="",
        train_rows=10,
        validation_rows=0,
        test_rows=10,
        features=1,
        metrics={"r2": score},
        baseline={"r2": 0.0},
    )
    result = TrainResult(
        id=cell.id,
        framework="sklearn",
        data=DataSummary(
            id="t",
            task="regression",
            content_sha256="",
            numeric=1,
            categorical=0,
            classes=(),
            sample=SampleInfo(method="all", rows=20, rows_total=20, rows_sha256=""),
        ),
        metric="rmse",
        greater_is_better=False,
        replicates=(replicate,),
        parameters=1,
        timings=Timings(),
        rows_per_second=1.0,
        peak_memory_bytes=1,
        artifact_bytes=1,
        versions={},
        threads=1,
    )
    return Record(
        run="r",
        cell=cell.id,
        dataset=cell.dataset,
        algorithm=cell.algorithm,
        framework=cell.framework,
        mode="train",
        task="regression",
        outcome=outcome,
        reason="planted" if outcome != "ok" else "",
        started="",
        seconds=1.0,
        limit_seconds=1.0,
        request=cell.to_request().model_dump(mode="json"),
        result=result if outcome == "ok" else None,
    )


@pytest.fixture
def settings(tmp_path):
    return Settings(
        root=tmp_path,
        data=(),
        reports=tmp_path,
        require=(),
        rows=100,
        replicates=1,
        seconds=1.0,
        timeout=1.0,
        strict_tracks=False,
    )


def plan_of(*actions):
    names = ["", *(one.name for one in actions)]
    return Plan(
        verdict="differs",
        score=10.0,
        rows=100,
        target="y",
        task="regression",
        actions=actions,
        tables={name: f"/t/{name or 'as_it_is'}.toml" for name in names},
    )


def test_larger_proxies_see_the_better_half_and_a_failed_one_is_a_reason(settings):
    names = ["rescale", "winsorise", "add_reference", "drop_copies"]
    plan = plan_of(*(action(name) for name in names))
    scores = {"as_it_is": 0.1, "rescale": 0.7, "winsorise": 0.5, "add_reference": 0.3}
    asked = []

    def run(cell):
        asked.append((cell.dataset, cell.algorithm, cell.seed))
        crashed = cell.dataset == "drop_copies"
        return record(cell, scores.get(cell.dataset, 0.0), "crashed" if crashed else "ok")

    tried = run_cascade(plan, CASCADE, settings, run, {}, lambda *_: None)
    assert [name for name, algorithm, _ in asked if algorithm == "linear"] == ["as_it_is", *names]
    assert [n for n, a, _ in asked if a == "random_forest"] == ["as_it_is", "rescale", "winsorise"]
    assert [n for n, a, _ in asked if a == "mlp"] == ["as_it_is", "rescale"]
    assert len({seed for *_, seed in asked}) == 1
    assert [one.action for one in tried.recommendations] == [
        "rescale",
        "winsorise",
        "add_reference",
        "drop_copies",
    ]
    assert tried.recommendations[0].gain == pytest.approx(0.6 * 3 / 4)
    last = tried.recommendations[-1]
    assert last.gain is None
    assert last.proxies[0].reason == "crashed: planted"
    assert tried.scores == {proxy.name: 0.1 for proxy in CASCADE}
    lines = describe_tried(plan, tried.recommendations, [])
    assert "rescale" in lines[1]
    assert "worth" not in " ".join(lines)
    little = rank_actions(plan.actions, 100, {"rescale": gained(0.002)})
    assert describe_tried(plan, little, [])[-1].startswith("no action gains 0.005")


def test_a_candidate_that_cannot_be_trained_on_is_worth_a_dummy_and_a_crash_nothing(settings):
    plan = plan_of(action("rescale"))
    before, after = (make_cell(plan, name, CASCADE[0], settings) for name in ("", "rescale"))
    invalid = compare(CASCADE[0], record(before, 0, "data_invalid"), record(after, 0.4))
    assert (invalid.before, invalid.gain) == (0.0, 0.4)
    assert "a dummy stands in its place" in invalid.reason
    crashed = compare(CASCADE[0], record(before, 0, "crashed"), record(after, 0.4))
    assert crashed.gain is None
    assert crashed.reason == "as it is: crashed, planted"
    assert score_of(record(after, -500.0)) == -1.0


def done(name="rescale:price", at="2026-01-01", before=0.2):
    return Done(
        action=name,
        candidate="/c",
        reference="/r",
        target="y",
        at=at,
        score=10.0,
        before={"linear": before},
        test_sha256="t",
    )


def test_what_was_gained_is_kept_read_back_and_counts_next_time(tmp_path):
    path = tmp_path / "deep" / "gains.jsonl"
    assert read_gains(path) == ([], [])
    append_gains(path, [done()])
    with path.open("a") as stream:
        stream.write('{"kind":"done","act')
    append_gains(path, [done("drop_repeated", "2026-01-02")])
    with path.open("a") as stream:
        stream.write(json.dumps(done("sing").model_dump()) + "\n")
    lines, damage = read_gains(path)
    assert [line.action for line in lines] == ["rescale:price", "drop_repeated"]
    assert ["line 2" in damage[0], "line 4: there is no action 'sing'" in damage[1]] == [True, True]
    waiting = find_open(lines, "/c", "/r", "y")
    assert [one.action for one in waiting] == ["rescale:price", "drop_repeated"]
    assert find_open(lines, "/other", "/r", "y") == []
    assert settle_gains(waiting, 10.0, {"linear": 0.2}, "t", "now") == []
    settled = settle_gains(waiting, 70.0, {"linear": 0.6, "mlp": 0.9}, "t", "now")
    assert [(one.gain, one.lift) for one in settled] == 2 * [(pytest.approx(0.2), 30.0)]
    assert settle_gains(waiting, 70.0, {"linear": 0.6}, "other rows", "now")[0].gain is None
    append_gains(path, settled)
    lines, _ = read_gains(path)
    assert find_open(lines, "/c", "/r", "y") == []
    assert past_gains(lines, lifts=False) == {
        "rescale": [pytest.approx(0.2)],
        "drop_repeated": [pytest.approx(0.2)],
    }
    assert past_gains(lines, lifts=True)["rescale"] == [0.3]
    assert isinstance(lines[-1], Gained)


def test_a_file_of_gains_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(MatrixError, match="cannot be written"):
        append_gains(tmp_path / "file" / "gains.jsonl", [done()])


def sampled(hashes, groups=None):
    hashes = np.asarray(hashes, dtype=np.uint64)
    cells = Cells({"row": hashes.astype(np.float64)}, len(hashes))
    groups = hashes if groups is None else np.asarray(groups, dtype=np.uint64)
    return Sampled(cells, np.arange(len(hashes)), hashes, groups)


def test_rows_that_are_tested_are_neither_added_nor_known_to_the_candidate():
    reference, candidate = sampled([*range(1000), *range(1000)]), sampled(range(500))
    donors, test = (
        set(part.columns["row"])
        for part in part_reference(reference, candidate, grouped=False, seed=0)
    )
    assert not donors & test
    assert min(test) >= 500
    assert 200 < len(test) < 300
    assert 400 < len(donors) < 600
    groups = np.arange(1000) // 10
    parts = part_reference(sampled(range(1000), groups), sampled([]), grouped=True, seed=0)
    named = [set(part.columns["row"].astype(int) // 10) for part in parts]
    assert not named[0] & named[1]
    assert sum(map(len, named)) == 100


def test_a_target_says_its_task():
    columns = {
        "label": np.array(["a", None, "b"], dtype=object),
        "count": np.array([0.0, 1.0, np.nan]),
        "price": np.array([0.5, 1.0, np.nan]),
    }
    assert [settle_target(columns, name, None) for name in columns] == [
        "classification",
        "classification",
        "regression",
    ]
    assert settle_target(columns, "count", "regression") == "regression"
    with pytest.raises(DataInvalid, match="holds words"):
        settle_target(columns, "label", "regression")
    with pytest.raises(DataInvalid, match="no column 'size' to predict"):
        settle_target(columns, "size", None)


def test_cells_of_versions_of_a_table_share_a_seed_and_others_do_not(settings):
    plan = plan_of(action("rescale"))
    cells = [make_cell(plan, name, CASCADE[0], settings) for name in ("", "rescale")]
    assert cells[0].dataset != cells[1].dataset
    assert cells[0].seed == cells[1].seed
    assert replace(cells[0], seeded_as=None).seed != cells[0].seed
