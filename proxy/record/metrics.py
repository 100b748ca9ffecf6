"""Every metric, named once: its help, its type, its labels, its buckets. Workers count by it, the supervisor prints it.

Label values come from the configuration or from enumerations, never from a client's bytes, and the label sets of a
metric are bounded by `LabelSets`. An absent value is the empty string, which to Prometheus is an absent label.
"""

from enum import Enum
from typing import NamedTuple

OTHER = "other"
"""The label value of what is not configured, and of everything past the bound."""

LABEL_SETS = 2_000
"""Label sets a metric may have; what comes after them is added up under `OTHER`."""

HISTOGRAM_LABEL_SETS = 500
"""The same for a histogram, which prints a line a bucket for each."""


class Kind(Enum):
    """A metric's type, as the text format names it."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


class Metric(NamedTuple):
    """`buckets` are upper bounds, inclusive and ascending, without the infinite one; `label_sets` bounds those."""

    kind: Kind
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()
    label_sets: int = LABEL_SETS


FIRST_BYTE_BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0)
DURATION_BUCKETS = (0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0)

REQUESTS = "penstock_requests_total"
TOKENS = "penstock_tokens_total"
FIRST_BYTE = "penstock_time_to_first_byte_seconds"
DURATION = "penstock_request_duration_seconds"
STREAMS_ACTIVE = "penstock_streams_active"
REQUESTS_ACTIVE = "penstock_requests_active"
CONNECTIONS_ACTIVE = "penstock_connections_active"
REFUSALS = "penstock_refusals_total"
AUTHENTICATION_FAILURES = "penstock_authentication_failures_total"
AUTHENTICATION_DELAYS = "penstock_authentication_delays_total"
BACKEND_ATTEMPTS = "penstock_backend_attempts_total"
HEDGED_TOKENS = "penstock_backend_hedged_tokens_total"
DEPLOYMENTS_SKIPPED = "penstock_deployments_skipped_total"
QUEUE_WAITING = "penstock_queue_waiting"
QUEUE = "penstock_queue_total"
RETRIES_DENIED = "penstock_retries_denied_total"
HANDSHAKES = "penstock_handshakes_total"
BACKEND_STATE = "penstock_backend_state"
BACKEND_IN_FLIGHT = "penstock_backend_in_flight"
BACKEND_UTILISATION = "penstock_backend_utilisation_ratio"
BACKEND_REMAINING_TOKENS = "penstock_backend_remaining_tokens"
BACKEND_DRAINED = "penstock_backend_drained"
BACKEND_WEIGHT = "penstock_backend_weight"
CERTIFICATE_EXPIRY = "penstock_certificate_expiry_seconds"
CRL_EXPIRY = "penstock_crl_expiry_seconds"
WORKERS = "penstock_workers"
WORKER_RESTARTS = "penstock_worker_restarts_total"
CONFIG_VERSION = "penstock_config_version"
CONFIG_RELOADS = "penstock_config_reloads_total"
AUDIT_RECORDS = "penstock_audit_records_total"
AUDIT_FAILURES = "penstock_audit_failures_total"
AUDIT_EXPORT_DROPPED = "penstock_audit_export_dropped_total"
EVENTS_DROPPED = "penstock_events_dropped_total"
JOURNAL_OVERFLOW = "penstock_journal_overflow_total"
LABEL_OVERFLOW = "penstock_label_overflow_total"
BUILD_INFO = "penstock_build_info"

METRICS: dict[str, Metric] = {
    REQUESTS: Metric(
        Kind.COUNTER,
        "Finished requests, refused ones included.",
        ("client", "tenant", "operation", "model", "status", "end"),
    ),
    TOKENS: Metric(
        Kind.COUNTER,
        "Tokens used. cached is a part of prompt, reasoning a part of completion: do not add those up.",
        ("client", "tenant", "model", "kind", "estimated"),
    ),
    FIRST_BYTE: Metric(
        Kind.HISTOGRAM,
        "Time from a request's first byte to the response's first byte on its way to the client.",
        ("operation", "model", "backend"),
        FIRST_BYTE_BUCKETS,
        HISTOGRAM_LABEL_SETS,
    ),
    DURATION: Metric(
        Kind.HISTOGRAM,
        "Time from a request's first byte to its end, however it ended.",
        ("operation", "model", "backend"),
        DURATION_BUCKETS,
        HISTOGRAM_LABEL_SETS,
    ),
    STREAMS_ACTIVE: Metric(Kind.GAUGE, "Responses being streamed.", ("worker",)),
    REQUESTS_ACTIVE: Metric(Kind.GAUGE, "Requests under way.", ("worker",)),
    CONNECTIONS_ACTIVE: Metric(Kind.GAUGE, "Client connections open.", ("worker",)),
    REFUSALS: Metric(Kind.COUNTER, "Requests that the gateway itself turned away.", ("reason", "client")),
    AUTHENTICATION_FAILURES: Metric(
        Kind.COUNTER, "Requests without a credential that proves who sent them.", ("reason",)
    ),
    AUTHENTICATION_DELAYS: Metric(
        Kind.COUNTER, "Answers to such requests that were delayed, because of their source's earlier ones."
    ),
    BACKEND_ATTEMPTS: Metric(
        Kind.COUNTER,
        "Requests sent to a backend, retried ones one by one.",
        ("backend", "region", "deployment", "outcome"),
    ),
    HEDGED_TOKENS: Metric(
        Kind.COUNTER,
        "Prompt tokens, estimated, of requests that were given up because another deployment's answer began first.",
        ("backend", "region", "deployment"),
    ),
    DEPLOYMENTS_SKIPPED: Metric(
        Kind.COUNTER,
        "Requests that went past a deployment because of how it stood: throttled, drained, spill_over and the like.",
        ("backend", "deployment", "reason"),
    ),
    QUEUE_WAITING: Metric(Kind.GAUGE, "Requests that wait for a deployment to be available.", ("worker",)),
    QUEUE: Metric(
        Kind.COUNTER,
        "Requests that have waited for one, by how that ended: released, timed_out, in_vain, full, client_gone.",
        ("outcome", "priority"),
    ),
    RETRIES_DENIED: Metric(Kind.COUNTER, "Further attempts that were not made, for lack of retry budget."),
    HANDSHAKES: Metric(Kind.COUNTER, "TLS handshakes with clients, by result.", ("result",)),
    BACKEND_STATE: Metric(
        Kind.GAUGE, "A deployment's breaker: 0 closed, 1 half-open, 2 open.", ("backend", "deployment")
    ),
    BACKEND_IN_FLIGHT: Metric(Kind.GAUGE, "Requests under way at a deployment.", ("backend", "deployment")),
    BACKEND_UTILISATION: Metric(
        Kind.GAUGE, "A provisioned deployment's utilisation, 0 to 1, as reported.", ("backend", "deployment")
    ),
    BACKEND_REMAINING_TOKENS: Metric(
        Kind.GAUGE, "Tokens that a deployment has left in its minute, as reported.", ("backend", "deployment")
    ),
    BACKEND_DRAINED: Metric(
        Kind.GAUGE,
        "Whether somebody has drained a deployment (1): nothing new is sent there.",
        ("backend", "deployment"),
    ),
    BACKEND_WEIGHT: Metric(
        Kind.GAUGE, "A deployment's weight at present, configured or set by somebody.", ("backend", "deployment")
    ),
    CERTIFICATE_EXPIRY: Metric(
        Kind.GAUGE,
        "Time until a certificate expires, negative once it has; of a client, the one in use that ends first.",
        ("certificate",),
    ),
    CRL_EXPIRY: Metric(Kind.GAUGE, "Time until the first CRL of a source lapses, negative once it has.", ("list",)),
    WORKERS: Metric(Kind.GAUGE, "Workers that serve."),
    WORKER_RESTARTS: Metric(Kind.COUNTER, "Workers that ended unasked and were replaced."),
    CONFIG_VERSION: Metric(Kind.GAUGE, "Version of the configuration in force."),
    CONFIG_RELOADS: Metric(Kind.COUNTER, "Reloads of the configuration, by result.", ("result",)),
    AUDIT_RECORDS: Metric(Kind.COUNTER, "Records written to the audit log."),
    AUDIT_FAILURES: Metric(Kind.COUNTER, "Failed writes to the audit log."),
    AUDIT_EXPORT_DROPPED: Metric(Kind.COUNTER, "Audit records that the OTLP collector did not take."),
    EVENTS_DROPPED: Metric(Kind.COUNTER, "Events that the webhook did not take."),
    JOURNAL_OVERFLOW: Metric(Kind.COUNTER, "Requests for which a worker's journal had no room."),
    LABEL_OVERFLOW: Metric(
        Kind.COUNTER, "Counts under the label value other because a metric has too many label sets.", ("metric",)
    ),
    BUILD_INFO: Metric(Kind.GAUGE, "Always 1; the version runs.", ("version",)),
}


class LabelSets:
    """The label sets one metric has had, bounded. `overflow` counts what was turned away."""

    def __init__(self, metric: Metric) -> None:
        self.overflow = 0
        self._other = (OTHER,) * len(metric.labels)
        self._bound = metric.label_sets
        self._seen: set[tuple[str, ...]] = set()

    def admit(self, labels: tuple[str, ...]) -> tuple[str, ...]:
        """`labels` themselves while there is room for them, else `other` for each label."""
        if labels in self._seen:
            return labels
        if len(self._seen) >= self._bound:
            self.overflow += 1
            return self._other
        self._seen.add(labels)
        return labels
