import json

import numpy as np
import pytest

from ml.core.errors import DataInvalid, RequestInvalid
from ml.health.report import (
    ClassifierTest,
    Dimension,
    Finding,
    HealthReport,
    SchemaDifference,
    Side,
)
from ml.health.signature_features import signature_of
from ml.health.signature_metric import learn_metric
from ml.health.signatures import BUNDLED, Library, Signatures, read_signatures

pytestmark = pytest.mark.unit


def make_report(effects, verdict="differs", findings=(), missing=(), rows=2000, auc=None):
    names = dict.fromkeys(name.split(".")[0] for name in effects)
    dimensions = tuple(
        Dimension(
            name=name,
            effect=abs(effects.get(name, 0.0)),
            null=0.04,
            p=0.005,
            score=50.0,
            worst=tuple(
                Finding(column=column, statistic=statistic, effect=0.1, standing=standing)
                for dimension, column, statistic, standing in findings
                if dimension == name
            ),
        )
        for name in names
    )
    return HealthReport(
        verdict=verdict,
        score=50.0,
        p=0.005,
        alpha=0.02,
        seed=0,
        tolerance=0.0,
        group=None,
        reference=Side(rows=rows, tested=2000),
        candidate=Side(rows=rows, tested=2000),
        dimensions=dimensions,
        schema_differences=tuple(
            SchemaDifference(column=name, change="missing", reference="numeric") for name in missing
        ),
        losses=(),
        classifier=ClassifierTest(auc=auc, p=0.5, rows=2000) if auc else ClassifierTest(reason="-"),
        detectable=0.1,
        detectable_unit="standard deviations",
        effects=effects,
        reasons=(),
    )


REPEATED = {
    "uniqueness": 0.3,
    "uniqueness.duplicates": 0.3,
    "coverage": 0.15,
    "coverage.mixing": 0.62,
    "coverage.density": 0.2,
    "distribution": 0.03,
    "composition": 0.04,
}
REPEATS = (("uniqueness", "all", "duplicates", 40.0), ("coverage", "all", "density", 18.0))


def test_a_signature_is_signed_and_takes_standings_relative_to_the_largest():
    report = make_report(
        {"distribution": 0.24, "composition": 0.0, "distribution.tails": -0.09},
        findings=(("distribution", "a", "w1", 32.0), ("distribution", "b", "w1", 8.0)),
        missing=("c",),
        auc=0.75,
    )
    found = signature_of(report)
    assert found["effect.distribution.tails"] == pytest.approx(-0.3)
    # 0.24 less its null, in anchors of 0.4.
    assert found["beyond.distribution"] == pytest.approx(np.sqrt(0.5))
    assert found["lead.distribution"] == found["lead.distribution.w1"] == 1.0
    assert found["alone.distribution"] == pytest.approx(0.8)
    assert found["second.distribution"] == pytest.approx(0.25)
    assert found["classifier"] == pytest.approx(0.5)
    assert found["schema.missing"] == 1.0
    assert "effect.composition" not in found
    larger = make_report(
        {"distribution": 0.24, "composition": 0.0, "distribution.tails": -0.09},
        findings=(("distribution", "a", "w1", 320.0), ("distribution", "b", "w1", 80.0)),
        missing=("c",),
        auc=0.75,
        rows=2_000_000,
    )
    assert signature_of(larger) == found


def test_what_varies_within_kinds_counts_less_than_what_tells_them_apart():
    draw = np.random.default_rng(0)
    kinds = ["a"] * 60 + ["b"] * 60
    # Both features vary together within a kind; only their difference tells the kinds apart.
    shared = draw.standard_normal(120)
    features = np.stack([shared, shared + 0.1 * draw.standard_normal(120)], axis=1)
    features[60:, 1] += 0.5
    points = learn_metric(features, kinds).project(features)
    spread = np.sqrt(((points[:60] - points[:60].mean(axis=0)) ** 2).sum(axis=1).mean())
    apart = np.linalg.norm(points[60:].mean(axis=0) - points[:60].mean(axis=0))
    assert apart > 2 * spread
    # A feature that none of them has counts as far as it goes.
    features = np.concatenate([features, np.zeros((120, 1))], axis=1)
    metric = learn_metric(features, kinds)
    new = metric.project(features + np.array([0.0, 0.0, 1.0])) - metric.project(features)
    assert np.linalg.norm(new, axis=1).min() > 2 * apart


@pytest.fixture(scope="module")
def repeated():
    import pandas as pd

    from ml.health.check import check

    def make(seed):
        draw = np.random.default_rng(seed)
        size = draw.standard_normal(600)
        return pd.DataFrame(
            {
                "size": size,
                "price": size + 0.5 * draw.standard_normal(600),
                "rooms": draw.integers(1, 7, 600),
                "city": draw.choice(["Rome", "Oslo", "Bonn"], 600, p=[0.6, 0.3, 0.1]),
            }
        )

    candidate = make(2)
    return check(make(1), pd.concat([candidate[:420], candidate[:180]], ignore_index=True))


