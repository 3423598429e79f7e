"""The check that everything is refused for want of credentials."""

import schemathesis


@schemathesis.check
def asks_for_credentials(ctx, response, case):
    """401, in the envelope, and with a challenge that a client can act on."""
    assert response.status_code == 401, f"answered {response.status_code}"
    assert response.headers.get("www-authenticate"), "no WWW-Authenticate"
    content_type = response.headers.get("content-type", ["none"])[0]
    assert content_type.startswith("application/json"), f"the body is {content_type}"
    error = response.json()["error"]
    assert error["kind"] == "unauthorized", f"the kind is {error['kind']}"
    assert error["message"] and error["hint"], "message and hint are for people"
