"""What is wrong with how requests are routed: aliases, routes, canaries, capabilities, and restrictions of clients."""

import pytest

from tests.config.conftest import VALID, Judge, changed

SECOND = 'backend = "fra"\ndeployment = "gpt-4o"\npriority = 1'
FIRST = 'deployment = "gpt-4o-ptu"'
NAME = 'name = "gpt-4o"\n'
BILLING = 'name = "billing"\n'

WHOLE = VALID.replace(NAME, NAME + 'aliases = ["gpt4", "gpt-4o-latest"]\naffinity = "prompt"\nsticky = "user"\n')
WHOLE = WHOLE.replace(
    FIRST,
    FIRST
    + """
operations = ["chat.completions"]
api_versions = ["2024-06-01", "2024-12-01-preview"]
vision = false
audio = false
context = 128_000
tokens_per_minute = 450_000
spill_at = 0.85
""",
)
WHOLE = WHOLE.replace(SECOND, SECOND + "\ncanary = 0.05")
WHOLE = WHOLE.replace(
    BILLING,
    BILLING + 'backends = ["swc"]\ntiers = ["provisioned"]\nroutes = { gpt-4o = "text-embedding-3-small" }\n',
)
WHOLE += '[routing]\nslow_start = "0s"\n'


def test_all_of_it_is_valid(judge: Judge) -> None:
    assert judge(WHOLE) == []


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (changed(NAME, NAME + 'aliases = ["a/b"]\n'), 'models[0].aliases[0]: "a/b"; use letters, digits and'),
        (
            changed(NAME, NAME + 'aliases = ["text-embedding-3-small"]\n'),
            'models[0].aliases[0]: "text-embedding-3-small" is the name of models[1], too; give each its own name',
        ),
        (
            changed(NAME, NAME + 'aliases = ["gpt-4o"]\n'),
            'models[0].aliases[0]: "gpt-4o" is the name of models[0], too',
        ),
        (changed(NAME, NAME + 'aliases = ["x", "x"]\n'), 'models[0].aliases[1]: "x" is an alias of models[0], too'),
        (
            changed(FIRST, FIRST + '\noperations = ["chat"]'),
            'models[0].deployments[0].operations: "chat" is no operation; one of: audio.speech',
        ),
        (
            changed(FIRST, FIRST + '\napi_versions = ["latest", "2024-06-01"]'),
            'models[0].deployments[0].api_versions: "latest"; give the dates of the first and the last, such as',
        ),
        (
            changed(FIRST, FIRST + '\napi_versions = ["2024-06-31", "2024-07-01"]'),
            'models[0].deployments[0].api_versions: "2024-06-31"; give the dates of',
        ),
        (
            changed(FIRST, FIRST + '\napi_versions = ["2024-06-01", "2024-05-01"]'),
            'models[0].deployments[0].api_versions: "2024-06-01" is after "2024-05-01"; give the first one first',
        ),
        (changed(FIRST, FIRST + "\ncontext = 0"), "models[0].deployments[0].context: 0; give more than 0"),
        (changed(FIRST, FIRST + "\nspill_at = 85"), "models[0].deployments[0].spill_at: 85; give a share of 1"),
        (changed(FIRST, FIRST + "\nspill_at = 0"), "models[0].deployments[0].spill_at: 0; give more than 0"),
        (
            changed(SECOND, SECOND + "\nspill_at = 0.9"),
            "models[0].deployments[1].spill_at: set, while no deployment comes after; give another a higher priority",
        ),
        (
            changed(SECOND, SECOND + "\ncanary = 5"),
            "models[0].deployments[1].canary: 5; give a share of 1, such as 0.05",
        ),
        (
            changed(SECOND, SECOND + "\ncanary = 0.5").replace(FIRST, FIRST + "\ncanary = 0.5"),
            "models[0].deployments: all are canaries; give one that answers all others",
        ),
        (
            changed(BILLING, BILLING + 'backends = ["swe"]\n'),
            'clients[1].backends: "swe" is not defined; one of: fra, swc',
        ),
        (
            changed(BILLING, BILLING + 'routes = { gpt-5 = "gpt-4o" }\n'),
            'clients[1].routes.gpt-5: "gpt-5" is no model\'s name; one of: gpt-4o, text-embedding-3-small',
        ),
        (
            changed(BILLING, BILLING + 'routes = { gpt-4o = "gpt-4o" }\n'),
            "clients[1].routes.gpt-4o: leads to itself; leave it out",
        ),
        (
            changed(BILLING, BILLING + 'routes = { gpt-4o = "text-embedding-3-small" }\nregions = ["francecentral"]\n'),
            'clients[1].routes.gpt-4o: "text-embedding-3-small" has no deployment that the client may be sent to',
        ),
        (
            changed(BILLING, BILLING + 'tiers = ["provisioned"]\nregions = ["francecentral"]\n'),
            'clients[1].grants[0].models: no model that "*" matches is deployed in the client\'s regions and tiers',
        ),
        ('[routing]\nslow_start = "-1s"\n' + VALID, "routing.slow_start: "),
    ],
)
def test_what_is_wrong_is_named(judge: Judge, text: str, line: str) -> None:
    found = judge(text)
    assert any(line in one for one in found), found
