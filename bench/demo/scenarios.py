"""The scenarios: what of the configuration makes each, what its client shows, and what is turned away.

A scenario is built once the mock runs. `settings` are the tables of the configuration that are its own; the client is
always `turbine-7`. `attempt` is answered, `refused` is not; both are made when the gateway serves.
"""

import hashlib
import json
import subprocess
import sys
import time
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from bench.demo.failure import DemoFailed
from bench.mock.mint import TokenIssuer
from bench.mock.process import MockProcess
from certs.pki import Pair, Pki
from proxy.identity import base64url

_KEY = "demo-key-not-a-secret"
_LIFE = 8 * 3600
_CERTIFICATE = 'certificate = { issuer = "CN=Devices CA,O=Contoso", san_uri = ["spiffe://contoso/turbine-7"] }'

_TOKEN = 'token = { issuer = "contoso", client = "turbine-7-app" }'  # noqa: S105


class Attempt(NamedTuple):
    """A request to make. `words` says to people what is special about it."""

    words: str
    headers: Mapping[str, str] = MappingProxyType({})
    pair: Pair | None = None
    model: str = "gpt-4o"


class Scenario:
    """What all have in common: a client whose grant is the model `gpt-4o`."""

    what = ""
    scopes: tuple[str, ...] = ()

    def __init__(self, pki: Pki, mock: MockProcess) -> None:
        self.pki = pki
        self.mock = mock

    def settings(self) -> str:
        raise NotImplementedError

    def prepare(self, config: Path) -> None:
        """The configuration is there, the gateway is about to start."""

    def attempt(self) -> Attempt:
        raise NotImplementedError

    def refused(self) -> Attempt:
        raise NotImplementedError

    def _client(self, *lines: str) -> str:
        scopes = "".join(f'scopes = ["{scope}"]\n' for scope in self.scopes)
        return (
            '[[clients]]\nname = "turbine-7"\ntenant = "power"\n'
            + "".join(f"{line}\n" for line in lines)
            + '\n[[clients.grants]]\nmodels = ["gpt-4o"]\noperations = ["chat.completions", "responses"]\n'
            + scopes
            + "\n[clients.limits]\nrequests_per_minute = 600\ntokens_per_minute = 120_000\nconcurrent_requests = 64\n"
        )

    def _trust(self, mode: str) -> str:
        return f'[listen.client_certificates]\nmode = "{mode}"\nroots = ["{self.pki.client_root}"]\n'


class IdentityProvider(Scenario):
    what = "the client carries a token of an identity provider: OpenID Connect, discovered"
    scopes = ("chat.write",)

    def __init__(self, pki: Pki, mock: MockProcess) -> None:
        super().__init__(pki, mock)
        self.issuer = TokenIssuer(f"{mock.issuers}/contoso")
        mock.issuer("contoso", self.issuer.jwks)

    def settings(self) -> str:
        return self._issuer() + "\n" + self._client(_TOKEN)

    def attempt(self) -> Attempt:
        return Attempt("a token with the scope chat.write", self._bearer())

    def refused(self) -> Attempt:
        return Attempt("the same token, ten minutes after its end", self._bearer(exp=int(time.time()) - 600))

    def _issuer(self) -> str:
        return (
            f'[[issuers]]\nname = "contoso"\nissuer = "{self.issuer.iss}"\n'
            f'audiences = ["api://penstock"]\nca = "{self.pki.server_root}"\n'
        )

    def _bearer(self, **claims: Any) -> dict[str, str]:
        usual: dict[str, Any] = {
            "azp": "turbine-7-app",
            "oid": "user-1",
            "scp": "chat.write",
            "exp": int(time.time()) + _LIFE,
        }
        token = self.issuer.mint(**usual | claims)
        return {"authorization": f"Bearer {token.decode()}"}


