"""What stands behind the name of a run, without a server."""

from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from prefect import State
from prefect.runtime import flow_run
from prefect.states import Completed, Failed

from flows.artifacts import result_line
from flows.artifacts.result_line import say_result

RUN = UUID(int=1)


@pytest.mark.parametrize(
    ("state", "name"),
    [
        (Completed(), "XNYS 2024-10-10: 2 of 2 scored"),
        (Completed(name="Incomplete"), "XNYS 2024-10-10: 2 of 2 scored"),
        (Failed(message="1 of 2 symbols broke: A"), "XNYS 2024-10-10: 1 of 2 symbols broke: A"),
    ],
)
def test_the_name_of_a_run_that_is_about_to_fail_is_the_reason(
    monkeypatch: pytest.MonkeyPatch, state: State[Any], name: str
) -> None:
    said: list[tuple[UUID, str]] = []
    renamed: Callable[[UUID, str, str], None] = lambda run, old, line: said.append((run, f"{old}: {line}"))  # noqa: E731
    monkeypatch.setattr(result_line, "_rename", renamed)
    monkeypatch.setattr(flow_run, "id", str(RUN), raising=False)
    monkeypatch.setattr(flow_run, "name", "XNYS 2024-10-10", raising=False)
    say_result("2 of 2 scored", state)
    assert said == [(RUN, name)]
