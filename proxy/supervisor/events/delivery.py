"""JSON on its way to somebody else's server: bounded in number and time, tried again with back-off, never in the way.

What the other side does not take is dropped and counted. Its failures are logged once, not each time; its address and
its answers are not logged at all, since either may hold a secret.
"""

import logging
import random
import ssl
from collections.abc import Callable
from typing import NamedTuple

import httpx
import trio

from proxy.config.secrets import SecretMissing, resolve
from proxy.config.structs import SecretRef

_WITHIN = 10.0
_TRIES = 6
_FIRST_BACKOFF = 0.5
_BACKOFF_AT_MOST = 15.0
_AGAIN = frozenset((408, 425, 429, 500, 502, 503, 504))

_log = logging.getLogger("penstock.delivery")
logging.getLogger("httpx").setLevel(logging.WARNING)  # it logs addresses


class Target(NamedTuple):
    """Where to, and the secret that is sent along as a bearer token."""

    url: str
    token: SecretRef | None


class Undelivered(Exception):
    """A try that failed; `fact` says how, `again` whether the same may succeed later."""

    def __init__(self, fact: str, *, again: bool) -> None:
        super().__init__(fact)
        self.fact = fact
        self.again = again


class Delivery:
    """Posts bodies to one target, one at a time. `what` names it in the log. `uniform` is in [0, 1)."""

    def __init__(self, what: str, *, uniform: Callable[[], float] = random.random) -> None:
        self._what = what
        self._uniform = uniform
        self._failing = False
        self._context: ssl.SSLContext | None = None

    def __repr__(self) -> str:
        return f"<Delivery {self._what}>"

    async def deliver(self, target: Target, body: bytes) -> bool:
        """Whether the other side has taken it; after several tries, or one that says that it never will."""
        backoff = _FIRST_BACKOFF
        for left in reversed(range(_TRIES)):
            try:
                await self._post(target, body)
            except Undelivered as failed:
                if not self._failing:
                    self._failing = True
                    _log.warning("%s: %s", self._what, failed.fact)
                if not failed.again or not left:
                    return False
                await trio.sleep(backoff * (0.5 + self._uniform() / 2))
                backoff = min(backoff * 2, _BACKOFF_AT_MOST)
            else:
                if self._failing:
                    self._failing = False
                    _log.info("%s: takes what it is sent again", self._what)
                return True
        return False

    async def _post(self, target: Target, body: bytes) -> None:
        """Raises `Undelivered`."""
        headers = {"content-type": "application/json"}
        try:
            if target.token is not None:
                secret = await trio.to_thread.run_sync(resolve, target.token)
                headers["authorization"] = f"Bearer {secret.reveal()}"
            if self._context is None:
                self._context = await trio.to_thread.run_sync(ssl.create_default_context)
            with trio.fail_after(_WITHIN):
                status = await _status(target.url, self._context, headers, body)
        except SecretMissing as error:
            raise Undelivered(str(error), again=True) from None
        except trio.TooSlowError:
            raise Undelivered(f"no answer within {_WITHIN:.0f} s", again=True) from None
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            raise Undelivered(f"cannot be reached ({type(error).__name__})", again=True) from None
        if not 200 <= status < 300:
            raise Undelivered(f"answers with status {status}", again=status in _AGAIN)


async def _status(url: str, context: ssl.SSLContext, headers: dict[str, str], body: bytes) -> int:
    """The answer's status; of its body nothing is read. Proxies of the environment and redirects are not followed.

    A client for each post: they are rare, and none is left waiting on a connection that has gone.
    """
    async with (
        httpx.AsyncClient(verify=context, trust_env=False, timeout=_WITHIN) as client,
        client.stream("POST", url, headers=headers, content=body) as answer,
    ):
        return answer.status_code
