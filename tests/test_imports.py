"""The house rules: who may import what."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import kline_core

HOUSE = Path(kline_core.__file__).parent
FILES = sorted(HOUSE.rglob("*.py"))
HEAVY = {"torch", "faiss", "matplotlib", "PIL"}


def module_name(path):
    parts = path.relative_to(HOUSE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported(nodes):
    """Full names that import statements name."""
    names = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def everywhere(path):
    return imported(ast.walk(ast.parse(path.read_text())))


def at_import(path):
    """What is imported when the module is: not inside functions, not for types alone."""
    nodes, found = list(ast.parse(path.read_text()).body), []
    while nodes:
        node = nodes.pop()
        found.append(node)
        types_only = isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and not types_only:
            nodes += ast.iter_child_nodes(node)
    return imported(found)


EVERYWHERE = {module_name(path): everywhere(path) for path in FILES}
AT_IMPORT = {module_name(path): at_import(path) for path in FILES}


def users(*packages):
    """Modules of the library that import one of the packages, wherever."""
    return {module for module, names in EVERYWHERE.items() if {name.split(".")[0] for name in names} & set(packages)}


def test_the_library_knows_no_prefect():
    assert not users("prefect", "prefect_dask", "prefect_shell")


def test_only_the_cluster_knows_dask():
    assert users("dask", "distributed") == {"kline_core.compute.cluster"}


def test_only_the_tables_know_delta():
    assert users("deltalake") == {"kline_core.store.home"}


def test_only_the_calendar_knows_calendars():
    assert users("exchange_calendars") == {"kline_core.bars.sessions"}


def test_only_reports_plot():
    assert users("matplotlib", "seaborn", "plotly") <= {
        "kline_core.plots.style",
        "kline_core.plots.match_plot",
        "kline_core.plots.factor_plots",
    }


def test_only_the_top_floor_calls_flows():
    assert users("flows") <= {"kline_core.cli.parser", "kline_core.cli.commands"}


def test_nothing_is_pickled():
    assert not users("pickle", "dill", "joblib", "cloudpickle")


def test_the_index_is_faiss_and_the_encoder_is_torch():
    assert "kline_core.search.flat_index" not in users("torch")
    assert "kline_core.encoder.encoder" not in users("faiss")


def reached(module):
    """Modules of the library that importing one of them imports."""
    todo, seen = [module], set()
    while todo:
        current = todo.pop()
        if current in AT_IMPORT and current not in seen:
            seen.add(current)
            todo += AT_IMPORT[current]
    return seen


@pytest.mark.parametrize("module", sorted(AT_IMPORT))
def test_no_module_imports_itself_by_a_detour(module):
    assert all(module not in reached(other) for other in AT_IMPORT[module] if other != module)


MAY_BE_HEAVY = {
    f"kline_core.{name}"
    for name in (
        *("chart", "encoder", "encoding", "training", "model_card"),
        *("index", "scan", "approximate", "search", "resources", "pipeline"),
        *("match", "look", "report", "figures", "demo"),
    )
}
"""All others a flow may import that leaves the work to a standing cluster."""
LIGHT = sorted(AT_IMPORT.keys() - MAY_BE_HEAVY)


@pytest.mark.parametrize("module", LIGHT)
def test_light_modules_reach_nothing_heavy(module):
    packages = {name.split(".")[0] for each in reached(module) for name in AT_IMPORT[each]}
    assert not packages & HEAVY


def test_light_modules_load_nothing_heavy():
    imports = ", ".join(LIGHT)
    code = f"import sys, {imports}; print(*sorted({HEAVY!r} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_nothing_leaves_the_environment_changed():
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Assign | ast.AugAssign | ast.Delete):
                targets = [node.target] if isinstance(node, ast.AugAssign) else node.targets
                assert not any("os.environ" in ast.unparse(target) for target in targets), path
