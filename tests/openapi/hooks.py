"""What schemathesis cannot read out of the document.

`OPENAPI_URL` is the address of the daemon.
"""

import itertools
import os

import requests
import schemathesis

# Rules that a schema has no words for, because they are about two fields or about the clock: that a
# request which breaks them is refused is right. By route and a part of the message.
RULES_BESIDE_THE_SCHEMA = (
    ("POST /api/v1/operations", "cannot be built on itself"),
    ("POST /api/v1/operations", "databases and tables are given"),
    ("POST /api/v1/schedules/{name}/pause", "which is not ahead"),
)
SCHEMA_VALID_REQUEST_REJECTED = "ST202"
CANCEL = "POST /api/v1/operations/{id}/cancel"

_cancelled = itertools.count()


@schemathesis.hook
def filter_failure(context, failure, case, response):
    """Keeps every failure but refusals by these rules, which have to be in the envelope as well."""
    if failure.code != SCHEMA_VALID_REQUEST_REJECTED or response.status_code != 400:
        return True
    error = response.json()["error"]
    return not any(
        case.operation.label == route and text in error["message"]
        for route, text in RULES_BESIDE_THE_SCHEMA
    )


@schemathesis.hook
def before_call(context, case, kwargs):
    """Lets every second cancellation meet an operation that has not ended: the ids which the
    generator knows are of operations that end within milliseconds."""
    if case.operation.label != CANCEL or case.method != "POST" or not is_positive(case):
        return
    number = next(_cancelled)
    if number % 2 == 1:
        return
    answer = requests.post(
        os.environ["OPENAPI_URL"] + "/api/v1/operations",
        json={"kind": "backup", "backup": f"to-be-cancelled-{number}"},
        timeout=40,
    )
    answer.raise_for_status()
    case.path_parameters["id"] = answer.json()["id"]


def is_positive(case):
    return case.meta is not None and case.meta.generation.mode.is_positive
