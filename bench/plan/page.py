"""The result of a plan as one page of HTML with its charts, and as Markdown. Pure."""

import html
from collections.abc import Callable, Iterator, Sequence

from bench.plan.costs import Costed, Month, Share, unit_price
from bench.plan.plan import Planned
from bench.plan.structs import HOURS_A_MONTH, HOURS_A_WEEK
from bench.plot import Band, Chart, Curve, Look, Plane, Point, Series, curves, lines, stacked
from bench.sheet import document, pill, table

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_COLOURS = ("c2", "c4", "c6", "c7", "c8")
_HOURS = [float(hour) for hour in range(HOURS_A_WEEK)]


def markdown(found: Planned) -> str:
    """What stands on a terminal, or in a document."""
    plan, chosen = found.plan, found.chosen
    parts = [f"# {plan.title}", verdict(found), *notes(found)]
    parts.append(_rows("Units that were looked at, a month on average", _UNIT_HEADS, _units(found)))
    parts.append(_rows(f"By month, at {chosen.units} units", _MONTH_HEADS, _months(found)))
    parts.append(
        _rows("Where tokens were served, all months", _SHARE_HEADS, _shares(found, lambda month: month.places))
    )
    parts.append(_rows("What clients cost, all months", _CLIENT_HEADS, _clients(found)))
    parts.append(_rows("What tenants cost, all months", _TENANT_HEADS, _tenants(found)))
    if found.checked:
        parts.append(_rows("Hours between the levels, as read off / as run", _CHECK_HEADS, _checks(found)))
    return "\n\n".join(parts) + "\n"


def page(found: Planned, about: str) -> str:
    """The page. `about` says when and how it was made."""
    plan, chosen = found.plan, found.chosen
    how = pill("good", "holds the service") if chosen.holds else pill("bad", "; ".join(chosen.misses))
    last = chosen.months[-1]
    tiles = [
        ("units", f"{chosen.units}", f"of {plan.workload.model}"),
        ("a month", _money(chosen.cost / plan.months), plan.currency),
        ("spilled over", f"{_percent(_mean(chosen, lambda month: month.spilled))}", "of tokens"),
        ("refused", f"{_percent(_mean(chosen, lambda month: month.refused))}", "of requests"),
        ("utilisation", f"{_percent(_mean(chosen, lambda month: month.utilisation))}", "of the units"),
        ("first token, p99", _seconds(last.first_p99), "last month"),
    ]
    tops = "".join(f"<div><dt>{name}</dt><dd>{value} <small>{unit}</small></dd></div>" for name, value, unit in tiles)
    told = "".join(f"<p>{html.escape(note)}</p>" for note in (plan.story, *notes(found)) if note)
    return document(
        f"Penstock: {plan.title}",
        f"<h1>{html.escape(plan.title)}</h1><p>{html.escape(about)}</p>"
        f'<dl class="tiles">{tops}</dl><section><h2>Answer</h2><p>{how}</p>'
        f"<p><strong>{html.escape(verdict(found))}</strong></p>{told}</section>"
        f'<section><h2>Units</h2><div class="charts">{"".join(_unit_charts(found))}</div>'
        f"{_table('Units that were looked at, a month on average', _UNIT_HEADS, _units(found))}</section>"
        f'<section><h2>A week of the last month</h2><div class="charts">{"".join(_week_charts(found))}</div></section>'
        f'<section><h2>The months</h2><div class="charts">{"".join(_month_charts(found))}</div>'
        f"{_table('By month', _MONTH_HEADS, _months(found))}</section>"
        f"<section><h2>Who and where</h2>"
        f"{_table('Clients, all months', _CLIENT_HEADS, _clients(found))}"
        f"{_table('Tenants, all months', _TENANT_HEADS, _tenants(found))}"
        f"{_table('Deployments, all months', _SHARE_HEADS, _shares(found, lambda month: month.places))}</section>"
        f"<section><h2>How far this is from the truth</h2><p>{html.escape(_deviation(found))}</p>"
        f"{_table('Hours between the levels, as read off / as run', _CHECK_HEADS, _checks(found))}</section>",
    )


