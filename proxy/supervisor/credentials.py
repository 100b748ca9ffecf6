"""How the gateway proves itself to its backends: obtained by azure-identity, refreshed ahead of need, for all workers.

A token is renewed in the middle of its remaining life, at the latest five minutes before its end, in a thread and
bounded in time. While its source is out, the old one serves for as long as it is valid. What a source says when it
fails is cut down to one printable line, and never holds a secret.
"""

import logging
import math
import random
import time
from collections.abc import Callable, Mapping
from typing import Protocol

import trio

from proxy.config.secrets import SecretMissing, resolve
from proxy.config.structs import Credential
from proxy.messages import UpstreamCredential

_RESERVE = 300.0
_ANSWER_WITHIN = 10.0
_BACKOFF = (1.0, 30.0)
_LINE = 200

logging.getLogger("azure").setLevel(logging.WARNING)


class CredentialFailed(Exception):
    """A source that gave nothing. `fact` is one clean line."""

    def __init__(self, name: str, fact: str) -> None:
        super().__init__(f"credential '{name}': {fact}")
        self.name = name
        self.fact = fact


class Source(Protocol):
    """Where one credential comes from. Blocking."""

    def __call__(self) -> UpstreamCredential:
        """A credential that is fresh. Raises `CredentialFailed`."""


def build(name: str, credential: Credential) -> Source:
    """The source of a credential. Raises `CredentialFailed` where a secret it refers to is missing."""
    if credential.kind == "api_key":
        return lambda: _api_key(name, credential)
    return lambda: _token(name, credential)


def _api_key(name: str, credential: Credential) -> UpstreamCredential:
    assert credential.key is not None
    try:
        return UpstreamCredential("api-key", resolve(credential.key).reveal(), math.inf)
    except SecretMissing as error:
        raise CredentialFailed(name, str(error)) from None


def _token(name: str, credential: Credential) -> UpstreamCredential:
    """A token from a new azure-identity object: its own cache could hand back one that is about to expire."""
    from azure.core.exceptions import AzureError

    try:
        source = _identity(credential)
        try:
            token = source.get_token(credential.scope)
        finally:
            source.close()
    except SecretMissing as error:
        raise CredentialFailed(name, str(error)) from None
    except AzureError as error:
        raise CredentialFailed(name, _line(str(getattr(error, "message", None) or error))) from None
    except (OSError, ValueError) as error:
        raise CredentialFailed(name, _line(f"{type(error).__name__}: {error}")) from None
    return UpstreamCredential("authorization", f"Bearer {token.token}", float(token.expires_on))


def _identity(credential: Credential):  # type: ignore[no-untyped-def]
    """The azure-identity object for a kind; imported here, since it takes a third of a second."""
    from azure.identity import ClientSecretCredential, ManagedIdentityCredential

    if credential.kind == "managed_identity":
        return ManagedIdentityCredential(client_id=credential.client_id)
    assert credential.kind == "client_secret", "refused by proxy.config.implemented"
    assert credential.tenant_id is not None
    assert credential.client_id is not None
    assert credential.secret is not None
    options: dict[str, object] = {}
    if credential.authority is not None:
        # An authority of one's own choice is not to be confirmed by Entra's public one.
        options |= {"authority": credential.authority, "disable_instance_discovery": True}
    if credential.ca is not None:
        options["connection_verify"] = credential.ca
    return ClientSecretCredential(
        credential.tenant_id, credential.client_id, resolve(credential.secret).reveal(), **options
    )


def _line(text: str) -> str:
    first = text.strip().splitlines()[0] if text.strip() else "no answer"
    return "".join(c if c.isprintable() else "?" for c in first)[:_LINE]


class Refresher:
    """Keeps every credential fresh. `publish` gets all of them when one changed, `announce` what people should know.

    `first` is set when each has been obtained or has failed once. `failing` names those whose source is out.
    """

    def __init__(
        self,
        credentials: Mapping[str, Credential],
        publish: Callable[[dict[str, UpstreamCredential]], None],
        announce: Callable[[str], None],
        *,
        build: Callable[[str, Credential], Source] = build,
        wall: Callable[[], float] = time.time,
        uniform: Callable[[], float] = random.random,
    ) -> None:
        self.current: dict[str, UpstreamCredential] = {}
        self.failing: dict[str, str] = {}
        self.first = trio.Event()
        self._definitions = dict(credentials)
        self._publish = publish
        self._announce = announce
        self._build = build
        self._wall = wall
        self._uniform = uniform
        self._tasks: dict[str, trio.CancelScope] = {}
        self._tried: set[str] = set()
        self._changed = trio.Event()
        self._limiter = trio.CapacityLimiter(8)

    async def run(self) -> None:
        """Refresh for ever, a task for each credential."""
        async with trio.open_nursery() as nursery:
            while True:
                self._changed = trio.Event()
                for name, definition in self._definitions.items():
                    if name not in self._tasks:
                        self._tasks[name] = scope = trio.CancelScope()
                        nursery.start_soon(self._keep, name, definition, scope)
                self._check_first()
                await self._changed.wait()

    def reconfigure(self, credentials: Mapping[str, Credential]) -> None:
        """New definitions; what is unchanged keeps its token, and what changed serves on until its new one is there."""
        for name in list(self._tasks):
            if credentials.get(name) != self._definitions.get(name):
                self._tasks.pop(name).cancel()
        for name in list(self.current):
            if name not in credentials:
                del self.current[name]
                self.failing.pop(name, None)
        self._definitions = dict(credentials)
        self._changed.set()

    async def _keep(self, name: str, definition: Credential, scope: trio.CancelScope) -> None:
        with scope:
            backoff = _BACKOFF[0]
            while True:
                try:
                    fresh = await self._fetch(name, definition)
                except CredentialFailed as failed:
                    if name not in self.failing:
                        self._announce(f"{failed}; trying again")
                    self.failing[name] = failed.fact
                    wait = backoff * (0.75 + self._uniform() / 2)
                    backoff = min(backoff * 2, _BACKOFF[1])
                else:
                    if self.failing.pop(name, None) is not None:
                        self._announce(f"credential '{name}' is obtained again")
                    backoff = _BACKOFF[0]
                    self.current = {**self.current, name: fresh}
                    self._publish(self.current)
                    wait = self._until_refresh(fresh)
                self._tried.add(name)
                self._check_first()
                await trio.sleep(wait)

    async def _fetch(self, name: str, definition: Credential) -> UpstreamCredential:
        try:
            with trio.fail_after(_ANSWER_WITHIN):
                return await trio.to_thread.run_sync(
                    self._build(name, definition), abandon_on_cancel=True, limiter=self._limiter
                )
        except trio.TooSlowError:
            raise CredentialFailed(name, f"no answer within {_ANSWER_WITHIN:.0f} s") from None

    def _until_refresh(self, fresh: UpstreamCredential) -> float:
        """Seconds to half of what is left, less up to a tenth; sooner where that comes too close to the end."""
        left = fresh.expires - self._wall()
        if math.isinf(left):
            return 3600.0  # a key in a file may be replaced
        return max(1.0, min(left / 2 * (1 - self._uniform() / 10), left - _RESERVE))

    def _check_first(self) -> None:
        if self._tried.issuperset(self._definitions):
            self.first.set()
