"""What a client's grants cannot mean: each is named with its key and its remedy."""

import pytest

from tests.config.conftest import VALID, Judge, changed

FIRST = 'operations = ["chat.completions", "embeddings"]\n'
ANY = 'operations = ["*"]\n'


def with_(line: str) -> str:
    """The second client's grant, of any operation, with one more line."""
    return changed(ANY, ANY + line + "\n")


def second(grant: str) -> str:
    """The second client with another grant behind its first, of which allows chat alone."""
    more = f'operations = ["chat.completions"]\n[[clients.grants]]\nmodels = ["*"]\n{grant}\n'
    return changed(ANY, more)


TOKENS = "set, while the client has no token; only a token can meet it: give the client a token, or leave it out"

TABLE: list[tuple[str, str]] = [
    (with_('scopes = ["a"]'), f"clients[1].grants[0].scopes: {TOKENS}"),
    (with_('roles = ["a"]'), f"clients[1].grants[0].roles: {TOKENS}"),
    (with_('groups = ["a"]'), f"clients[1].grants[0].groups: {TOKENS}"),
    (with_('users = ["a"]'), f"clients[1].grants[0].users: {TOKENS}"),
    (with_("max_tokens = 0"), "clients[1].grants[0].max_tokens: 0; give more than 0"),
    (with_("max_choices = 0"), "clients[1].grants[0].max_choices: 0; give more than 0"),
    (
        changed(FIRST, FIRST + 'streaming = "required"\n'),
        "clients[0].grants[0].streaming: embeddings cannot stream; give that operation a grant of its own",
    ),
    (
        second('operations = ["embeddings"]\nmax_tokens = 5'),
        "clients[1].grants[1].max_tokens: set, while no operation of the grant has that; leave it out",
    ),
    (
        second('operations = ["embeddings"]\nstreaming = "forbidden"'),
        "clients[1].grants[1].streaming: set, while no operation of the grant has that; leave it out",
    ),
    (
        second('operations = ["audio.speech"]\ntools = "forbidden"'),
        "clients[1].grants[1].tools: set, while no operation of the grant has that; leave it out",
    ),
    (
        second('operations = ["audio.transcriptions"]\naudio = "forbidden"'),
        "clients[1].grants[1].audio: audio.transcriptions is made of audio; give that operation a grant of its own",
    ),
    (
        second('operations = ["images.edits"]\nmax_choices = 2'),
        "clients[1].grants[1].max_choices: images.edits is a form, which is not read for it; give that operation a",
    ),
    (
        second('operations = ["responses", "audio.transcriptions"]\nstreaming = "forbidden"'),
        "clients[1].grants[1].streaming: audio.transcriptions is a form, which is not read for it; give",
    ),
    (
        with_('tools = "forbidden"\nfeatures = ["server_tools"]'),
        'clients[1].grants[0].tools: forbidden, while features name "server_tools"; leave one of the two out',
    ),
    (
        with_('images = "forbidden"\nfeatures = ["remote_images"]'),
        'clients[1].grants[0].images: forbidden, while features name "remote_images"; leave one of the two out',
    ),
    (
        second('operations = ["chat.completions"]\nmax_tokens = 5'),
        "clients[1].grants[1]: never decides: grants[0] allows all that it does, and comes first; leave it out, put it",
    ),
    (
        changed('regions = ["swedencentral"]', 'regions = ["francecentral"]'),
        'clients[0].grants[0].models: no model that "text-embedding-3-*" matches is deployed in the client\'s regions; '
        "deploy one there",
    ),
]


@pytest.mark.parametrize(("text", "says"), TABLE, ids=[row[1].partition(";")[0][11:] for row in TABLE])
def test_one_thing_wrong(judge: Judge, text: str, says: str) -> None:
    lines = judge(text)
    assert len(lines) == 1
    assert lines[0].startswith(says), lines


BOUNDS = 'max_tokens = 64\nmax_choices = 1\nstreaming = "required"\ntools = "forbidden"\nimages = "forbidden"'


@pytest.mark.parametrize(
    "text",
    [
        VALID,
        with_(BOUNDS + '\naudio = "forbidden"'),
        second('operations = ["embeddings"]'),
        second('operations = ["chat.completions"]\nfeatures = ["background"]'),
    ],
)
def test_nothing_wrong(judge: Judge, text: str) -> None:
    assert judge(text) == []
