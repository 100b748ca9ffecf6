"""A deployment that refuses `stream_options` is left alone about it, for an hour, and only that one."""

from proxy.routing.usage_hint import UsageHints

NOW = 1_000.0
KEY = ("swc", "gpt-4o", "2024-02-01")


def test_everybody_is_asked_until_one_refuses() -> None:
    hints = UsageHints()
    assert hints.asks_usage(KEY, NOW)
    hints.refused(KEY, NOW)
    assert not hints.asks_usage(KEY, NOW)
    assert not hints.asks_usage(KEY, NOW + 3_599)
    assert hints.asks_usage(KEY, NOW + 3_600)


def test_another_backend_deployment_or_version_is_another_matter() -> None:
    hints = UsageHints()
    hints.refused(KEY, NOW)
    for other in (("fra", *KEY[1:]), (KEY[0], "gpt-4o-mini", KEY[2]), (*KEY[:2], "2024-10-21")):
        assert hints.asks_usage(other, NOW)


def test_a_second_refusal_counts_from_then() -> None:
    hints = UsageHints()
    hints.refused(KEY, NOW)
    hints.refused(KEY, NOW + 3_000)
    assert not hints.asks_usage(KEY, NOW + 3_700)


def test_api_versions_that_a_client_makes_up_do_not_fill_memory() -> None:
    hints = UsageHints()
    for number in range(5_000):
        hints.refused(("swc", "gpt-4o", f"v{number}"), NOW)
        assert len(hints._refused) <= 1_024
    assert not hints.asks_usage(("swc", "gpt-4o", "v4999"), NOW)
