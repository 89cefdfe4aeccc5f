"""What lies in a home: records of runs, and tables whose files somebody else wrote or changed."""

import contextlib
import io
import json
import random
import shutil
from pathlib import Path

from kline_core.cli.parser import main
from kline_core.errors import HomeError
from kline_core.store.home import Home
from kline_core.store.run_records import read_record
from tests.fuzz.mutation import mutate_bytes, mutate_json
from tests.fuzz.target import Taken, Target, check, check_line
from tests.support.homes import add_bars, make_home, market

RUN = "20200102T000000-abcdef"
_GUIDED = ("/store/", "/recording.py", "/run_commands.py", "/api/runs.py")


def records(_folder: Path) -> list[bytes]:
    state = {"version": 1, "identity": "x", "files": "y"}
    processor = {"name": "x", "instructions": ["avx2"]}
    record = {
        **{"run_id": RUN, "state": "done", "started": "2020-01-02T00:00:00+00:00", "package": "0.1.0", "method": 2},
        **{"settings": {"patterns": {"horizons": [1, 5]}, "factor": {}}, "fingerprint": "0" * 16},
        **{"encoder": {"path": None, "fingerprint": "0" * 16, "device": "cpu"}},
        **{"tables": {"bars": state, "patterns": state}, "symbols": 1, "patterns": 1},
        "request": {"symbols": ["A"], "samples": 5, "as_of": None, "max_failed_share": 0.2, "dates": None},
        **{"process": {"host": "x", "pid": 1, "began": 1.0}, "seconds": {"total": 1.5}, "counts": {"samples": 5}},
        **{"cluster": {"address": "x", "threads": 1, "processor": processor}, "reasons": {"x": 1}, "problem": None},
    }
    dates = {"count": 1, "hash": "x", "named": {"A": ["2020-01-02"]}}
    cut = record | {"state": "running", "problem": "x", "request": record["request"] | {"dates": dates}}
    return [json.dumps(each).encode() for each in (record, cut)]


def take_record(case: bytes, work: Path) -> Taken:
    """A record is read or refused, and `kline runs` shows either, as text and as JSON."""
    place = work / "home"
    if not place.exists():
        make_home(place, market(1, 3))
        (place / "runs").mkdir()
    (place / "runs" / f"{RUN}.json").write_bytes(case)
    for words in ([], ["--json"]):
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = main(["--home", str(place), "runs", *words])
        said = err.getvalue().splitlines()
        check(code == (1 if said else 0) and len(said) <= 1, f"exit code {code}: {said}")
        for line in said:
            check_line(line)
            check("unexpected" not in line, line)
        check(not words or isinstance(json.loads(out.getvalue()), dict), "no JSON")
    read_record(Home(place), RUN)
    return Taken()


def files(folder: Path) -> list[bytes]:
    """Each file of a small home, under its name: the first line of a case says which file the rest replaces."""
    place = _whole(folder)
    found = sorted(path for path in place.rglob("*") if path.is_file())
    return [str(path.relative_to(place)).encode() + b"\n" + path.read_bytes() for path in found]


def mutate_file(draw: random.Random, data: bytes, kept: list[bytes]) -> bytes:
    name, _, content = data.partition(b"\n")
    others = [each.partition(b"\n")[2] for each in kept]
    if name.endswith(b".json") and draw.random() < 0.7:
        lines = content.splitlines()
        at = draw.randrange(len(lines)) if lines else 0
        return (
            name
            + b"\n"
            + b"\n".join([*lines[:at], mutate_json(draw, b"".join(lines[at : at + 1]), others), *lines[at + 1 :]])
        )
    return name + b"\n" + mutate_bytes(draw, content, others)


def take_file(case: bytes, work: Path) -> Taken:
    """A home with one file changed is read, or the error says what is wrong with it; no read changes it."""
    name, _, content = case.partition(b"\n")
    place = work / "home"
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(_whole(work), place)
    (place / name.decode()).write_bytes(content)
    home = Home(place)
    refused: HomeError | None = None
    for table in ("bars", "factors"):
        for act in (home.description, home.history, home.read, home.files, home.identity, home.unchecked):
            try:
                act(table)
            except HomeError as error:
                check_line(str(error))
                refused = error
    if refused is not None:
        raise refused
    return Taken()


def _whole(folder: Path) -> Path:
    place = folder / "whole"
    if not place.exists():
        import pyarrow as pa

        from kline_core.store.schemas import table_schema

        home = make_home(place, market(2, 5))
        add_bars(home, market(1, 5, prefix="T"))
        schema = table_schema("factors")
        row = {field.name: _cell(field.type) for field in schema}
        home.append("factors", pa.Table.from_pylist([row, row | {"symbol": "B"}], schema), {"run": RUN})
    return place


def _cell(kind: object) -> object:
    import datetime

    return {"string": "A", "date32[day]": datetime.date(2020, 1, 2), "double": 0.5}.get(str(kind), 1)


RECORDS = Target(_GUIDED, records, take_record, mutate_json)
TABLES = Target(_GUIDED, files, take_file, mutate_file)
