"""The status page: one HTML document that holds all it needs, rendered here and nowhere else.

Its script fetches the page again every two seconds and puts the fresh `<main>` in place of the old one, so nothing is
laid out twice. Every text passes through `escape`: names, reasons and errors are not trusted. Style and script are let
in by their hashes, and nothing else is. Pure: the status comes in, text goes out.
"""

import base64
import hashlib
from datetime import UTC, datetime
from html import escape
from importlib.resources import files

from proxy.admin.backends import DeploymentStatus
from proxy.admin.keys import KeyStatus
from proxy.admin.table import Badge, Cell, Column, Line, Tone, table
from proxy.admin.view import (
    CertificateStatus,
    ClientStatus,
    CredentialStatus,
    IssuerStatus,
    LimitStatus,
    Status,
    WorkerStatus,
)

_STYLE = files("proxy.admin").joinpath("page.css").read_text("utf-8")
_SCRIPT = files("proxy.admin").joinpath("page.js").read_text("utf-8")
_DAY = 86_400.0
_EXPIRES_SOON_DAYS = 30
_CERTIFICATES = 200
_KEYS_SHOWN = 200

_STATES = {
    "serving": Tone.GOOD, "starting": Tone.WARN, "draining": Tone.WARN, "backing_off": Tone.BAD, "stopped": Tone.QUIET,
    "closed": Tone.GOOD, "half_open": Tone.WARN, "open": Tone.BAD,
    "drained": Tone.WARN, "live": Tone.GOOD, "suspended": Tone.WARN,
    "valid": Tone.GOOD, "expiring": Tone.WARN, "missing": Tone.BAD, "failed": Tone.BAD,
}  # fmt: skip


def _hash(text: str) -> str:
    return "'sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() + "'"