def verdict(found: Planned) -> str:
    """The answer in a sentence."""
    plan, chosen = found.plan, found.chosen
    a_month = f"{_money(chosen.cost / plan.months)} {plan.currency} a month"
    if not chosen.holds:
        return f"No number of units holds the service; {chosen.units} refuse least, for {a_month}: " + "; ".join(
            chosen.misses
        )
    none = next((one for one in found.looked_at if one.units == 0), None)
    if chosen.units == 0:
        return f"No provisioned units are the cheapest: standard deployments alone cost {a_month}."
    beside = ""
    if none is not None:
        beside = f"; without units it would be {_money(none.cost / plan.months)}"
        beside += "" if none.holds else ", and the service would not hold"
    return f"{chosen.units} provisioned units are the cheapest that hold the service: {a_month}{beside}."


def notes(found: Planned) -> Iterator[str]:
    """What a reader has to know before they believe it."""
    plan, provisioned = found.plan, found.plan.provisioned
    yield f"Prices: {plan.prices}."
    unit = f"{provisioned.price_per_hour:g} {plan.currency} an hour"
    if provisioned.reservation_per_month is not None:
        unit += f", {provisioned.reservation_per_month:g} a month reserved; the cheaper of the two is counted"
    yield f"A unit: {unit}. A month is 730 hours; units are there in all of them."
    hourly, counted = provisioned.price_per_hour * HOURS_A_MONTH, unit_price(plan)
    if found.chosen.units and counted < hourly:
        bought = found.chosen.units
        instead = f"{_money(bought * hourly)} a month instead of {_money(bought * counted)}"
        yield f"By the hour, these units would be {instead}."
    yield from found.demand.notes
    yield (
        f"{found.simulated:,} requests in {found.stretches} stretches went through the gateway's routing, queue and "
        f"limits; every hour of {plan.months} months is read off from them. A stretch has about a thousand: what "
        f"befalls fewer than one in a thousand is not told from nothing. {_deviation(found)}"
    )


def _deviation(found: Planned) -> str:
    off = found.deviation
    if off is None:
        return "No hour lies between two levels, so none was checked."
    slow = "" if off.first_p99 is None else f", {100 * off.first_p99:+.1f} % in the p99 of the first token"
    return (
        f"{len(found.checked)} hours that were no level were run for themselves: what was read off is off by "
        f"{100 * off.cost:+.2f} % in cost, {100 * off.spilled:+.2f} points in tokens spilled over, "
        f"{100 * off.refused:+.3f} points in requests refused{slow}."
    )


# Tables.

_UNIT_HEADS = ("units", "cost", "units' part", "utilisation", "spilled", "refused", "first p99, worst month", "service")
_MONTH_HEADS = (
    "month", "cost", "units' part", "utilisation", "spilled", "refused", "over limits", "queued", "first p50",
    "first p99", "cheapest alone",
)  # fmt: skip
_SHARE_HEADS = ("where", "requests", "prompt, million", "completion, million", "cached, million", "cost")
_CLIENT_HEADS = ("client", "tenant", "requests", "prompt, million", "completion, million", "cost", "share")
_TENANT_HEADS = ("tenant", "clients", "tokens, million", "cost", "share")
_CHECK_HEADS = ("month", "hour", "requests/s", "spilled", "refused", "utilisation", "by tokens, an hour", "first p99")


def _units(found: Planned) -> Iterator[list[str]]:
    months = found.plan.months
    for one in found.looked_at:
        worst = max((month.first_p99 for month in one.months if month.first_p99 is not None), default=None)
        mark = (" (chosen)" if one.holds else " (refuses least)") if one is found.chosen else ""
        yield [
            f"{one.units}{mark}",
            _money(one.cost / months),
            _money(sum(month.provisioned for month in one.months) / months),
            _percent(_mean(one, lambda month: month.utilisation)),
            _percent(_mean(one, lambda month: month.spilled)),
            _percent(_mean(one, lambda month: month.refused)),
            _seconds(worst),
            "holds" if one.holds else "; ".join(one.misses),
        ]


def _months(found: Planned) -> Iterator[list[str]]:
    for month, alone in zip(found.chosen.months, found.monthly, strict=True):
        yield [
            f"{month.number + 1}",
            _money(month.cost),
            _money(month.provisioned),
            *map(_percent, (month.utilisation, month.spilled, month.refused, month.limited, month.queued)),
            _seconds(month.first_p50),
            _seconds(month.first_p99),
            "none holds" if alone is None else f"{alone} units",
        ]


