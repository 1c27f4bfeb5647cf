"""The policies in docs/security.md allow what a run and a reader ask for, and nothing that a run does not ask for."""

import json
import re
from collections.abc import Iterator
from fnmatch import fnmatchcase
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

from pipeline.io import bucket as storage
from pipeline.io.storage import Location
from pipeline.result import read_result
from pipeline.store.run_folder import RunFolder, latest_run
from tests.conftest import REPOSITORY
from tests.s3.conftest import Grant, Key, Night
from tests.s3.proxy import FaultyProxy

OBJECTS = {"GET": "s3:GetObject", "HEAD": "s3:GetObject", "PUT": "s3:PutObject"}


def policy(role: str) -> list[dict[str, Any]]:
    """Return the statements below a heading of the document."""
    text = (REPOSITORY / "docs" / "security.md").read_text()
    section = text.partition(f"\n### {role}\n")[2].partition("\n#")[0]
    [block] = re.findall(r"```json\n(.*?)```", section, re.DOTALL)
    statements: list[dict[str, Any]] = json.loads(block)["Statement"]
    assert all(set(of) <= {"Sid", "Effect", "Action", "Resource", "Condition"} for of in statements)
    assert {of["Effect"] for of in statements} == {"Allow"}
    return statements


def as_list(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value


def asked(method: str, path: str) -> tuple[str, str, str | None]:
    """Return the action that a request needs, on what, and the prefix that it lists; a multiple delete has none."""
    address = urlsplit(path)
    bucket, _, key = unquote(address.path).lstrip("/").partition("/")
    query = parse_qs(address.query, keep_blank_values=True)
    if not key and method == "GET" and query.get("list-type") == ["2"]:
        return "s3:ListBucket", f"arn:aws:s3:::{bucket}", query["prefix"][0]
    assert key and not address.query.replace("x-id=", "").isupper(), f"{method} {path} has no action here"
    return OBJECTS[method], f"arn:aws:s3:::{bucket}/{key}", None


def all_asked(requests: list[tuple[str, str]], deleted: list[str]) -> Iterator[tuple[str, str, str | None]]:
    yield from (asked(method, path) for method, path in requests if method != "POST")
    yield from (("s3:DeleteObject", f"arn:aws:s3:::{key}", None) for key in deleted)


def allowing(statement: dict[str, Any], action: str, resource: str, prefix: str | None) -> Iterator[tuple[str, str]]:
    """Yield each pair of an action and a resource in a statement that allows something."""
    if condition := statement.get("Condition"):
        [(name, patterns)] = condition["StringLike"].items()
        assert set(condition) == {"StringLike"} and name == "s3:prefix"
        if prefix is None or not any(fnmatchcase(prefix, pattern) for pattern in as_list(patterns)):
            return
    for pattern in as_list(statement["Resource"]):
        if action in as_list(statement["Action"]) and fnmatchcase(resource, pattern):
            yield action, pattern


def used(role: str, requests: list[tuple[str, str]], deleted: list[str]) -> set[tuple[str, str]]:
    """Return the pairs of action and resource that were needed; every request must be allowed."""
    statements, needed = policy(role), set()
    for action, resource, prefix in all_asked(requests, deleted):
        found = {pair for of in statements for pair in allowing(of, action, resource, prefix)}
        assert found, f"{role} is not allowed {action} on {resource} (prefix {prefix})"
        needed |= found
    return needed


def granted(role: str) -> set[tuple[str, str]]:
    return {(a, r) for of in policy(role) for a in as_list(of["Action"]) for r in as_list(of["Resource"])}


def test_a_run_needs_what_its_policy_allows_and_all_of_it(night: Night) -> None:
    assert night.done.returncode == 0, night.done.stderr
    deletes = [path for method, path in night.requests if method == "POST"]
    assert deletes and all(path.endswith("?delete") for path in deletes)
    assert used("A run", night.requests, night.deleted) == granted("A run")


def test_a_reader_needs_what_its_policy_allows_and_all_of_it(
    night: Night, reader: Key, grant: Grant, monkeypatch: pytest.MonkeyPatch
) -> None:
    grant("results", [night.key, reader], [night.key])
    requests: list[tuple[str, str]] = []
    with FaultyProxy(reader) as proxy:
        proxy.conceal()
        proxy.on_request(lambda method, path: requests.append((method, path)))
        for name, value in proxy.environment.items():
            monkeypatch.setenv(name, value)
        storage.client.cache_clear()
        output = Location.parse("s3://results/scores")
        assert (output / "runs").folders() == ["run_id=test"]
        result = read_result(RunFolder(output, latest_run(output)))
        for name in result.scores["map_uri"].to_pylist():
            (output / name.partition("#")[0]).read_bytes()
        storage.client.cache_clear()
    assert used("A reader of results", requests, proxy.deleted) == granted("A reader of results")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("DELETE", "/results/scores/work/a"),
        ("PUT", "/lake/parts/a.png"),
        ("PUT", "/results/scores/elsewhere"),
        ("GET", "/lake?list-type=2&prefix=weights%2F"),
        ("GET", "/lake?list-type=2&prefix="),
        ("GET", "/results/other/latest.json"),
    ],
)
def test_what_no_run_asks_for_is_not_allowed(method: str, path: str) -> None:
    with pytest.raises((AssertionError, KeyError)):
        used("A run", [(method, path)], [])


@pytest.mark.parametrize("key", ["results/scores/runs/run_id=test/run.json", "results/scores/features/a", "lake/a"])
def test_what_is_published_or_stored_is_not_deleted(key: str) -> None:
    with pytest.raises(AssertionError, match="is not allowed s3:DeleteObject"):
        used("A run", [], [key])