class Certificates(Scenario):
    what = "the client shows a certificate: mutual TLS, and CRLs that are fetched"

    def settings(self) -> str:
        crls = ", ".join(f'"{self.mock.revocation_url}/crl/{name}.crl"' for name in ("root", "devices"))
        revocation = f'crls = [{crls}]\nrevocation = "hard"\n'
        return self._trust("required") + revocation + "\n" + self._client(_CERTIFICATE)

    def prepare(self, config: Path) -> None:
        leaf = x509.load_pem_x509_certificates(self.pki.pairs["revoked"].certificate.read_bytes())[0]
        self.mock.revocation(authority="devices", revoke=[f"{leaf.serial_number:x}"])

    def attempt(self) -> Attempt:
        return Attempt("turbine-7's certificate", pair=self.pki.pairs["turbine-7"])

    def refused(self) -> Attempt:
        return Attempt("a certificate that its authority has revoked", pair=self.pki.pairs["revoked"])


class Keys(Scenario):
    what = "the client has a key of its own, issued and revoked by command"

    def settings(self) -> str:
        return self._client("keys = true")

    def prepare(self, config: Path) -> None:
        self._config = config
        for key in json.loads(self._penstock("list", "--json").stdout):
            if key["state"] == "live":  # of an earlier run
                self._penstock("revoke", key["id"])
        self._key = self._penstock("issue", "--client", "turbine-7").stdout.strip()
        second = self._penstock("rotate", "--client", "turbine-7")
        self._revoked = second.stdout.strip()
        self._penstock("revoke", second.stderr.partition(" ")[0])

    def attempt(self) -> Attempt:
        return Attempt("the key that was issued", {"api-key": self._key})

    def refused(self) -> Attempt:
        return Attempt("a second key, which was revoked", {"api-key": self._revoked})

    def _penstock(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """`penstock keys …`, shown and run."""
        print(f"$ penstock keys {' '.join(arguments)} --config {self._config}")
        command = [sys.executable, "-m", "proxy", "keys", *arguments, "--config", str(self._config)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
        if done.returncode:
            raise DemoFailed(f"penstock keys {arguments[0]}: {done.stderr.strip()}")
        return done


class MultiRegion(Scenario):
    what = "one region is down, and the other answers in its place"

    def settings(self) -> str:
        digest = hashlib.sha256(_KEY.encode()).hexdigest()
        return self._client(f'key_hashes = ["sha256:{digest}"]')

    def prepare(self, config: Path) -> None:
        self.mock.fault("reset", instance="sweden")

    def attempt(self) -> Attempt:
        return Attempt("the client's key", {"api-key": _KEY})

    def refused(self) -> Attempt:
        return Attempt("the client's key, for a model that it is not granted", {"api-key": _KEY}, model="gpt-4o-mini")


class Combined(IdentityProvider):
    what = "the client needs a certificate and a token that is bound to it (RFC 8705)"

    def settings(self) -> str:
        client = self._client(_CERTIFICATE, _TOKEN, 'require = "all"')
        return "\n".join((self._trust("optional"), self._issuer(), client))

    def attempt(self) -> Attempt:
        return Attempt("turbine-7's certificate, and a token bound to it", self._bound, self.pki.pairs["turbine-7"])

    def refused(self) -> Attempt:
        return Attempt("the same token, stolen: without the certificate", self._bound)

    @cached_property
    def _bound(self) -> dict[str, str]:
        pair = self.pki.pairs["turbine-7"]
        leaf = x509.load_pem_x509_certificates(pair.certificate.read_bytes())[0]
        digest = hashlib.sha256(leaf.public_bytes(Encoding.DER)).digest()
        return self._bearer(cnf={"x5t#S256": base64url.encode(digest).decode()})


SCENARIOS: dict[str, type[Scenario]] = {
    "identity-provider": IdentityProvider,
    "certificates": Certificates,
    "keys": Keys,
    "multi-region": MultiRegion,
    "combined": Combined,
}
