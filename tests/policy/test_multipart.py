"""Forms: the one model field is found, replaced, and never there twice."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.policy.multipart import Form
from proxy.refusal import Reason, Refused

TYPE = b"multipart/form-data; boundary=B"


def form(*parts: tuple[bytes, bytes], boundary: bytes = b"B") -> bytes:
    body = b"".join(b"--%b\r\n%b\r\n\r\n%b\r\n" % (boundary, head, value) for head, value in parts)
    return body + b"--%b--\r\n" % boundary


def field(name: bytes) -> bytes:
    return b'Content-Disposition: form-data; name="%b"' % name


FILE = (field(b"file") + b'; filename="a.wav"\r\nContent-Type: audio/wav', b"\x00\r\n--A\r\nname=model\r\n")


def test_the_model_is_found_and_replaced() -> None:
    body = form((field(b"language"), b"en"), (field(b"model"), b"whisper"), FILE)
    read = Form(body, TYPE)
    assert read.model == "whisper"
    assert read.forwarded("dep") == form((field(b"language"), b"en"), (field(b"model"), b"dep"), FILE)


def test_a_form_without_a_model_passes_as_it_is() -> None:
    body = form(FILE)
    assert Form(body, TYPE).model is None
    assert Form(body, TYPE).forwarded("dep") == body


def test_a_quoted_boundary_and_an_unquoted_name() -> None:
    body = form((b"content-disposition: form-data; name=model", b"m"), boundary=b"x y")
    assert Form(body, b'Multipart/Form-Data; charset=x; boundary="x y"').model == "m"


@pytest.mark.parametrize(
    ("body", "content_type", "reason"),
    [
        (form((field(b"model"), b"a"), (field(b"model"), b"b")), TYPE, Reason.BAD_REQUEST),
        (form((field(b"model"), b"a"), (field(b"Model"), b"b")), TYPE, Reason.BAD_REQUEST),
        (form((field(b"model") + b"\r\n" + field(b"x"), b"a")), TYPE, Reason.BAD_REQUEST),
        (form((field(b"x") + b"; name*=utf-8''model", b"a")), TYPE, Reason.BAD_REQUEST),
        (form((b"X: y", b"a")), TYPE, Reason.BAD_REQUEST),
        (form((field(b"model"), b"m" * 300)), TYPE, Reason.BAD_REQUEST),
        (form((field(b"model"), b"m"))[:-8], TYPE, Reason.BAD_REQUEST),
        (b"--B\r\nno head", TYPE, Reason.BAD_REQUEST),
        (b"", TYPE, Reason.BAD_REQUEST),
        (form(FILE), b"multipart/form-data", Reason.UNSUPPORTED_MEDIA_TYPE),
        (form(FILE), b"multipart/form-data; boundary=A; boundary=B", Reason.UNSUPPORTED_MEDIA_TYPE),
        (form(FILE), b"multipart/mixed; boundary=B", Reason.UNSUPPORTED_MEDIA_TYPE),
    ],
)
def test_forms_refused(body: bytes, content_type: bytes, reason: Reason) -> None:
    with pytest.raises(Refused) as caught:
        Form(body, content_type)
    assert caught.value.reason is reason


@given(st.binary(max_size=200))
def test_any_bytes_are_a_form_or_a_refusal(body: bytes) -> None:
    try:
        Form(body, TYPE)
    except Refused:
        return
