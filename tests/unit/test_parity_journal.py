"""Append cells of all frameworks to one journal, and see each pair of them compared once."""

import multiprocessing
from itertools import combinations

import pytest
from parity_fixture import append, make_cell, make_trace, make_traced, open_journal

from harness.store.journal import JOURNAL, read_run
from ml.core.contracts import ErrorInfo, Failure

pytestmark = pytest.mark.unit

FRAMEWORKS = ("pytorch", "tensorflow", "jax")
DATASETS = 12


def append_many(folder, frameworks, barrier):
    journal = open_journal(folder)
    barrier.wait()
    for number in range(DATASETS):
        for framework in frameworks:
            cell = make_cell(framework, dataset=f"d{number}")
            # A pause between reading and appending, in which another process would slip in.
            append(journal, cell, make_traced(framework), pause=0.005)


def test_two_processes_compare_each_pair_of_frameworks_exactly_once(tmp_path):
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(2)
    writers = [
        context.Process(target=append_many, args=(tmp_path / "r1", frameworks, barrier))
        for frameworks in (("tensorflow",), ("pytorch", "jax"))
    ]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    found = read_run(tmp_path / "r1")
    assert found.damage == ()
    assert len(found.records) == 3 * DATASETS
    pairs = sorted(
        (record.dataset, *comparison.frameworks)
        for record in found.records
        for comparison in record.comparisons
    )
    assert pairs == sorted(
        (f"d{number}", *pair) for number in range(DATASETS) for pair in combinations(FRAMEWORKS, 2)
    )


def test_the_record_has_the_rungs_of_each_sibling_and_the_verdict(tmp_path):
    journal = open_journal(tmp_path / "r1")
    drifted = make_trace(weights_10=(3.0, 4.00155))
    first = append(journal, make_cell(), make_traced())
    second = append(journal, make_cell("tensorflow"), make_traced("tensorflow", trace=drifted))
    third = append(journal, make_cell("jax"), make_traced("jax"))
    assert (first.comparisons, first.verdicts[-1].status) == ((), "not_applicable")
    assert [c.frameworks for c in second.comparisons] == [("pytorch", "tensorflow")]
    assert {c.other: c.passes for c in third.comparisons} == {first.cell: True, second.cell: False}
    [rung] = [rung for rung in second.comparisons[0].rungs if rung.name == "weights_10"]
    assert rung.difference == pytest.approx(3.1e-4)
    assert rung.limit == 1e-5
    assert second.failed
    assert second.reason == f"in_parity: {second.verdicts[-1].text}"
    assert "drift apart at weights_10" in second.reason
    assert read_run(journal.folder).records == (first, second, third)


def test_a_cell_without_a_result_and_a_torn_line_are_no_siblings(tmp_path):
    journal = open_journal(tmp_path / "r1")
    error = ErrorInfo(code="time_limit", message="late")
    append(journal, make_cell(), Failure(id="d", outcome="timeout", error=error))
    path = journal.folder / JOURNAL
    torn = append(journal, make_cell("jax"), make_traced("jax")).model_dump_json()
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:2]) + torn[:-40])
    record = append(journal, make_cell("tensorflow"), make_traced("tensorflow"))
    assert record.comparisons == ()
    assert journal.find("d-mlp-jax-train") is None
    assert [r.outcome for r in read_run(journal.folder).records] == ["timeout", "ok"]
