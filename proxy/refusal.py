"""Every way the gateway itself turns a request away: the one place that maps a reason to its status and its words.

A stage returns or raises `Refused`; nothing else decides what a client sees. The message tells an honest client what to
fix and an attacker nothing; the exact facts go into the audit record as `rule`.
"""

from enum import Enum
from typing import NamedTuple

import msgspec


class Terms(NamedTuple):
    """`status`; Azure's error `code`; the default message; whether an official client should try again."""

    status: int
    code: str
    message: str
    retry: bool = True


class Reason(Enum):
    """A stable code of the audit record (the member's value) for each refusal."""

    # framing and target: RFC 9110, RFC 9112
    BAD_REQUEST = "bad_request"
    BAD_FRAMING = "bad_framing"
    BAD_TARGET = "bad_target"
    CREDENTIAL_IN_QUERY = "credential_in_query"
    MISDIRECTED = "misdirected"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    EXPECTATION_FAILED = "expectation_failed"
    URI_TOO_LONG = "uri_too_long"
    HEADERS_TOO_LARGE = "headers_too_large"
    BODY_TOO_LARGE = "body_too_large"
    LENGTH_REQUIRED = "length_required"
    ENCODED_BODY = "encoded_body"
    UNSUPPORTED_MEDIA_TYPE = "unsupported_media_type"
    HEAD_TIMEOUT = "head_timeout"
    BODY_TIMEOUT = "body_timeout"
    BAD_JSON = "bad_json"
    MODEL_MISSING = "model_missing"
    UNKNOWN_OPERATION = "unknown_operation"
    STORED_STATE = "stored_state"
    # stored state
    NOT_FOUND = "not_found"
    TWO_RESOURCES = "two_resources"
    UNJUDGED = "unjudged"
    STATE_FULL = "state_full"
    STATE_UNAVAILABLE = "state_unavailable"
    RESOURCE_GONE = "resource_gone"
    # identity
    NO_CREDENTIAL = "no_credential"
    UNKNOWN_KEY = "unknown_key"
    REVOKED_KEY = "revoked_key"
    EXPIRED_KEY = "expired_key"
    UNKNOWN_CERTIFICATE = "unknown_certificate"
    INVALID_TOKEN = "invalid_token"  # noqa: S105
    UNKNOWN_TOKEN_CLIENT = "unknown_token_client"  # noqa: S105
    # a certificate by itself: in the handshake (a TLS alert), or on a request (401)
    CERTIFICATE_MISSING = "certificate_missing"
    CERTIFICATE_EXPIRED = "certificate_expired"
    CERTIFICATE_NOT_YET_VALID = "certificate_not_yet_valid"
    CERTIFICATE_UNTRUSTED = "certificate_untrusted"
    CERTIFICATE_BAD_SIGNATURE = "certificate_bad_signature"
    CERTIFICATE_BAD_PURPOSE = "certificate_bad_purpose"
    CERTIFICATE_BAD_PATH = "certificate_bad_path"
    CERTIFICATE_BAD_NAME = "certificate_bad_name"
    CERTIFICATE_WEAK = "certificate_weak"
    CERTIFICATE_MALFORMED = "certificate_malformed"
    CERTIFICATE_REFUSED = "certificate_refused"
    CERTIFICATE_CHAIN_UNKNOWN = "certificate_chain_unknown"
    CERTIFICATE_REVOKED = "certificate_revoked"
    CERTIFICATE_STATUS_UNKNOWN = "certificate_status_unknown"
    CREDENTIALS_DISAGREE = "credentials_disagree"
    CREDENTIAL_MISSING = "credential_missing"
    DUPLICATE_CREDENTIAL = "duplicate_credential"
    UNSUPPORTED_CREDENTIAL = "unsupported_credential"
    IDENTITY_UNAVAILABLE = "identity_unavailable"
    # policy
    NOT_GRANTED = "not_granted"
    SCOPE_MISSING = "scope_missing"
    ROLE_MISSING = "role_missing"
    GROUP_MISSING = "group_missing"
    USER_NOT_GRANTED = "user_not_granted"
    FEATURE_NOT_GRANTED = "feature_not_granted"
    PARAMETER_NOT_GRANTED = "parameter_not_granted"
    UNKNOWN_MODEL = "unknown_model"
    REQUESTS_PER_MINUTE = "requests_per_minute"
    TOKENS_PER_MINUTE = "tokens_per_minute"
    CONCURRENT_REQUESTS = "concurrent_requests"
    REQUEST_LARGER_THAN_LIMIT = "request_larger_than_limit"
    # routing
    NOT_SERVED = "not_served"
    NO_BACKEND = "no_backend"
    BACKENDS_THROTTLED = "backends_throttled"
    BACKENDS_FAILED = "backends_failed"
    BACKENDS_MISCONFIGURED = "backends_misconfigured"
    BACKEND_TIMEOUT = "backend_timeout"
    DEADLINE = "deadline"
    # the gateway's own state
    OVERLOADED = "overloaded"
    DRAINING = "draining"
    CREDENTIAL_UNAVAILABLE = "credential_unavailable"
    AUDIT_UNAVAILABLE = "audit_unavailable"
    LIMITS_UNAVAILABLE = "limits_unavailable"
    INTERNAL = "internal"

    @property
    def terms(self) -> Terms:
        return _TERMS[self]


