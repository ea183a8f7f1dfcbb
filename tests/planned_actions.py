"""Make actions of advice, and what proxies gained by them, for tests."""

from ml.core.recommendations import Action, ProxyGain


def action(name, severity=0.5, rows=0, added=0, columns=()):
    return Action(
        action=name,
        dimension="coverage",
        columns=columns,
        rows=rows,
        added=added,
        severity=severity,
        reason="planted",
    )


def gained(*values):
    return [ProxyGain(proxy=f"p{place}", gain=value) for place, value in enumerate(values)]
