"""What the file of a plan says. Prices are of one currency; times are durations, as in the gateway's configuration.

A provisioned unit (PTU) does so many prompt tokens a minute, by model; a completion token counts as several, a cached
one as none. Load curves are relative: only their shape counts.
"""

from proxy.config.structs import Limits, Routing, Seconds, Table

HOURS_A_WEEK = 168
HOURS_A_MONTH = 730.0
EVEN = (1.0,) * 24


class Bursts(Table, frozen=True, kw_only=True):
    """So often an hour, on average, `times` as much is asked for a while."""

    per_hour: float
    lasts: Seconds = Seconds(30)
    times: float = 3.0


class Mix(Table, frozen=True, kw_only=True):
    """A share of the requests. `prompt` and `completion` are tokens: the median, and what 95 % are within.

    cached      share of the prompt's tokens that are in the cache
    streams     share of them that are streamed
    max_tokens  what they ask for at most; absent: they say nothing, and it is estimated
    clients     whose requests these are; empty: everyone's
    """

    share: float = 1.0
    prompt: tuple[float, float]
    completion: tuple[float, float]
    cached: float = 0.0
    streams: float = 1.0
    max_tokens: int | None = None
    clients: tuple[str, ...] = ()


class Workload(Table, frozen=True, kw_only=True):
    """Either what was `recorded` (the gateway's audit log, of a day or more), or `requests_per_day`, on the average of
    a week, with curves over the hours of a day and the days of a week, Monday first.

    growth   a month, of the month before; 0.1: a tenth more
    """

    model: str
    recorded: str | None = None
    requests_per_day: float = 0.0
    growth: float = 0.0
    day: tuple[float, ...] = EVEN
    weekend: tuple[float, ...] = ()  # hours of Saturday and Sunday; absent: as `day`
    week: tuple[float, ...] = (1.0,) * 7
    bursts: Bursts | None = None
    mixes: tuple[Mix, ...] = ()


class Client(Table, frozen=True, kw_only=True):
    """One that asks. `limits` are the gateway's, with the priority; `tiers` where its requests may go: empty, anywhere.

    share    of all requests, relative to the others'
    day      its own curve; absent: the workload's
    timeout  an answer has begun by then, or nobody waits for it
    """

    name: str
    tenant: str = ""
    share: float = 1.0
    day: tuple[float, ...] = ()
    weekend: tuple[float, ...] = ()
    week: tuple[float, ...] = ()
    limits: Limits = Limits()
    tiers: tuple[str, ...] = ()
    timeout: Seconds = Seconds(60)


class Unit(Table, frozen=True, kw_only=True):
    """A provisioned unit of one model. `completion`: prompt tokens that a token of a completion counts as."""

    tokens_per_minute: float
    completion: float
    minimum: int = 1
    step: int = 1


class Latency(Table, frozen=True, kw_only=True):
    """How long answers take at no load.

    first      the median time to the first token, of half of all within `spread` times of it
    prompt     what a thousand tokens of the prompt that are not cached add
    between    from token to token
    rises      pairs of utilisation and how many times as long all of it takes then; between them, in proportion
    """

    first: Seconds
    prompt: Seconds = Seconds(0)
    between: Seconds = Seconds(0.02)
    spread: float = 1.3
    rises: tuple[tuple[float, float], ...] = ()


class Provisioned(Table, frozen=True, kw_only=True):
    """One deployment of provisioned units, which is asked first.

    reservation_per_month  a unit's price where it is reserved; absent: it is not
    at_most                units there are to be had; 0: as many as the busiest hour asks for
    burst                  so long full capacity may be exceeded by as much again, before it throttles
    spill_at               as of the gateway's deployment: utilisation from which standard is preferred
    """

    name: str = "provisioned"
    region: str = "swedencentral"
    price_per_hour: float
    reservation_per_month: float | None = None
    at_most: int = 0
    burst: Seconds = Seconds(10)
    spill_at: float | None = None
    latency: Latency


class Standard(Table, frozen=True, kw_only=True):
    """A deployment that is paid by tokens: prices are of a million. Quotas 0: any."""

    name: str
    region: str = "swedencentral"
    priority: int = 1
    weight: int = 1
    tokens_per_minute: int = 0
    requests_per_minute: int = 0
    prompt: float
    completion: float
    cached: float | None = None  # absent: as the prompt
    latency: Latency


class Service(Table, frozen=True, kw_only=True):
    """What has to hold in every month. Requests that are over their own client's limits do not count as refused."""

    refused_at_most: float = 0.001
    first_p99_at_most: Seconds | None = None  # of streams, with all waiting
    first_p50_at_most: Seconds | None = None
    spilled_at_most: float = 1.0  # share of tokens that standard deployments serve


class Plan(Table, frozen=True, kw_only=True):
    """`workers` and `routing` are the gateway's. `prices` says where the prices are from."""

    title: str
    story: str = ""
    months: int = 3
    seed: int = 1
    currency: str = "USD"
    prices: str = "not said"
    workload: Workload
    clients: tuple[Client, ...] = ()
    units: dict[str, Unit]
    provisioned: Provisioned
    standard: tuple[Standard, ...] = ()
    service: Service = Service()
    workers: int = 2
    routing: Routing = Routing()

    @property
    def unit(self) -> Unit:
        """Of the workload's model."""
        return self.units[self.workload.model]
