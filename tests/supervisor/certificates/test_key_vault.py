"""Certificates in vaults: what a secret may hold, how a vault is asked, and what happens while it is out."""

import base64
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import unquote

import pytest
import trio
from cryptography import x509
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    KeySerializationEncryption,
    NoEncryption,
    load_pem_private_key,
    pkcs12,
)
from trio.testing import MockClock

from bench.mock.config import Deployment, Instance, MockConfig
from bench.mock.process import MockProcess, mock_process
from certs.pki import Pki, build
from proxy.commands import online
from proxy.config.structs import CertificatePair, Config, Credential, KeyVault, KeyVaultRef, Listen
from proxy.messages import ServerCertificate
from proxy.supervisor.certificates import key_vault
from proxy.supervisor.certificates.key_vault import KeyVaults, Unfit, VaultFailed, asking, first, read, references
from proxy.supervisor.events.events import Event

NOW = datetime.now(UTC)
PEM, PKCS12 = "application/x-pem-file", "application/x-pkcs12"
REF = KeyVaultRef(key_vault="https://v.vault.azure.net", name="gateway")
OTHER = KeyVaultRef(key_vault="https://v.vault.azure.net", name="second")
CONFIG = Config(
    listen=Listen(certificate=REF, certificates=(CertificatePair(certificate=OTHER), CertificatePair(certificate=REF))),
    credentials={"gateway": Credential(kind="managed_identity")},
)


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return build(tmp_path_factory.mktemp("pki"))


def pem(pki: Pki, name: str = "server", *, key: str | None = None) -> str:
    """A secret's value as a vault has it: the key first, then the chain."""
    return pki.pairs[key or name].key.read_text() + pki.pairs[name].certificate.read_text()


def pfx(pki: Pki, protection: KeySerializationEncryption | None = None) -> str:
    pair = pki.pairs["server"]
    leaf, *more = x509.load_pem_x509_certificates(pair.certificate.read_bytes())
    key = load_pem_private_key(pair.key.read_bytes(), None)
    content = pkcs12.serialize_key_and_certificates(None, key, leaf, more, protection or NoEncryption())  # type: ignore[arg-type]
    return base64.b64encode(content).decode()


def test_pem_and_pkcs12_hold_the_same(pki: Pki) -> None:
    pair = pki.pairs["server"]
    expected = ServerCertificate(pair.certificate.read_bytes(), pair.key.read_bytes())
    assert read(pem(pki), PEM, NOW) == expected
    assert read(pfx(pki), PKCS12, NOW) == expected


def test_the_leaf_is_served_first_wherever_it_stands(pki: Pki) -> None:
    pair = pki.pairs["server"]
    leaf, end, issuer = pair.certificate.read_text().partition("-----END CERTIFICATE-----\n")
    found = read(issuer + leaf + end + pair.key.read_text(), PEM, NOW)
    assert found.chain == pair.certificate.read_bytes()


def test_what_is_not_fit_to_be_served(pki: Pki) -> None:
    cases: list[tuple[str, str | None, datetime, str]] = [
        ("", PEM, NOW, "holds no certificate with a private key"),
        ("-----BEGIN", PEM, NOW, "holds no certificate with a private key"),
        ("schlüssel", PEM, NOW, "holds no certificate with a private key"),
        (pki.pairs["server"].certificate.read_text(), PEM, NOW, "holds no certificate with a private key"),
        (pki.pairs["server"].key.read_text(), PEM, NOW, "holds no certificate with a private key"),
        ("!", PKCS12, NOW, "holds no certificate with a private key"),
        (base64.b64encode(b"no archive").decode(), PKCS12, NOW, "holds no certificate with a private key"),
        (pfx(pki, BestAvailableEncryption(b"open sesame")), PKCS12, NOW, "holds no certificate with a private key"),
        (pem(pki), PKCS12, NOW, "holds no certificate with a private key"),
        (pem(pki), None, NOW, "its content type is neither"),
        (pem(pki), "text/plain", NOW, "its content type is neither"),
        (pem(pki, key="mock"), PEM, NOW, "its key is of none of its certificates"),
        (pem(pki), PEM, NOW + timedelta(days=100), "it expired on "),
        (pem(pki), PEM, NOW - timedelta(days=1), "it is not valid before "),
        ("x" * 300_000, PEM, NOW, "it has more than 262144 characters"),
        (pem(pki) + pki.pairs["server"].certificate.read_text() * 10, PEM, NOW, "more than 20 certificates"),
    ]
    for value, content_type, now, words in cases:
        with pytest.raises(Unfit, match=words):
            read(value, content_type, now)