def _summed(found: Planned, of: Callable[[Month], Sequence[Share]]) -> list[Share]:
    rows = zip(*(of(month) for month in found.chosen.months), strict=True)
    return [
        Share(
            row[0].name,
            sum(one.requests for one in row),
            sum(one.prompt for one in row),
            sum(one.completion for one in row),
            sum(one.cached for one in row),
            sum(one.cost for one in row),
        )
        for row in rows
    ]


def _shares(found: Planned, of: Callable[[Month], Sequence[Share]]) -> Iterator[list[str]]:
    for one in _summed(found, of):
        yield [one.name, f"{one.requests:,.0f}", *_millions(one), f"{one.cached:,.1f}", _money(one.cost)]


def _clients(found: Planned) -> Iterator[list[str]]:
    total = found.chosen.cost or 1.0
    for asker, one in zip(found.demand.askers, _summed(found, lambda month: month.clients), strict=True):
        cost = [_money(one.cost), _percent(one.cost / total)]
        yield [one.name, asker.tenant, f"{one.requests:,.0f}", *_millions(one), *cost]


def _tenants(found: Planned) -> Iterator[list[str]]:
    total, tenants = found.chosen.cost or 1.0, dict[str, list[Share]]()
    for asker, one in zip(found.demand.askers, _summed(found, lambda month: month.clients), strict=True):
        tenants.setdefault(asker.tenant, []).append(one)
    for tenant, mine in tenants.items():
        cost = sum(one.cost for one in mine)
        tokens = f"{sum(one.tokens for one in mine):,.1f}"
        yield [tenant, f"{len(mine)}", tokens, _money(cost), _percent(cost / total)]


def _checks(found: Planned) -> Iterator[list[str]]:
    for one in found.checked:
        read, run = one.read, one.run
        yield [
            f"{one.month + 1}",
            f"{_DAYS[one.hour // 24]} {one.hour % 24}:00",
            f"{read.asked:.2f}",
            f"{_percent(sum(read.spilled))} / {_percent(sum(run.spilled))}",
            f"{_percent(read.refused)} / {_percent(run.refused)}",
            f"{_percent(read.utilisation)} / {_percent(run.utilisation)}",
            f"{read.standard:,.2f} / {run.standard:,.2f}",
            f"{_seconds(read.first_p99)} / {_seconds(run.first_p99)}",
        ]


def _rows(caption: str, heads: Sequence[str], rows: Iterator[list[str]]) -> str:
    lines = [f"| {' | '.join(heads)} |", f"|{'---|' * len(heads)}"]
    lines += [f"| {' | '.join(cell.replace('|', '/') for cell in row)} |" for row in rows]
    return f"{caption}:\n\n" + "\n".join(lines)


def _table(caption: str, heads: Sequence[str], rows: Iterator[list[str]]) -> str:
    cells = list(rows)
    plain = [any(row[at][:1].isalpha() for row in cells) for at in range(len(heads))]
    head = [f"<th{_side(words)}>{html.escape(name)}</th>" for name, words in zip(heads, plain, strict=True)]
    body = [
        "".join(f"<td{_side(words)}>{html.escape(cell)}</td>" for cell, words in zip(row, plain, strict=True))
        for row in cells
    ]
    return table(caption, head, [f"<tr>{row}</tr>" for row in body])


def _side(words: bool) -> str:
    return "" if words else ' class="n"'


# Charts.


def _unit_charts(found: Planned) -> Iterator[str]:
    plan, months = found.plan, found.plan.months
    costs = {
        "all": ("c1", lambda month: month.cost),
        "units": ("c3", lambda month: month.provisioned),
        "tokens": ("c2", lambda month: month.standard),
    }
    drawn = [
        Curve(
            name,
            [Point(one.units, sum(map(of, one.months)) / months) for one in found.looked_at],
            Look(colour=colour, dash="" if name == "all" else "4 3"),
        )
        for name, (colour, of) in costs.items()
    ]
    units, cost = float(found.chosen.units), found.chosen.cost / months
    drawn.append(
        Curve("chosen", [Point(units, cost)], Look(colour="c4", mark="diamond", dash="2 3"), [Point(units, 0)])
    )
    missed = [Point(one.units, one.cost / months) for one in found.looked_at if not one.holds]
    if missed:
        drawn.append(Curve("the service does not hold", missed, Look(colour="worse", mark="cross")))
    yield curves(Plane(title="Cost a month", unit=plan.currency, along="provisioned units"), drawn)
    slow = [
        Curve(name, points, Look(colour=colour))
        for name, colour, of in (
            ("p50", "c1", lambda month: month.first_p50),
            ("p99", "c2", lambda month: month.first_p99),
        )
        if (points := [Point(one.units, _worst(one, of)) for one in found.looked_at if _worst(one, of)])
    ]
    if slow:
        yield curves(Plane(title="First token, worst month", unit="s", along="provisioned units"), slow)


