"""What a comparison prints: a row a figure, a column a proxy, and all that makes figures worth less."""

from bench.compare.judge import failed, verdicts
from bench.compare.table import markdown, phase_table, verdict_table
from bench.report.stored import Machine, Measured, Proxy, Stored

MACHINE = Machine(cpu="a CPU", cores="two", kernel="6", python="CPython 3.11", openssl="OpenSSL 3")


def one(proxy: str, repeat: int, streams: int = 400, **figures: float) -> Measured:
    return Measured(scenario="events", proxy=proxy, repeat=repeat, title="streams", streams=streams, figures=figures)


def test_a_cell_has_median_and_range_and_of_costs_the_ratio() -> None:
    measured = [
        one("penstock", 0, cpu_us_per_event=30.0, late_p99_ms=1.5),
        one("penstock", 1, cpu_us_per_event=20.0),
        one("nginx", 0, cpu_us_per_event=10.0),
        one("nginx", 1, cpu_us_per_event=10.0),
    ]
    rows = phase_table(measured, ["penstock", "nginx", "envoy"]).splitlines()
    assert rows[0] == "| | penstock | nginx | envoy |"
    assert "| **CPU per SSE event** | 25 µs (20–30) | 10 µs; ours 2.5 × | – |" in rows
    assert "| late p99 | 1.5 ms | – | – |" in rows
    assert len({row.count("|") for row in rows}) == 1


def test_rows_tell_streams_apart_where_there_are_several() -> None:
    rows = phase_table([one("penstock", 0, 50, errors=0), one("penstock", 0, 4000, errors=1)], ["penstock"])
    assert "| errors, 50 streams | 0 |" in rows
    assert "| errors, 4,000 streams | 1 |" in rows


def test_who_failed_and_what_was_noisy_is_said() -> None:
    broken = Measured(scenario="events", proxy="portkey", repeat=0, verdicts=(failed("no event came through"),))
    text = phase_table([one("penstock", 0, share_of_others=0.3), broken], ["penstock", "portkey"])
    assert "**portkey failed**: no event came through" in text
    assert "penstock: noisy in 1 of 1; others took up to 30 % of a core meanwhile." in text


def test_a_rate_that_was_not_kept_is_said() -> None:
    text = phase_table(
        [one("penstock", 0, share_of_rate=0.5), one("nginx", 0, share_of_rate=0.99)], ["penstock", "nginx"]
    )
    assert "penstock, 400 streams: 50 % of the events that were due came" in text
    assert "nginx, 400 streams: 99 %" not in text


def test_all_of_it_comes_from_what_was_stored() -> None:
    measured = (one("penstock", 0, cpu_us_per_event=12.0, errors=0), one("nginx", 0, cpu_us_per_event=10.0))
    stored = Stored(
        command="python -m bench compare",
        began="2026-11-26T00:00:00Z",
        commit="",
        machine=MACHINE,
        proxies=(
            Proxy(name="penstock", version="1", about="ours"),
            Proxy(name="nginx", version="2", about="theirs", lacks=("metering",)),
        ),
        measured=measured,
        verdicts=verdicts(measured),
    )
    text = markdown(stored)
    for said in ("# Penstock beside nginx", "lacks metering", "## events: streams", "**1.2 ×**", "a CPU"):
        assert said in text
    assert "| ≤ 1.7 × | holds | ≤ 1.2 × | reached |" in verdict_table(stored.verdicts)