_TERMS: dict[Reason, Terms] = {
    Reason.BAD_REQUEST: Terms(400, "BadRequest", "The request is not valid HTTP.", False),
    Reason.BAD_FRAMING: Terms(400, "BadRequest", "The request's framing is not valid.", False),
    Reason.BAD_TARGET: Terms(400, "BadRequest", "The request target is not valid.", False),
    Reason.CREDENTIAL_IN_QUERY: Terms(
        400, "BadRequest", "Credentials are accepted in headers only, never in the query string.", False
    ),
    Reason.MISDIRECTED: Terms(421, "MisdirectedRequest", "This host is not served here.", False),
    Reason.METHOD_NOT_ALLOWED: Terms(405, "MethodNotAllowed", "The method is not allowed for this operation.", False),
    Reason.EXPECTATION_FAILED: Terms(417, "ExpectationFailed", "Only 100-continue can be expected.", False),
    Reason.URI_TOO_LONG: Terms(414, "UriTooLong", "The request line is too long.", False),
    Reason.HEADERS_TOO_LARGE: Terms(431, "HeadersTooLarge", "The request has too many or too large headers.", False),
    Reason.BODY_TOO_LARGE: Terms(413, "RequestTooLarge", "The request body is too large.", False),
    Reason.LENGTH_REQUIRED: Terms(411, "LengthRequired", "The request needs a content-length.", False),
    Reason.ENCODED_BODY: Terms(415, "UnsupportedMediaType", "Request bodies must not be compressed.", False),
    Reason.UNSUPPORTED_MEDIA_TYPE: Terms(
        415, "UnsupportedMediaType", "The content type does not fit this operation.", False
    ),
    Reason.HEAD_TIMEOUT: Terms(408, "RequestTimeout", "The request did not arrive in time."),
    Reason.BODY_TIMEOUT: Terms(408, "RequestTimeout", "The request body did not arrive in time."),
    Reason.BAD_JSON: Terms(400, "BadRequest", "The request body is not a valid JSON object.", False),
    Reason.MODEL_MISSING: Terms(400, "BadRequest", "The request names no model.", False),
    Reason.UNKNOWN_OPERATION: Terms(404, "404", "Resource not found.", False),
    Reason.STORED_STATE: Terms(
        403, "OperationNotAllowed", "This operation on stored state is not available through this gateway.", False
    ),
    Reason.NOT_FOUND: Terms(404, "404", "Resource not found.", False),
    Reason.TWO_RESOURCES: Terms(
        400, "BadRequest", "What the request names lies at different resources, and cannot be used together.", False
    ),
    Reason.UNJUDGED: Terms(400, "BadRequest", "The request has what this gateway cannot judge.", False),
    Reason.STATE_FULL: Terms(
        403, "OperationNotAllowed", "This client stores as much as it may: delete what is no longer needed.", False
    ),
    Reason.STATE_UNAVAILABLE: Terms(
        503, "ServiceUnavailable", "It cannot be told at present whose this is; try again."
    ),
    Reason.RESOURCE_GONE: Terms(
        503, "ServiceUnavailable", "The resource that holds this may not be used for it at present."
    ),
    Reason.NO_CREDENTIAL: Terms(401, "401", "Access denied: present a valid credential.", False),
    Reason.UNKNOWN_KEY: Terms(401, "401", "Access denied: the credential is not valid.", False),
    Reason.REVOKED_KEY: Terms(401, "401", "Access denied: the credential is not valid.", False),
    Reason.EXPIRED_KEY: Terms(401, "401", "Access denied: the credential is not valid.", False),
    Reason.UNKNOWN_CERTIFICATE: Terms(401, "401", "Access denied: the credential is not valid.", False),
    Reason.INVALID_TOKEN: Terms(401, "401", "Access denied: the credential is not valid.", False),
    Reason.UNKNOWN_TOKEN_CLIENT: Terms(401, "401", "Access denied: the credential is not valid.", False),
    Reason.CREDENTIALS_DISAGREE: Terms(401, "401", "Access denied: the credential is not valid.", False),
    Reason.CREDENTIAL_MISSING: Terms(401, "401", "Access denied: a further credential is required.", False),
    Reason.DUPLICATE_CREDENTIAL: Terms(400, "BadRequest", "A credential header was sent more than once.", False),
    Reason.UNSUPPORTED_CREDENTIAL: Terms(401, "401", "Access denied: the credential is not valid.", False),
    Reason.IDENTITY_UNAVAILABLE: Terms(
        503, "ServiceUnavailable", "The credential cannot be verified at present; try again."
    ),
    Reason.NOT_GRANTED: Terms(
        403, "OperationNotAllowed", "This client may not use this operation with this model.", False
    ),
    Reason.SCOPE_MISSING: Terms(
        403, "OperationNotAllowed", "This needs a token with a scope that grants this operation and model.", False
    ),
    Reason.ROLE_MISSING: Terms(
        403, "OperationNotAllowed", "This needs a token with a role that grants this operation and model.", False
    ),
    Reason.GROUP_MISSING: Terms(
        403, "OperationNotAllowed", "This needs a token of a group that is granted this operation and model.", False
    ),
    Reason.USER_NOT_GRANTED: Terms(
        403, "OperationNotAllowed", "This user may not use this operation with this model.", False
    ),
    Reason.PARAMETER_NOT_GRANTED: Terms(
        403, "OperationNotAllowed", "A parameter of the request is beyond what this client may ask for.", False
    ),
    Reason.FEATURE_NOT_GRANTED: Terms(
        403, "OperationNotAllowed", "This client may not use this feature of the operation.", False
    ),
    Reason.UNKNOWN_MODEL: Terms(
        404, "DeploymentNotFound", "The API deployment for this resource does not exist.", False
    ),
    Reason.REQUESTS_PER_MINUTE: Terms(429, "429", "The client's requests a minute are used up."),
    Reason.TOKENS_PER_MINUTE: Terms(429, "429", "The client's tokens a minute are used up."),
    Reason.CONCURRENT_REQUESTS: Terms(429, "429", "The client has too many requests under way."),
    Reason.REQUEST_LARGER_THAN_LIMIT: Terms(
        429, "429", "The request needs more tokens than the client's limit ever allows.", False
    ),
    Reason.NOT_SERVED: Terms(
        400, "OperationNotSupported", "No deployment of this model serves a request of this kind.", False
    ),
    Reason.NO_BACKEND: Terms(503, "ServiceUnavailable", "No backend may serve this request at present."),
    Reason.BACKENDS_THROTTLED: Terms(429, "429", "All backends of this model are at their limits."),
    Reason.BACKENDS_FAILED: Terms(502, "BadGateway", "No backend could answer the request."),
    Reason.BACKENDS_MISCONFIGURED: Terms(502, "BadGateway", "No backend could answer the request."),
    Reason.BACKEND_TIMEOUT: Terms(504, "GatewayTimeout", "The backend did not answer in time."),
    # As a gateway's own time-out, since that is what it is (408 would say that the request came too slowly); but what
    # the client said it does not wait for is not to be asked for once more on its behalf.
    Reason.DEADLINE: Terms(504, "GatewayTimeout", "No answer began in the time the client allows.", False),
    Reason.OVERLOADED: Terms(503, "ServiceUnavailable", "The gateway is at its limits; try again."),
    Reason.DRAINING: Terms(503, "ServiceUnavailable", "The gateway is shutting down; try again."),
    Reason.CREDENTIAL_UNAVAILABLE: Terms(
        503, "ServiceUnavailable", "The gateway cannot reach its backends at present."
    ),
    Reason.LIMITS_UNAVAILABLE: Terms(503, "ServiceUnavailable", "The gateway is at its limits; try again."),
    Reason.AUDIT_UNAVAILABLE: Terms(503, "ServiceUnavailable", "The gateway cannot serve at present; try again."),
    Reason.INTERNAL: Terms(500, "InternalServerError", "The gateway failed to handle the request."),
}


