"""The review page: a model version's description in MLflow, as Markdown, decision first.

MLflow keeps 5,000 characters of a description where its database is PostgreSQL or MySQL.
The page is written as long as fits: first the sentences in its table get shorter, then
gates that passed are named in one line, then counted. Everything is in the HTML report too.

Whatever came from outside is escaped: it can become no markup, link, picture or table cell.
"""

import re
from collections.abc import Iterator, Sequence
from urllib.parse import quote

from tidegate.flows.reviewing.blind import PAGE
from tidegate.flows.reviewing.report import UpdateReport, worst_first
from tidegate.flows.reviewing.wording import (
    HEADLINE,
    OUTCOME,
    because,
    change,
    clean,
    how_to_decide,
    number,
    short,
)
from tidegate.gates.types import Action, Decision, Outcome, Ruling

LONGEST = 5_000
SENTENCES = (300, 160, 80, 50)  # characters of a ruling's sentence, tried in this order
PASSED = 110  # the sentence of a gate that passed needs no more
GAP = "&ensp;"  # MLflow puts the cells of a table next to each other without any space
PICTURES = {
    "changes": "Change of each suite against champion and anchor",
    "drift": "Distance from the anchor, version by version",
    "losses": "Loss while training",
    "data": "What the data gates did",
}
MARKUP = re.compile(r"([\\`*_{}\[\]()#+!|~>-])")


def review_page(report: UpdateReport, *, picture_folder: str = "plots") -> str:
    """Markdown of at most 5,000 characters. Pictures and report are read from the run."""
    for sentence in SENTENCES:
        page = "\n".join(_page(report, report.rulings, sentence, picture_folder))
        if len(page) <= LONGEST:
            return page
    failed = [r for r in report.rulings if r.verdict.outcome is not Outcome.PASS]
    for shown in (failed, failed[:10], failed[:3]):
        for named in (True, False):
            page = "\n".join(_page(report, shown, SENTENCES[-1], picture_folder, named=named))
            if len(page) <= LONGEST:
                return page
    return page[: LONGEST - 1] + "…"


def escaped(text: str, limit: int = 200) -> str:
    """Text as Markdown that shows just this text."""
    safe = clean(text, limit).replace("&", "&amp;").replace("<", "&lt;")
    safe = MARKUP.sub(r"\\\1", safe).replace("\\>", "&gt;")
    # Bare addresses become links by themselves in most readers; these must not.
    return safe.replace("://", "&#58;//").replace("www.", "www&#46;").replace("@", "&#64;")


def rulings_page(decision: Decision, about: str) -> str:
    """Decision and rulings alone, as Markdown for the engine's own pages."""
    head = [f"# {HEADLINE[decision.action].upper()}: {escaped(about)}", ""]
    head += [f"**{escaped(because(decision), 300)}**", ""]
    # Prefect's first UI shows an entity as it is written, and has spaces of its own. It breaks
    # no line in a table, so what stands in the way is above it.
    return "\n".join([*head, *rulings_table(worst_first(decision.rulings), gap="")])


def rulings_table(
    rulings: Sequence[Ruling], sentence: int = SENTENCES[0], gap: str = GAP
) -> Iterator[str]:
    yield "| verdict | gate | seen | limit | what was seen |"
    yield "| --- | --- | ---: | ---: | --- |"
    for ruling in rulings:
        verdict = ruling.verdict
        passed = verdict.outcome is Outcome.PASS
        cells = (
            OUTCOME[verdict.outcome].replace(" ", "\N{NO-BREAK SPACE}"),
            escaped(ruling.title, 60),
            number(verdict.observed),
            number(verdict.limit),
        )
        reason = escaped(verdict.reason, min(sentence, PASSED) if passed else sentence)
        yield f"| {' | '.join(f'{cell}{gap}' for cell in cells)} | {reason} |"


def _page(
    report: UpdateReport,
    rulings: tuple[Ruling, ...] | list[Ruling],
    sentence: int,
    folder: str,
    *,
    named: bool = True,
) -> Iterator[str]:
    yield f"# {HEADLINE[report.decision.action].upper()}"
    yield ""
    yield f"**{escaped(because(report.decision), 300)}**"
    yield ""
    if report.decision.action is Action.HOLD and report.version:
        yield _decide(report, report.version)
        yield ""
    yield _about(report)
    links = list(_links(report))
    if links:
        yield ""
        yield " · ".join(links)
    yield ""
    if rulings:
        yield from rulings_table(rulings, sentence)
    yield from _left_out(report, rulings, named)
    yield from _learned(report)
    yield from _lost(report)
    yield from _changes(report)
    yield from _pictures(report, folder)
    yield from _rest(report)


