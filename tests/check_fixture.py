"""Make checks of data by hand, for pages and words that are functions of them."""

from ml.core.recommendations import Recommendation
from ml.health.diversity_report import Diversity, Looked, LostPattern, Measure
from ml.health.drawn import Bar, Correlations, Distribution, Drawing
from ml.health.exchange import HealthCheck
from ml.health.located import FlaggedRow, LocatedRows, Surprise
from ml.health.matched import Match
from ml.health.report import ClassifierTest, Dimension, Finding, SchemaDifference, Side

NAMES = (
    "distribution",
    "composition",
    "diversity",
    "dependence",
    "information",
    "spectrum",
    "coverage",
    "uniqueness",
)


def make_dimension(name, column, p=0.005, score=20.0, statistic="tv", standing=9.0):
    finding = Finding(column=column, statistic=statistic, effect=0.4, standing=standing)
    chance = Finding(column="quiet", statistic=statistic, effect=0.01, standing=2.0)
    worst = (finding, chance)
    return Dimension(name=name, effect=0.4, null=0.1, p=p, score=score, worst=worst)


def make_check(verdict="collapsed", column="state", **changes):
    """Make a check in which one column, of any name, stands out wherever one can."""
    significant = verdict in ("differs", "collapsed")
    dimensions = tuple(
        make_dimension(name, column, p=0.005 if significant and place < 3 else 0.4)
        for place, name in enumerate(NAMES)
    )
    bars = (
        Bar(shares=(0.01, 0.0), high=1.0),
        Bar(shares=(0.4, 0.2), low=1.0, high=2.0),
        Bar(shares=(0.2, 0.4), low=2.0, high=3.0),
        Bar(shares=(0.01, 0.02), low=3.0),
    )
    levels = (
        Bar(shares=(0.5, 1.0), label=column),
        Bar(shares=(0.25, 0.0), label="lost"),
        Bar(shares=(0.0, 0.05), label="new"),
        Bar(shares=(0.25, 0.0), levels=3),
    )
    drawing = Drawing(
        columns=5,
        distributions=(
            Distribution(
                column=column,
                kind="categorical",
                bars=levels,
                missing=(0.0, 0.0),
                distance=0.5,
                dimensions=("composition", "diversity"),
            ),
            Distribution(
                column="price",
                kind="numeric",
                bars=bars,
                missing=(0.0, 0.25),
                medians=(1.5, 2.25),
                distance=0.2,
            ),
        ),
        correlations=Correlations(
            columns=(column, "price", "size"),
            reference=((None, 0.6, 0.1), (0.6, None, 0.9), (0.1, 0.9, None)),
            candidate=((None, 0.0, 0.12), (0.0, None, 0.7), (0.12, 0.7, None)),
        ),
        floors=dict.fromkeys(NAMES, 0.5),
    )
    row = FlaggedRow(
        row=1234,
        confidence=0.9999,
        channel="cell",
        columns=(Surprise(column=column, value=column, surprise=5.0),),
    )
    values = {
        "verdict": verdict,
        "score": 20.0 if significant else 100.0,
        "p": 0.005 if significant else 0.4,
        "alpha": 0.02,
        "seed": 0,
        "tolerance": 0.0,
        "group": None,
        "reference": Side(rows=5000, tested=2000),
        "candidate": Side(rows=4000, tested=2000),
        "dimensions": dimensions,
        "schema_differences": (
            SchemaDifference(column=column, change="added", candidate="numeric"),
        ),
        "losses": ("diversity",) if verdict == "collapsed" else (),
        "classifier": ClassifierTest(auc=0.7, p=0.01, rows=1994),
        "detectable": 0.2,
        "detectable_unit": "standard deviations",
        "effects": {},
        "reasons": (f"diversity changed in {column} (lost_levels), a loss",),
        "names": (f"old {column}", f"new {column}"),
        "seconds": 1.5,
        "drawing": drawing,
        "located": LocatedRows(
            total=4000,
            rows=4000,
            scanned=4000,
            level=0.1,
            seed=0,
            tolerance=0.0,
            group=None,
            found={"cell": 12},
            flagged=(row,),
            reasons=(column,),
        ),
        "diversity": Diversity(
            seed=0,
            reference=Looked(rows=5000, sampled=5000),
            candidate=Looked(rows=4000, sampled=4000),
            measures=(
                Measure(
                    name="duplicates",
                    part="structural",
                    column=None,
                    reference=0.0,
                    candidate=0.2,
                    unit="share of rows",
                    meaning="This share of rows repeats another one.",
                    more_is="repeated",
                ),
                Measure(
                    name="levels",
                    part="rare",
                    column=column,
                    reference=50.0,
                    candidate=2.0,
                    unit="levels",
                    meaning=column,
                    more_is="diverse",
                ),
            ),
            lost=(
                LostPattern(
                    columns=(column,), values=(column,), share=0.08, expected=320.0, p=1e-9
                ),
            ),
            lost_patterns=4,
            reasons=(column,),
        ),
        "matches": (Match(kind=column, distance=1.0, confidence=0.6),),
        "recommendations": (
            Recommendation(
                action=f"restore_levels:{column}",
                dimension="diversity",
                rows=None,
                columns=(column,),
                gain=None,
                cost=1.0,
                reason=f"diversity changed in {column} (lost_levels)",
                value=0.5,
            ),
        ),
        "notes": (column,),
    }
    return HealthCheck(**values | changes)
