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
# The test restores this backup at its end, so nothing may remove it before. It is an example in the
# document, and would be the first to go.
KEPT = "2026-11-22"
DELETE = "DELETE /api/v1/backups/{name}"
SUBMIT = "POST /api/v1/operations"

_cancelled = itertools.count()
_removed = itertools.count()


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
    spare(case)
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


def spare(case):
    """Gives every removal of the kept backup another backup to remove, made for it: so the route meets
    one that is there, and the kept one stays."""
    asked = case.path_parameters if case.operation.label == DELETE else case.body
    field = "name" if case.operation.label == DELETE else "backup"
    if case.operation.label not in (DELETE, SUBMIT) or not isinstance(asked, dict):
        return
    is_removal = case.operation.label == DELETE or asked.get("kind") == "delete"
    if not is_removal or asked.get(field) != KEPT:
        return
    url = os.environ["OPENAPI_URL"] + "/api/v1/operations"
    name = f"to-be-removed-{next(_removed)}"
    answer = requests.post(url, json={"kind": "backup", "backup": name}, timeout=40)
    answer.raise_for_status()
    place = f"{url}/{answer.json()['id']}?wait=25s"
    while requests.get(place, timeout=40).json()["finished_at"] is None:
        pass
    asked[field] = name


def is_positive(case):
    return case.meta is not None and case.meta.generation.mode.is_positive
