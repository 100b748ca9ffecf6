"""Which deployments refuse `stream_options`: older API versions do, and some features. Remembered for an hour."""

Key = tuple[str, str, str]
"""Backend, deployment, API version."""

_REMEMBERED_FOR = 3600.0
_AT_MOST = 1024


class UsageHints:
    """A deployment that refused is not asked for usage again for a while."""

    def __init__(self) -> None:
        self._refused: dict[Key, float] = {}

    def asks_usage(self, key: Key, now: float) -> bool:
        if not self._refused:
            return True
        return now >= self._refused.get(key, 0.0)

    def refused(self, key: Key, now: float) -> None:
        if len(self._refused) >= _AT_MOST:
            self._refused.clear()
        self._refused[key] = now + _REMEMBERED_FOR
