import pytest

from ml.core.contracts import Trial
from ml.core.errors import DataInvalid, RequestInvalid
from ml.core.trial_journal import TrialJournal, hash_facts

pytestmark = pytest.mark.unit

FIRST = Trial(index=0, settings={"hidden": (4, 2), "rate": 1.0}, outcome="ok", value=0.1 + 0.2)
THIRD = Trial(index=2, settings={"hidden": (), "rate": True}, outcome="error", reason="why")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "made" / "trials.jsonl"


def write(path, *trials, request="abc"):
    journal = TrialJournal(str(path), request)
    for number, trial in enumerate(trials, start=1):
        journal.append(trial, 1.5 * number)
    journal.close()


def read(path, request="abc"):
    journal = TrialJournal(str(path), request)
    journal.close()
    return journal


def test_trials_come_back_value_for_value(path):
    write(path, THIRD, FIRST)
    journal = read(path)
    assert journal.trials == {0: FIRST, 2: THIRD}
    assert type(journal.trials[0].settings["rate"]) is float
    assert journal.trials[2].settings["rate"] is True
    assert journal.elapsed == 3.0
    head, *lines = path.read_text().splitlines()
    assert '"request":"abc"' in head
    assert len(lines) == 2


def test_a_torn_last_line_is_removed_and_the_rest_kept(path):
    write(path, FIRST, THIRD)
    whole = path.read_bytes()
    for cut in (len(whole) - 1, len(whole) - 20):
        path.write_bytes(whole[:cut])
        assert read(path).trials == {0: FIRST}
        assert path.read_bytes() == whole[: whole.index(b"\n", whole.index(b"\n") + 1) + 1]
    path.write_bytes(whole[:10])
    assert read(path).trials == {}
    write(path, FIRST)
    assert read(path).trials == {0: FIRST}


def test_a_journal_of_another_request_is_refused_and_left_as_it_is(path):
    write(path, FIRST)
    before = path.read_bytes()
    with pytest.raises(RequestInvalid, match="of another sweep") as caught:
        read(path, request="def")
    assert caught.value.field == "sweep.journal"
    assert f"delete {path}" in caught.value.remedy
    assert path.read_bytes() == before


@pytest.mark.parametrize(("number", "line"), [(1, b"{}"), (2, b"no json"), (2, b'{"kind":"x"}')])
def test_a_line_that_cannot_be_read_is_named_and_nothing_is_written(path, number, line):
    write(path, FIRST, THIRD)
    lines = path.read_bytes().splitlines()
    lines[number - 1] = line
    path.write_bytes(b"\n".join(lines) + b"\n")
    before = path.read_bytes()
    with pytest.raises(DataInvalid, match=f"line {number}") as caught:
        read(path)
    assert caught.value.code == "journal_unreadable"
    assert path.read_bytes() == before


def test_one_sweep_at_a_time_writes_to_a_journal(path):
    journal = TrialJournal(str(path), "abc")
    with pytest.raises(RequestInvalid, match="still being written"):
        TrialJournal(str(path), "abc")
    journal.close()
    read(path)


@pytest.mark.parametrize("name", [".", "a\0b"])
def test_a_path_that_cannot_be_written_is_refused(tmp_path, name):
    with pytest.raises(RequestInvalid) as caught:
        TrialJournal(f"{tmp_path}/{name}", "abc")
    assert caught.value.code == "journal_not_written"


def test_without_a_path_nothing_is_kept(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    journal = TrialJournal(None, "abc")
    journal.append(FIRST, 1.0)
    journal.close()
    assert journal.trials == {}
    assert list(tmp_path.iterdir()) == []


def test_the_hash_of_facts_does_not_depend_on_their_order():
    facts = {"a": 1, "b": {"c": [1.5, None]}}
    assert hash_facts(facts) == hash_facts(dict(reversed(facts.items())))
    assert hash_facts(facts) != hash_facts({**facts, "a": 2})