# The real client against a vault of the mock's.


@pytest.fixture(scope="module")
def mock(pki: Pki) -> Iterator[MockProcess]:
    pair = pki.pairs["mock"]
    instance = Instance(name="swc", deployments=(Deployment(name="gpt-4o"),))
    config = MockConfig(certificate=str(pair.certificate), private_key=str(pair.key), instances=(instance,))
    with mock_process(config) as running:
        yield running


@pytest.fixture
def ref(mock: MockProcess, monkeypatch: pytest.MonkeyPatch) -> KeyVaultRef:
    monkeypatch.setenv("AZURE_POD_IDENTITY_AUTHORITY_HOST", mock.identity)
    mock.clear()
    mock.forget()
    return KeyVaultRef(key_vault=mock.vault, name="gateway")


def ask(pki: Pki, ref: KeyVaultRef, ca: Path | None = None) -> ServerCertificate:
    return asking(ref, KeyVault(ca=str(ca or pki.server_root)), Credential(kind="managed_identity"))()


def test_the_newest_version_is_asked_for_with_a_token_for_the_vault(
    pki: Pki, mock: MockProcess, ref: KeyVaultRef
) -> None:
    mock.secret("gateway", pem(pki, "mock"))
    mock.secret("gateway", pfx(pki), PKCS12)
    assert ask(pki, ref).chain == pki.pairs["server"].certificate.read_bytes()
    last = mock.received("vault")[-1]
    assert (last["target"].partition("?")[0], last["status"]) == ("/secrets/gateway/", 200)
    [asked] = mock.received("identity")
    assert f"resource={mock.vault.replace('127.0.0.1', '0.0.1')}" in unquote(asked["target"])


@pytest.mark.parametrize("kind", ["reset", "close", "error", "throttle", "malformed"])
def test_a_vault_that_is_out(pki: Pki, mock: MockProcess, ref: KeyVaultRef, kind: str) -> None:
    mock.secret("gateway", pem(pki))
    mock.fault(kind, instance="vault")
    with pytest.raises(VaultFailed) as caught:
        ask(pki, ref)
    assert caught.value.ref == ref
    fact = caught.value.fact
    assert fact.isprintable()
    assert 0 < len(fact) <= 240
    assert "PRIVATE KEY" not in fact
    assert "mock-token" not in fact


def test_nothing_is_told_to_who_is_not_trusted_or_has_no_such_secret(
    pki: Pki, mock: MockProcess, ref: KeyVaultRef
) -> None:
    with pytest.raises(VaultFailed, match=r"(?i)certificate.verify.failed"):
        ask(pki, ref, pki.client_root)
    with pytest.raises(VaultFailed, match="SecretNotFound"):
        ask(pki, KeyVaultRef(key_vault=ref.key_vault, name="absent"))
    mock.secret("nonsense", "-----BEGIN NONSENSE-----")
    with pytest.raises(VaultFailed, match="holds no certificate with a private key"):
        ask(pki, KeyVaultRef(key_vault=ref.key_vault, name="nonsense"))


def test_check_online_asks_the_vault(
    pki: Pki, mock: MockProcess, ref: KeyVaultRef, capsys: pytest.CaptureFixture[str]
) -> None:
    config = Config(
        listen=Listen(certificate=ref),
        credentials=CONFIG.credentials,
        key_vault=KeyVault(ca=str(pki.server_root)),
    )
    mock.secret("gateway", pem(pki))
    assert online.check(config) == 0
    assert f"certificate gateway of {ref.key_vault}: ok" in capsys.readouterr().out
    mock.secret("gateway", "nonsense")
    assert online.check(config) == 1
    assert f"certificate gateway of {ref.key_vault}: failed: it holds no certificate" in capsys.readouterr().err


# Polling, in time that jumps.


class Vaults:
    """Answers in place of the network: `answers` by name, or the fact of a failure."""

    def __init__(self) -> None:
        self.answers: dict[str, ServerCertificate | str] = {"gateway": made(1), "second": made(2)}
        self.asked = 0
        self.delay = 0.0
        self.events: list[Event] = []
        self.replaced = 0

    async def fetch(self, ref: KeyVaultRef, settings: KeyVault, credential: Credential) -> ServerCertificate:
        self.asked += 1
        await trio.sleep(self.delay)
        answer = self.answers[ref.name]
        if isinstance(answer, str):
            raise VaultFailed(ref, answer)
        return answer

    def kept(self) -> KeyVaults:
        held = {REF: made(1), OTHER: made(2)}
        return KeyVaults(CONFIG, held, self.note_replaced, self.events.append, fetch=self.fetch)

    async def note_replaced(self) -> None:
        self.replaced += 1

    def told(self) -> list[str]:
        found = [event.message.partition(": ")[2] or event.message for event in self.events]
        self.events.clear()
        return found


