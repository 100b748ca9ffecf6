"""A batch: every line of its file is held to what its client may ask for when the file is uploaded; what it will use
counts when it is made.
"""

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

import msgspec
import trio

from proxy.refusal import Reason, Refused
from proxy.stored import bodies, upload
from proxy.stored.entry import Entry, owner_of
from proxy.stored_exchange.direct import OFF_LOOP

if TYPE_CHECKING:
    from proxy.exchange import Exchange

_LINES_OFF_LOOP = OFF_LOOP // 8


def model_of(exchange: "Exchange", form: upload.Upload) -> str:
    """The model that a batch's file is for, by which it is granted. Raises `Refused`."""
    asked = upload.model_of(form.content)
    model = exchange.view.aliases.get(asked, asked)
    exchange.record.model = model[:256]
    if model not in exchange.view.models:
        raise Refused(Reason.UNKNOWN_MODEL, "models")
    return model


async def judged(exchange: "Exchange", form: upload.Upload, model: str, place: str) -> upload.Judged:
    """A batch's file, each line judged, and made out to the deployment at `place`. Raises `Refused`."""
    permissions = exchange.view.permissions[exchange.client.name]
    estimator, client, here = exchange.worker.estimator, exchange.client, exchange.view.resources[place]
    served = client.routes.get(model, model)
    deployment = next((one.deployment for one in exchange.view.models[served].deployments if one.backend in here), None)
    if deployment is None:  # the configuration has changed
        raise Refused(Reason.NO_BACKEND, f"{served} is not at {place}")
    judge = partial(
        upload.judged,
        form.content,
        deployment,
        lambda operation, _, request: permissions.authorize(operation, model, exchange.principal, request),
        lambda _, size, limit: estimator.estimate(served, client.name, size, limit),
        closely=permissions.closely,
    )
    small = len(form.content) < _LINES_OFF_LOOP
    found = judge() if small else await trio.to_thread.run_sync(judge)
    return msgspec.structs.replace(found, model=model)


def judge_making(exchange: "Exchange", said: bodies.Said, entries: Sequence[Entry]) -> None:
    """Its file was judged when it was uploaded; what is granted may have changed since. Raises `Refused`."""
    own = owner_of(exchange.client)  # whoever else may read it: its lines were held to what its owner may ask for
    if len(entries) != 1 or entries[0].owner != own or not entries[0].operation:
        raise Refused(Reason.UNJUDGED, "input_file_id", message="'input_file_id' must be a file for a batch.")
    file = entries[0]
    operation = upload.run_by(bodies.string(said, "endpoint"))
    if operation.name != file.operation:
        raise Refused(Reason.UNJUDGED, "endpoint", message="'endpoint' is not what the lines of the file ask for.")
    exchange.record.model = file.model
    permissions = exchange.view.permissions[exchange.client.name]
    permissions.authorize(operation, file.model, exchange.principal, None)
