"""Whether a request may be tried once more, elsewhere (design section 7, "When to try again").

Asked only while no byte of an answer has gone to the client.
"""

from proxy.config.structs import Routing
from proxy.routing.outcome import Outcome, Retry


def may_retry(outcome: Outcome, *, inference: bool, bytes_sent: bool, whole: bool, settings: Routing) -> bool:
    """`inference`: the operation is stateless; `bytes_sent`: a backend has had some of it; `whole`: it is in memory."""
    if bytes_sent and not whole:
        return False
    match outcome.retry:
        case Retry.ALWAYS:
            return True
        case Retry.IF_SAFE:
            return inference or not bytes_sent
        case Retry.IF_CONFIGURED:
            return settings.retry_first_byte_timeout and inference
        case Retry.NEVER:
            return False