_TERMS |= {
    reason: Terms(401, "401", "Access denied: the credential is not valid.", False)
    for reason in Reason
    if reason.value.startswith("certificate_")
}


OF_STORED_STATE = frozenset(
    (Reason.NOT_FOUND, Reason.TWO_RESOURCES, Reason.UNJUDGED, Reason.STATE_FULL, Reason.STATE_UNAVAILABLE)
)
"""What may be found only when a request is admitted, so that whoever guesses ids is held to its limits."""


class Refused(Exception):
    """A request that goes no further. Raised by a stage, answered and recorded by the worker.

    `rule` says exactly what decided, for the audit record only. `retry_after` is in seconds, None where waiting is not
    what helps. `message` replaces the reason's own where it can name what to fix.
    """

    def __init__(
        self, reason: Reason, rule: str | None = None, *, retry_after: float | None = None, message: str | None = None
    ) -> None:
        super().__init__(reason.value)
        self.reason = reason
        self.rule = rule
        self.retry_after = retry_after
        self.message = message or reason.terms.message


class _Error(msgspec.Struct):
    code: str
    message: str


class _Body(msgspec.Struct):
    error: _Error


class _Event(msgspec.Struct):
    type: str
    code: str
    message: str
    param: None = None


def error_event(code: str, message: str) -> bytes:
    """The data of an error event on the Responses surface: `{"type": "error", "code": …, "message": …}`."""
    return msgspec.json.encode(_Event("error", code, message))


def error_body(code: str, message: str) -> bytes:
    """The body of an error in Azure's shape: `{"error": {"code": …, "message": …}}`."""
    return msgspec.json.encode(_Body(_Error(code, message)))