def test_repeated_rows_are_told_by_a_table_that_none_was_learnt_of(repeated):
    library = Library()
    assert len(library.kinds) == 13
    matches = library.match(repeated)
    assert matches[0].kind == "duplicates"
    assert matches[0].confidence > 0.4
    assert len(library.match(repeated, most=1)) == 1
    assert library.match(repeated.model_copy(update={"verdict": "healthy"})) == ()


def test_without_its_kind_a_report_is_less_sure(repeated):
    learnt = Library().learnt
    others = tuple(one for one in learnt.signatures if one.kind != "duplicates")
    left_out = Library(learnt=learnt.model_copy(update={"signatures": others}))
    best = left_out.match(repeated)
    assert not best or best[0].confidence < Library().match(repeated)[0].confidence / 3


def test_what_no_known_damage_resembles_matches_nothing():
    strange = REPEATED | {"spectrum": 0.9, "spectrum.rank_loss": -3.0, "dependence": 1.6}
    report = make_report(strange, findings=REPEATS, missing=("a", "b"))
    assert Library().match(report) == ()


def test_an_incident_of_ones_own_is_matched_from_its_file(tmp_path):
    path = tmp_path / "own" / "incidents.json"
    shape = {"spectrum": 0.9, "spectrum.rank_loss": -3.0, "dependence": 1.6}
    report = make_report(dict(REPEATED) | shape, findings=REPEATS, missing=("a", "b"))
    library = Library(path)
    added = library.add("vendor dropped columns", report)
    assert added.source == "own"
    assert [match.kind for match in library.match(report)] == ["vendor dropped columns"]
    again = Library(path)
    [match] = again.match(report)
    assert match.kind == "vendor dropped columns"
    assert match.distance == pytest.approx(0.0, abs=1e-4)
    assert match.confidence > 0.9
    # What others found before stays, with whatever further features the new one has.
    again.add("duplicates", make_report(REPEATED | {"uniqueness.new": 0.5}, findings=REPEATS))
    read = read_signatures(path)
    assert [one.kind for one in read.signatures] == ["vendor dropped columns", "duplicates"]
    assert "effect.uniqueness.new" in read.features
    assert len(Library(path).kinds) == 14
    [first, _] = read.signatures
    named = dict(zip(read.features, first.values, strict=True))
    assert {k: v for k, v in named.items() if v} == pytest.approx(signature_of(report))


def test_a_single_incident_is_as_near_as_one_of_many_would_be(tmp_path):
    library = Library(tmp_path / "incidents.json")
    library.add("once", make_report(REPEATED, findings=REPEATS))
    points = np.zeros((1, len(library.learnt.features)))
    own = library.nearest(points)["once"]
    for _ in range(4):
        library.add("four times", make_report(REPEATED, findings=REPEATS))
    four = library.nearest(points)["four times"]
    assert own.shape == (1, 1)
    assert four.shape == (1, 4)
    assert four[0] == pytest.approx(own[0, 0] * 4**0.1)


def test_what_is_no_incident_or_no_file_is_refused_in_one_line(tmp_path):
    report = make_report(REPEATED, findings=REPEATS)
    with pytest.raises(RequestInvalid, match="no file to write the incident"):
        Library().add("name", report)
    library = Library(tmp_path / "incidents.json")
    with pytest.raises(RequestInvalid, match="healthy report shows no incident"):
        library.add("name", make_report(REPEATED, verdict="healthy"))
    with pytest.raises(RequestInvalid, match="1 to 120 printable"):
        library.add("", report)
    (tmp_path / "file").write_text("")
    blocked = Library(tmp_path / "file" / "incidents.json")
    with pytest.raises(RequestInvalid, match="cannot be written"):
        blocked.add("name", report)
    assert not (tmp_path / "incidents.json").exists()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("nothing", "JSON"),
        ('{"features": ["a"], "signatures": [], "version": 2}', "version"),
        (
            '{"features": ["a"], "signatures": [{"kind": "k", "source": "own", "values": []}]}',
            "not 1 values",
        ),
        ('{"features": [], "signatures": [], "further": 1}', "further"),
        (
            '{"features": ["a"], "signatures": [{"kind": "k", "source": "s", "values": [NaN]}]}',
            "values",
        ),
    ],
)
def test_a_file_that_holds_no_signatures_is_refused(tmp_path, text, told):
    path = tmp_path / "incidents.json"
    path.write_text(text)
    with pytest.raises(DataInvalid, match="holds no signatures") as caught:
        Library(path)
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.code == "signatures_unreadable"


def test_the_bundled_signatures_are_of_every_kind_and_many_tables():
    content = json.loads(BUNDLED.read_text())
    read = Signatures.model_validate_json(BUNDLED.read_bytes())
    assert read.width == content["width"] > 0
    sources = {one.source for one in read.signatures}
    assert len(sources) >= 15
    for kind in {one.kind for one in read.signatures}:
        assert len({one.source for one in read.signatures if one.kind == kind}) >= 9
    assert {"schema.missing", "schema.added", "schema.kind"} <= set(read.features)