def _left_out(report: UpdateReport, shown: Sequence[Ruling], named: bool) -> Iterator[str]:
    """The gates that have no row: by name if they passed, else how many there are."""
    left = [ruling for ruling in report.rulings if ruling not in shown]
    passed = [r for r in left if named and r.verdict.outcome is Outcome.PASS]
    if passed:
        names = ", ".join(escaped(ruling.title, 60) for ruling in passed)
        yield ""
        yield f"✓ Passed: {names}."
    if len(left) > len(passed):
        yield ""
        yield f"*{len(left) - len(passed)} more in the report.*"


def _about(report: UpdateReport) -> str:
    batch, data = report.batch, report.data
    blamed = [f"{escaped(g.gate, 40)} {g.quarantined:,}" for g in data.gates if g.quarantined]
    dropped = f" ({', '.join(blamed[:6])})" if blamed else ""
    return (
        f"Policy {escaped(report.policy.policy, 60)} v{report.policy.version}, "
        f"{report.decided_at:%Y-%m-%d %H:%M} UTC. Data: {batch.read:,} rows read, "
        f"{batch.rows:,} in the batch, {data.quarantined:,} quarantined{dropped}, "
        f"{data.kept:,} kept, of these {data.masked:,} masked."
    )


def _links(report: UpdateReport) -> Iterator[str]:
    if not report.run_id:
        return
    run = quote(report.run_id, safe="")
    if report.experiment:
        page = f"/#/experiments/{quote(report.experiment, safe='')}/runs/{run}"
        if report.blind is not None and report.blind.flips:
            yield f"[A or B, blind]({page}/artifacts/report/{PAGE})"
        yield f"[Full report]({page}/artifacts/report/index.html)"
        yield f"[Run]({page})"
    else:  # without the experiment MLflow cannot show the file, only hand it out
        yield f"[Full report](/get-artifact?path=report/index.html&run_uuid={run})"


def _learned(report: UpdateReport) -> Iterator[str]:
    for c in report.comparisons:
        if c.gain and c.than == "champion":
            yield ""
            yield (
                f"**What it learned:** {escaped(c.name, 60)} gained {change(c.mean)} over the "
                f"champion, at worst {change(c.low)} ({c.n} items; asked for: {change(c.limit)})."
            )


def _lost(report: UpdateReport) -> Iterator[str]:
    """The item of each suite that lost most, by name; the three worst of these."""
    worst = [
        (c.worst[0], c.name) for c in report.comparisons if c.than == "champion" and c.worst
    ]
    if worst:
        named = [
            f"{escaped(item.id, 60)} {change(item.change)} ({escaped(name, 60)})"
            for item, name in sorted(worst, key=lambda one: one[0].change)[:3]
        ]
        yield ""
        yield f"**Lost most against the champion:** {', '.join(named)}."


def _changes(report: UpdateReport) -> Iterator[str]:
    if not report.comparisons:
        return
    yield ""
    yield f"| change | from champion v{report.champion} | from anchor v{report.anchor} |"
    yield "| --- | ---: | ---: |"
    for name in dict.fromkeys(c.name for c in report.comparisons):
        by = {c.than: c for c in report.comparisons if c.name == name}
        cells = [
            f"{change(by[than].mean)} (≥ {change(by[than].low)})" if than in by else "–"
            for than in ("champion", "anchor")
        ]
        yield f"| {escaped(name, 60)}{GAP} | {f'{GAP} | '.join(cells)} |"


def _pictures(report: UpdateReport, folder: str) -> Iterator[str]:
    if not report.run_id:
        return
    run = quote(report.run_id, safe="")
    for name, alt in PICTURES.items():
        if name in report.pictures:
            yield ""
            path = quote(f"{folder}/{name}.png")
            yield f"![{alt}](/get-artifact?path={path}&run_uuid={run})"


def _rest(report: UpdateReport) -> Iterator[str]:
    for remark in report.remarks()[:4]:
        yield ""
        yield f"*{escaped(remark, 220)}*"
    yield ""
    digests = [
        f"{escaped(k, 30)} `{short(v)}`" for k, v in report.digests.items() if k != "statement"
    ]
    yield f"SHA-256, from the start: {', '.join(digests[:8])}."
    if report.statement:
        yield ""
        yield f"Statement `{report.statement}`."
    yield ""
    yield _undo(report)


def _decide(report: UpdateReport, version: str) -> str:
    """What a reviewer types; the page itself decides nothing."""
    commands = (word.replace("`", "") for word in how_to_decide(report.model, version))
    return f"To decide: {' or '.join(f'`{command}`' for command in commands)}"


def _undo(report: UpdateReport) -> str:
    model = clean(report.model, 60).replace("`", "")
    if report.decision.action is Action.PROMOTE:
        return (
            f"To serve version {report.champion} again: "
            f"`tidegate rollback --model {model} --to {report.champion} --reason …`"
        )
    return (
        f"Version {report.champion} of {escaped(model)} still serves; nothing is to be undone."
    )
