"""The short form of `python -m tests.fuzz`: some cases of the quick targets, in one process each."""

import random
from pathlib import Path

import pytest

from tests.fuzz.child import outcome
from tests.fuzz.mutation import mutate_bytes, mutate_json
from tests.fuzz.parent import Account, fuzz, summary
from tests.fuzz.targets import TARGETS, load, share

QUICK = {"dates", "settings", "parameters", "cards", "csv", "parquet", "frames", "zip", "xlsx", "ipc"}


@pytest.mark.slow
@pytest.mark.parametrize("name", TARGETS)
def test_every_case_is_taken_or_refused_in_one_line(name: str, tmp_path: Path) -> None:
    target = load(name)
    seeds = target.seeds(tmp_path / "seeds")
    (tmp_path / "work").mkdir()
    for at in range(20 if name in QUICK else 1):
        draw = random.Random(f"{name} {at}")
        case = target.mutate(draw, draw.choice(seeds), seeds)
        told = outcome(target, case, tmp_path / "work")
        assert told["outcome"] in ("taken", "refused"), (told, case)


@pytest.mark.slow
def test_cases_in_a_process_of_their_own_are_counted(tmp_path: Path) -> None:
    account = fuzz("dates", 50, 0, tmp_path)
    assert (account.cases, account.crashes, account.hangs, account.wrong) == (50, 0, 0, 0)
    assert 0 < account.refused <= 50
    assert "dates" in summary([account, Account("x")])


def test_shares_add_up() -> None:
    assert abs(sum(share(name, 100_000) for name in TARGETS) - 100_000) <= len(TARGETS)


def test_mutations_are_the_same_of_the_same_seed() -> None:
    for mutate in (mutate_bytes, mutate_json):
        found = [mutate(random.Random(at), b'{"a": [1, 2]}', [b"{}"]) for at in range(200)]
        assert found == [mutate(random.Random(at), b'{"a": [1, 2]}', [b"{}"]) for at in range(200)]
        assert len(set(found)) > 50