def _worst(one: Costed, of: Callable[[Month], float | None]) -> float:
    return max((value for month in one.months if (value := of(month)) is not None), default=0.0)


def _days() -> list[Band]:
    return [Band(day, 24.0 * number, 24.0 * number) for number, day in enumerate(_DAYS)]


def _week(title: str, unit: str, *, logarithmic: bool = False, most: float = 0.0) -> Chart:
    end, along = float(HOURS_A_WEEK), "h"
    return Chart(
        title=title, unit=unit, starts=_HOURS, end=end, bands=_days(), logarithmic=logarithmic, most=most, along=along
    )


def _week_charts(found: Planned) -> Iterator[str]:
    week, plan = found.week, found.plan
    served = [Series(plan.provisioned.name, [60 * one.tokens * one.provisioned / 1e6 for one in week], "c3")]
    served += [
        Series(
            standard.name,
            [60 * one.tokens * one.spilled[number] / 1e6 for one in week],
            _COLOURS[number % len(_COLOURS)],
            hatch=number + 1,
        )
        for number, standard in enumerate(plan.standard)
    ]
    rest = [60 * one.tokens * max(0.0, 1 - one.provisioned - sum(one.spilled)) / 1e6 for one in week]
    yield stacked(
        _week("Tokens by where they are served", "million a minute"), [*served, Series("not served", rest, "bad")]
    )
    yield lines(
        _week("Utilisation, and what spills over", "%", most=100),
        [
            Series("utilisation of the units", [100 * one.utilisation for one in week], "c3"),
            Series("tokens spilled over", [100 * sum(one.spilled) for one in week], "c2", dash="5 3"),
        ],
    )
    yield lines(
        _week("Time to first token", "s", logarithmic=True),
        [
            Series("p50", [one.first_p50 for one in week], "c1"),
            Series("p99", [one.first_p99 for one in week], "c2", dash="5 3"),
        ],
    )
    yield lines(
        _week("Requests that waited, or were turned away", "%"),
        [
            Series("waited for a deployment", [100 * one.queued for one in week], "c1"),
            Series("over their client's limit", [100 * one.limited for one in week], "c5", dash="2 3"),
            Series("refused", [100 * one.refused for one in week], "bad", dash="5 3"),
        ],
    )


def _month_charts(found: Planned) -> Iterator[str]:
    months = found.chosen.months
    starts = [month.number + 0.5 for month in months]
    chart = {"starts": starts, "end": len(months) + 0.5, "along": "month"}
    yield stacked(
        Chart(title="Cost", unit=found.plan.currency, **chart),  # type: ignore[arg-type]
        [
            Series("units", [month.provisioned for month in months], "c3"),
            Series("tokens", [month.standard for month in months], "c2", hatch=1),
        ],
    )
    yield lines(
        Chart(title="Utilisation, and what spills over", unit="%", most=100, **chart),  # type: ignore[arg-type]
        [
            Series("utilisation of the units", [100 * month.utilisation for month in months], "c3"),
            Series("tokens spilled over", [100 * month.spilled for month in months], "c2", dash="5 3"),
        ],
    )


# Words.


def _mean(one: Costed, of: Callable[[Month], float]) -> float:
    return sum(map(of, one.months)) / len(one.months)


def _money(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:,.2f}"


def _percent(value: float) -> str:
    return f"{100 * value:.2f} %" if value < 0.1 else f"{100 * value:.1f} %"


def _seconds(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f} s"


def _millions(one: Share) -> tuple[str, str]:
    return f"{one.prompt:,.1f}", f"{one.completion:,.1f}"