def made(number: int) -> ServerCertificate:
    return ServerCertificate(b"chain %d" % number, b"key %d" % number)


async def test_at_the_start_it_is_asked_again_for_a_while(autojump_clock: MockClock) -> None:
    vaults = Vaults()
    vaults.answers["second"] = "out"
    with pytest.raises(VaultFailed, match=r"certificate 'second' of https://v\.vault\.azure\.net: out"):
        await first(CONFIG, 30, fetch=vaults.fetch)
    assert 28 <= trio.current_time() <= 30
    assert vaults.asked == 62, "once a second"
    vaults.answers["second"] = made(2)
    assert await first(CONFIG, 30, fetch=vaults.fetch) == {REF: made(1), OTHER: made(2)}
    assert await first(Config(listen=Listen(certificate="file.pem")), 0, fetch=vaults.fetch) == {}


async def test_a_new_version_takes_the_place_of_the_old_one_and_a_failure_does_not(autojump_clock: MockClock) -> None:
    assert references(CONFIG) == (REF, OTHER)
    vaults = Vaults()
    kept = vaults.kept()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(kept.run)
        await trio.sleep(301)
        assert (vaults.asked, vaults.replaced) == (2, 0)
        vaults.answers["gateway"] = made(3)
        await trio.sleep(300)
        assert vaults.replaced == 1
        assert kept.held == {REF: made(3), OTHER: made(2)}
        vaults.answers["gateway"] = "no answer"
        vaults.answers["second"] = made(4)
        await trio.sleep(300)
        assert kept.held == {REF: made(3), OTHER: made(4)}
        assert vaults.told() == ["no answer; the old one serves on, trying again"]
        assert list(kept.failing.values()) == ["no answer"]
        asked = vaults.asked
        await trio.sleep(100)
        assert vaults.asked >= asked + 6, "one that fails is asked more often"
        assert vaults.told() == []
        vaults.answers["gateway"] = made(5)
        await trio.sleep(31)
        assert kept.held[REF] == made(5)
        assert vaults.told() == ["certificate 'gateway' of https://v.vault.azure.net is read again"]
        assert kept.failing == {}
        nursery.cancel_scope.cancel()


async def test_another_configuration_is_asked_for_at_once(autojump_clock: MockClock) -> None:
    vaults = Vaults()
    kept = vaults.kept()
    third = KeyVaultRef(key_vault="https://w.vault.azure.net", name="third")
    listen = Listen(certificate=third, certificates=(CertificatePair(certificate=REF),))
    config = Config(listen=listen, credentials=CONFIG.credentials)
    vaults.answers["third"] = "denied"
    with pytest.raises(VaultFailed, match="denied"):
        await kept.obtained(config)
    vaults.answers["third"] = made(3)
    vaults.asked = 0
    obtained = await kept.obtained(config)
    assert obtained == {third: made(3), REF: made(1)}
    assert vaults.asked == 1, "what is held is not waited for"
    async with trio.open_nursery() as nursery:
        nursery.start_soon(kept.run)
        await trio.sleep(1)
        vaults.answers["gateway"] = made(9)
        kept.reconfigure(config, obtained)
        await trio.sleep(1)
        assert kept.held == {third: made(3), REF: made(9)}
        nursery.cancel_scope.cancel()


async def test_a_poll_that_a_new_configuration_overtakes_changes_nothing(autojump_clock: MockClock) -> None:
    vaults = Vaults()
    kept = vaults.kept()
    vaults.delay = 10
    vaults.answers["gateway"] = made(7)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(kept.run)
        await trio.sleep(305)
        other = Config(listen=Listen(certificate=OTHER), credentials=CONFIG.credentials)
        kept.reconfigure(other, {OTHER: made(2)})
        await trio.sleep(30)
        assert kept.held == {OTHER: made(2)}
        assert vaults.replaced == 0
        nursery.cancel_scope.cancel()


async def test_a_vault_that_hangs_is_given_up(autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch) -> None:
    async def never(*_: object, **__: object) -> None:
        await trio.sleep_forever()

    monkeypatch.setattr(trio.to_thread, "run_sync", never)
    with pytest.raises(VaultFailed, match="no answer within 15 s"):
        await key_vault.fetch(REF, KeyVault(), CONFIG.credentials["gateway"])
    assert trio.current_time() == 15
