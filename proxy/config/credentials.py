"""What is wrong with how the gateway is to prove itself to backends: what each kind needs and makes use of."""

import os
import re
from collections.abc import Iterator
from datetime import datetime

from proxy.config import pem
from proxy.config.address import https_fault
from proxy.config.files import Unreadable, read
from proxy.config.names import named, secret
from proxy.config.problem import Problem, quoted, within
from proxy.config.secrets import SecretMissing, resolve
from proxy.config.structs import Config, Credential, Table

_APPLICATION = frozenset(("client_id", "tenant_id", "authority", "cloud", "scope", "ca"))
_USED = {
    "managed_identity": frozenset(("client_id", "cloud", "scope")),
    "workload_identity": _APPLICATION | {"token_file"},
    "client_secret": _APPLICATION | {"secret"},
    "client_certificate": _APPLICATION | {"certificate", "certificate_password"},
    "azure_cli": frozenset(("tenant_id", "cloud", "scope")),
    "api_key": frozenset(("key",)),
}
"""What a kind of credential makes use of."""

_NEEDED = {
    "workload_identity": ("tenant_id", "client_id", "token_file"),
    "client_secret": ("tenant_id", "client_id", "secret"),
    "client_certificate": ("tenant_id", "client_id", "certificate"),
    "api_key": ("key",),
}
WORKLOAD = {
    "tenant_id": "AZURE_TENANT_ID",
    "client_id": "AZURE_CLIENT_ID",
    "token_file": "AZURE_FEDERATED_TOKEN_FILE",
}
"""Where a workload finds what its cluster gives it, unless the configuration says it."""

_TENANT = re.compile(r"[0-9A-Za-z.-]{1,128}")
_SCOPE = re.compile(r"[0-9A-Za-z_.:/-]{1,256}/\.default")
_TOKEN_AT_MOST = 64 << 10


def problems(config: Config, now: datetime) -> Iterator[Problem]:
    for name, credential in config.credentials.items():
        yield from _credential(within("credentials", name), name, credential, now)


def _credential(key: str, name: str, credential: Credential, now: datetime) -> Iterator[Problem]:
    yield from named(key, name)
    used = _USED[credential.kind]
    for field in _NEEDED.get(credential.kind, ()):
        if getattr(credential, field) is None:
            yield from _missing(f"{key}.{field}", field, credential.kind)
    for field in credential.__struct_fields__:
        if field not in used and field != "kind" and getattr(credential, field) != _default(Credential, field):
            yield Problem(f"{key}.{field}", "set", f'kind "{credential.kind}" makes no use of it: leave it out')
    for field in ("key", "secret", "certificate_password"):
        ref = getattr(credential, field)
        if ref is not None and field in used:
            yield from secret(f"{key}.{field}", ref)
    if credential.authority is not None and "://" in credential.authority:
        fault = https_fault(credential.authority)
        if fault is not None:
            yield Problem(f"{key}.authority", fault, 'give "https://" and a host')
    if credential.ca is not None:
        yield from pem.trust(f"{key}.ca", credential.ca, now)
    yield from _spelled(key, credential)
    if credential.kind == "client_certificate" and credential.certificate is not None:
        yield from _certificate(f"{key}.certificate", credential, credential.certificate, now)
    if credential.kind == "workload_identity":
        yield from _token_file(f"{key}.token_file", credential)


def _missing(key: str, field: str, kind: str) -> Iterator[Problem]:
    if kind != "workload_identity":
        yield Problem(key, "missing", f'kind "{kind}" needs it')
    elif not os.environ.get(WORKLOAD[field]):
        yield Problem(key, "missing", f'kind "{kind}" needs it, or the environment variable {WORKLOAD[field]}')


def _spelled(key: str, credential: Credential) -> Iterator[Problem]:
    if credential.tenant_id is not None and not _TENANT.fullmatch(credential.tenant_id):
        yield Problem(f"{key}.tenant_id", quoted(credential.tenant_id), "give a tenant's id or domain")
    if credential.scope is not None and not _SCOPE.fullmatch(credential.scope):
        remedy = 'give the address of what is used, and "/.default": "https://cognitiveservices.azure.com/.default"'
        yield Problem(f"{key}.scope", quoted(credential.scope), remedy)


def _certificate(key: str, credential: Credential, path: str, now: datetime) -> Iterator[Problem]:
    password = None
    if credential.certificate_password is not None:
        try:
            password = resolve(credential.certificate_password).reveal()
        except SecretMissing:
            return  # said already
    yield from pem.proof(key, path, password, now)


def _token_file(key: str, credential: Credential) -> Iterator[Problem]:
    path = credential.token_file or os.environ.get(WORKLOAD["token_file"])
    if path:
        try:
            if not read(path, _TOKEN_AT_MOST).strip():
                yield Problem(key, f"{path} is empty", "name the file that the cluster keeps a token in")
        except Unreadable as error:
            yield Problem(key, f"{path} {error}", "name a readable file")


def _default(kind: type[Table], field: str) -> object:
    defaults = kind.__struct_defaults__
    return dict(zip(kind.__struct_fields__[-len(defaults) :], defaults, strict=True)).get(field)