CONTENT_SECURITY_POLICY = (
    f"default-src 'none'; style-src {_hash(_STYLE)}; script-src {_hash(_SCRIPT)}; connect-src 'self'; img-src data:; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)


def render(status: Status, *, ready: bool, reasons: list[str]) -> str:
    """The page."""
    state = "ready" if ready else "not ready"
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Penstock: {state}</title>
<link rel="icon" href="data:,">
<style>{_STYLE}</style>
</head>
<body>
<header>
<h1>Penstock</h1>
<form method="post" action="/api/reload"><button>Reload configuration</button></form>
<output></output>
<p id="lost" class="bad" role="alert" hidden></p>
</header>
<main>
{_facts(status, ready, reasons)}
{_tiles(status)}
{_workers(status)}
{_deployments(status)}
{_clients(status)}
{_keys(status)}
{_certificates(status)}
{_credentials(status)}
{_issuers(status)}
</main>
<script>{_SCRIPT}</script>
</body>
</html>
"""


def _facts(status: Status, ready: bool, reasons: list[str]) -> str:
    config = status.config
    pill = '<span class="pill good">ready</span>' if ready else '<span class="pill bad">not ready</span>'
    lines = [
        f"{pill} version {escape(status.version)}, up {_duration(status.time - status.started)}, "
        f"at {_moment(status.time)}",
        f"Configuration <strong>{escape(config.file)}</strong>, version {config.version}{_last_reload(status)}",
    ]
    if not ready:
        lines.insert(1, f"<strong>{escape('; '.join(reasons))}</strong>")
    if config.last_reload is not None and config.last_reload.error:
        lines.append(f"<strong>{escape(config.last_reload.error)}</strong>")
    return '<div id="facts">' + "".join(f"<p>{line}</p>" for line in lines) + "</div>"


def _last_reload(status: Status) -> str:
    last = status.config.last_reload
    if last is None:
        return ", not reloaded since the start"
    how = "" if last.ok else ' <span class="pill bad">failed</span>'
    return f", last reload {_duration(status.time - last.time)} ago{how}"


def _tiles(status: Status) -> str:
    serving = sum(worker.state == "serving" for worker in status.workers)
    usable = sum(deployment.usable for deployment in status.deployments)
    tiles = {
        "Requests under way": _count(sum(worker.requests for worker in status.workers)),
        "Streams": _count(sum(worker.streams for worker in status.workers)),
        "Connections": _count(sum(worker.connections for worker in status.workers)),
        "Workers serving": f"{serving} of {len(status.workers)}",
        "Deployments usable": f"{usable} of {len(status.deployments)}",
    }
    return '<dl class="tiles">' + "".join(f"<div><dt>{k}</dt><dd>{v}</dd></div>" for k, v in tiles.items()) + "</dl>"


def _workers(status: Status) -> str:
    columns: list[Column[WorkerStatus]] = [
        Column("Worker", lambda w: str(w.index)),
        Column("State", lambda w: _state(w.state)),
        Column("Since", lambda w: f"{_duration(status.time - w.since)} ago"),
        Column("Process", lambda w: "–" if w.pid is None else str(w.pid), number=True),
        Column("Requests", lambda w: _count(w.requests), number=True),
        Column("Streams", lambda w: _count(w.streams), number=True),
        Column("Connections", lambda w: _count(w.connections), number=True),
        Column("Restarts", lambda w: _count(w.restarts), number=True),
        Column("Configuration", lambda w: _version(w, status)),
    ]
    return table("Workers", columns, status.workers, "No workers.")


def _version(worker: WorkerStatus, status: Status) -> Cell:
    text = f"version {worker.version}"
    if worker.version == status.config.version:
        return text
    return [Line(text), Badge("behind", Tone.WARN)]


def _deployments(status: Status) -> str:
    columns: list[Column[DeploymentStatus]] = [
        Column("Backend", lambda d: [Line(d.backend), Line(f"{d.region}, {d.tier}", Tone.QUIET)]),
        Column("Deployment", lambda d: [Line(d.deployment), Line(", ".join(d.models), Tone.QUIET)]),
        Column("State", lambda d: _standing(d, status.time)),
        Column("Weight", _weight),
        Column("In flight", _in_flight, number=True),
        Column("Tokens a minute", _tokens, number=True),
        Column("First byte", _first_byte, number=True),
        Column("Errors", lambda d: _errors(d, status.time)),
    ]
    return table("Deployments", columns, status.deployments, "No deployments are configured.")


def _standing(deployment: DeploymentStatus, now: float) -> Cell:
    lines: list[Line | Badge] = [_state(deployment.state)]
    if deployment.drained is not None:
        lines.append(_state(deployment.drained))
    if deployment.reason and deployment.state != "closed":
        lines.append(Line(deployment.reason.replace("_", " ")))
    if deployment.until is not None and deployment.state == "open":
        lines.append(Line(f"tried again in {_duration(max(0.0, deployment.until - now))}", Tone.QUIET))
    if deployment.drained_since is not None:
        lines.append(Line(f"drained by hand {_duration(now - deployment.drained_since)} ago", Tone.QUIET))
    return lines


def _weight(deployment: DeploymentStatus) -> Cell:
    lines: list[Line | Badge] = [Line(f"{deployment.weight:g}")]
    if deployment.weight_set:
        lines.append(Badge("by hand", Tone.WARN))
    if deployment.weight_goal is not None:
        lines.append(Line(f"on its way to {deployment.weight_goal:g}", Tone.QUIET))
    return lines


def _in_flight(deployment: DeploymentStatus) -> Cell:
    if deployment.in_flight is None:
        return "–"
    return [Line(_count(deployment.in_flight)), Line(f"{deployment.requests_per_second:g} a second", Tone.QUIET)]


def _tokens(deployment: DeploymentStatus) -> Cell:
    lines = [Line(_count(deployment.tokens_per_minute))]
    if deployment.remaining_tokens is not None:
        lines.append(Line(f"{_count(deployment.remaining_tokens)} left", Tone.QUIET))
    if deployment.utilisation is not None:
        lines.append(Line(f"{deployment.utilisation:.0%} utilised", share=min(1.0, deployment.utilisation)))
    return lines


def _first_byte(deployment: DeploymentStatus) -> Cell:
    times = deployment.first_byte
    return "–" if times is None else [Line(f"p50 {_brief(times.p50)}"), Line(f"p99 {_brief(times.p99)}", Tone.QUIET)]


def _errors(deployment: DeploymentStatus, now: float) -> Cell:
    """Their share of the last minute, and the last one."""
    lines = []
    if deployment.error_share:
        lines.append(Line(f"{deployment.error_share:.1%} failed", Tone.BAD))
    if deployment.throttled_share:
        lines.append(Line(f"{deployment.throttled_share:.1%} throttled", Tone.WARN))
    if deployment.errors:
        last = deployment.errors[0]
        times = "" if last.count == 1 else f", {_count(last.count)} times"
        lines.append(Line(f"{last.text.replace('_', ' ')}{times}, {_duration(now - last.time)} ago", Tone.QUIET))
    return lines or "–"


def _brief(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"


def _clients(status: Status) -> str:
    columns: list[Column[ClientStatus]] = [
        Column("Client", lambda c: c.name),
        Column("Tenant", lambda c: c.tenant or "–"),
        Column("Credentials", lambda c: ", ".join(c.credentials) or "–"),
        Column("Grants", lambda c: [Line(grant) for grant in c.grants] or "none"),
        Column("Limits", lambda c: [_limit(limit) for limit in c.limits] or "none"),
    ]
    return table("Clients", columns, status.clients, "No clients are configured.")


def _limit(limit: LimitStatus) -> Line:
    name = limit.name.replace("_", " ")
    if limit.used is None:
        return Line(f"{name}: {_count(limit.limit)}")
    text = f"{name}: {_count(limit.used)} of {_count(limit.limit)}"
    return Line(text, share=min(1.0, limit.used / limit.limit) if limit.limit > 0 else 1.0)


def _keys(status: Status) -> str:
    columns: list[Column[KeyStatus]] = [
        Column("Key", lambda k: k.id),
        Column("Client", lambda k: k.client),
        Column("State", lambda k: _state(k.state)),
        Column("Created", lambda k: _date(k.created)),
        Column("Expires", lambda k: "never" if k.expires is None else _expiry((k.expires - status.time) / _DAY)),
        Column("Last used", lambda k: _ago(k.last_used, status.time)),
        Column("Note", lambda k: k.note or "–"),
    ]
    return table("Keys", columns, status.keys[:_KEYS_SHOWN], "No keys are issued.")


def _ago(moment: float | None, now: float) -> str:
    return "never" if moment is None else f"{_duration(now - moment)} ago"


def _certificates(status: Status) -> str:
    columns: list[Column[CertificateStatus]] = [
        Column("Certificate", lambda c: c.name),
        Column("Subject", lambda c: c.subject),
        Column("Expires", lambda c: [_expiry(c.days_left), Line(_date(c.not_after), Tone.QUIET)]),
        Column("Use", lambda c: c.use),
    ]
    shown = status.certificates[:_CERTIFICATES]
    more = len(status.certificates) - len(shown)
    caption = f"Certificates (the first to expire; {_count(more)} more)" if more else "Certificates"
    return table(caption, columns, shown, "No certificates.")


def _expiry(days: float) -> Badge:
    if days <= 0:
        return Badge("expired", Tone.BAD)
    tone = Tone.WARN if days <= _EXPIRES_SOON_DAYS else Tone.GOOD
    return Badge(f"in {_duration(days * _DAY)}", tone)


def _credentials(status: Status) -> str:
    columns: list[Column[CredentialStatus]] = [
        Column("Credential", lambda c: c.name),
        Column("Kind", lambda c: c.kind.replace("_", " ")),
        Column("State", lambda c: _state(c.state)),
        Column("Expires in", lambda c: "–" if c.expires_in is None else _duration(max(0.0, c.expires_in))),
    ]
    return table("Credentials for backends", columns, status.credentials, "No credentials are configured.")


def _issuers(status: Status) -> str:
    columns: list[Column[IssuerStatus]] = [
        Column("Issuer", lambda i: [Line(i.name), Line(i.issuer, Tone.QUIET)]),
        Column("Keys", lambda i: _count(i.keys)),
        Column("State", lambda i: [_state(i.state), *([Line(i.reason)] if i.reason else [])]),
    ]
    return table("Issuers of tokens", columns, status.issuers, "No issuers are configured.")


def _state(state: str) -> Badge:
    return Badge(state.replace("_", "-"), _STATES.get(state, Tone.PLAIN))


def _count(number: int) -> str:
    return f"{number:,}"


def _duration(seconds: float) -> str:
    """The two largest units: "3 d 4 h", "12 min 5 s"."""
    rest = max(0, round(seconds))
    amounts: list[tuple[int, str]] = []
    for name, size in (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1)):
        amount, rest = divmod(rest, size)
        if amount or amounts:
            amounts.append((amount, name))
    return " ".join(f"{amount} {name}" for amount, name in amounts[:2] if amount) or "0 s"


def _moment(time: float) -> str:
    return datetime.fromtimestamp(time, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _date(time: float) -> str:
    return datetime.fromtimestamp(time, UTC).strftime("%Y-%m-%d")
