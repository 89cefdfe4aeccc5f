"""The house rules: who may import what. Lazy imports and imports for types alone count like all others."""

import ast
from pathlib import Path

import pytest

import flows
import kline_core
from tests.support.processes import output_of

ROOT = Path(kline_core.__file__).parent.parent
HEAVY = {"torch", "faiss", "llvmlite", "matplotlib", "PIL", "dask", "distributed", "prefect", "scipy", "statsmodels"}

GROUND = {
    *("errors", "settings", "typing", "symbols", "symbol_lookup", "markets", "dates", "by_year"),
    *(
        "_cache",
        "_clock",
        "_code",
        "_cores",
        "_growing",
        "_hashing",
        "_logging",
        "_malloc",
        "_memory",
        "_processor",
        "_secrets",
        "_setting_types",
    ),
    *("_sums", "_text", "_threads"),
}
"""Small modules that every wing may import, and that import only each other."""
WINGS = {
    "store": set(),
    "bars": {"store"},
    "sources": {"store", "bars"},
    "windows": {"bars"},
    "encoder": {"bars", "windows"},
    "patterns": {"store", "bars", "windows", "encoder"},
    "search": {"bars", "windows", "patterns"},
    "factor": {"store", "bars", "windows", "encoder", "patterns", "search"},
    "evaluation": {"store", "bars", "windows", "encoder", "factor"},
    "baselines": {"bars", "windows", "encoder", "patterns", "search", "factor", "evaluation"},
    "learning": {"bars", "windows", "encoder", "patterns", "search", "factor", "evaluation", "baselines"},
    "maintenance": {"store", "bars", "windows", "encoder", "patterns", "search", "factor"},
    "plots": {"bars", "windows", "factor", "evaluation", "baselines", "learning"},
    "compute": {"store", "bars", "windows", "encoder", "patterns", "search", "factor", "learning", "plots"},
    "planning": {"store", "bars", "windows", "encoder", "patterns", "search", "factor", "compute"},
    "api": {
        "store",
        "bars",
        "sources",
        "encoder",
        "patterns",
        "factor",
        "evaluation",
        "baselines",
        "learning",
        "maintenance",
        "plots",
        "compute",
        "planning",
    },
    "demo": {"store", "bars", "patterns", "factor", "evaluation", "plots", "compute", "api"},
    "cli": {"store", "bars", "sources", "encoder", "factor", "evaluation", "plots", "compute", "api", "flows"},
}
"""By wing, from the ground up: the wings that it may import, beside the ground. No arrow runs back up."""
FLOOR = {
    "common": set(),
    "artifacts": {"common", "steps"},
    "steps": {"common"},
    # To say on a run's pages what became of it, where the run cannot any more.
    "local_stack": {"common", "artifacts"},
    "notify": {"common", "local_stack"},
}
"""By part of `flows`: the parts that it may import; the flows themselves may import all of them."""


def module_name(path: Path, root: Path = ROOT) -> str:
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported(nodes) -> set[str]:
    """Full names that import statements name."""
    names = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def at_import(tree: ast.Module) -> set[str]:
    """What is imported when the module is: not inside functions, not for types alone."""
    nodes, found = list(tree.body), []
    while nodes:
        node = nodes.pop()
        found.append(node)
        types_only = isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and not types_only:
            nodes += ast.iter_child_nodes(node)
    return imported(found)


def resolved(names: set[str]) -> set[str]:
    """Modules behind imported names: `package.module.name` is of `package.module`."""
    return {
        name if name in TREES else name.rpartition(".")[0] if name.rpartition(".")[0] in TREES else name
        for name in names
    }


FILES = [path for package in (kline_core, flows) for path in sorted(Path(package.__file__).parent.rglob("*.py"))]
TREES = {module_name(path): ast.parse(path.read_text()) for path in FILES}
EVERYWHERE = {module: resolved(imported(ast.walk(tree))) for module, tree in TREES.items()}
AT_IMPORT = {module: resolved(at_import(tree)) for module, tree in TREES.items()}
HERE = Path(__file__).parent
TESTS = {module_name(path, HERE.parent): ast.parse(path.read_text()) for path in sorted(HERE.rglob("*.py"))}
LIBRARY = sorted(module for module in TREES if module.startswith("kline_core."))
FLOWS = sorted(module for module in TREES if module.startswith("flows."))


def wing(module: str) -> str:
    """The wing of a module, `ground`, or the top-level package of others."""
    parts = module.split(".")
    if parts[0] != "kline_core":
        return parts[0]
    return "face" if len(parts) == 1 else "ground" if parts[1] in GROUND else parts[1]


def users(*packages: str) -> set[str]:
    """Modules of the library that import one of the packages, wherever."""
    return {module for module in LIBRARY if {name.split(".")[0] for name in EVERYWHERE[module]} & set(packages)}


def test_every_module_stands_in_a_wing_or_on_the_ground():
    assert {wing(module) for module in LIBRARY} == {*WINGS, "ground"}


@pytest.mark.parametrize("module", LIBRARY)
def test_arrows_run_down_only(module):
    """The version is the one thing of the face that the house itself may ask for."""
    own = wing(module)
    may = {own, "ground", *WINGS.get(own, set())}
    names = {name for name in EVERYWHERE[module] if name.split(".")[0] in ("kline_core", "flows")}
    wrong = {name for name in names if wing(name) not in may and name != "kline_core"}
    assert not wrong
    tree = TREES[module]
    face = {
        alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module == "kline_core"
        for alias in node.names
        if f"kline_core.{alias.name}" not in TREES
    }
    assert face <= {"__version__"}


def test_no_wing_stands_above_itself():
    seen: set[str] = set()
    for name, below in WINGS.items():
        assert below - {"flows"} <= seen | {"plots"} if name == "compute" else below - {"flows"} <= seen, name
        seen.add(name)


@pytest.mark.parametrize("module", FLOWS)
def test_flows_stand_on_their_parts(module):
    parts = module.split(".")
    if len(parts) == 2 and parts[1] not in FLOOR:
        return
    may = {parts[1], *FLOOR[parts[1]]}
    wrong = {
        name
        for name in EVERYWHERE[module]
        if name.startswith("flows.") and name != "flows" and name.split(".")[1] not in may
    }
    assert not wrong


def test_the_library_knows_no_prefect():
    assert not users("prefect", "prefect_dask", "prefect_shell")


def test_only_the_store_knows_delta():
    assert {wing(module) for module in users("deltalake")} == {"store"}


def test_only_four_modules_of_compute_know_dask():
    modules = {"answers", "cluster", "opening", "standing"}
    assert users("dask", "distributed") == {f"kline_core.compute.{module}" for module in modules}


def test_only_plots_know_matplotlib():
    assert {wing(module) for module in users("matplotlib", "seaborn", "plotly")} == {"plots"}


def test_only_the_evaluation_and_one_interval_know_statistics():
    others = {module for module in users("statsmodels", "scipy") if wing(module) != "evaluation"}
    assert others == {"kline_core.factor.kernel_means"}
    # The quantile is asked for with the first interval, and no value that is made without one loads it.
    assert "scipy" not in {name.split(".")[0] for name in AT_IMPORT["kline_core.factor.kernel_means"]}


def test_only_the_sources_know_vendors_clients():
    modules = users("akshare", "baostock", "tushare", "yfinance", "tenacity")
    assert {wing(module) for module in modules} == {"sources"}
    # Loaded when they are asked, and not before.
    clients = {"akshare", "baostock", "tushare", "yfinance"}
    assert not {module for module in LIBRARY if {name.split(".")[0] for name in AT_IMPORT[module]} & clients}


def test_only_one_module_knows_onnx():
    assert users("onnx", "onnxruntime") == {"kline_core.encoder.onnx_network"}


def test_only_the_sessions_know_calendars():
    assert users("exchange_calendars") == {"kline_core.bars.sessions"}


def test_only_the_top_floor_calls_flows():
    assert {wing(module) for module in users("flows")} == {"cli"}


def test_nothing_is_pickled():
    assert not users("pickle", "dill", "joblib", "cloudpickle")


def test_the_index_is_faiss_and_the_encoder_is_torch():
    assert "kline_core.search.flat_index" not in users("torch")
    assert not {module for module in users("faiss") if wing(module) == "encoder"}


def test_what_is_compiled_is_the_scan():
    assert users("llvmlite") == {
        f"kline_core.search.{name}" for name in ("program_builder", "scan_code", "scan_kernel", "tile_code")
    }


def reached(module: str, around: bool = True) -> set[str]:
    """Modules of the house that importing one of them imports, those of the packages around them included."""
    todo, seen = [module], set()
    while todo:
        current = todo.pop()
        if current in AT_IMPORT and current not in seen:
            seen.add(current)
            todo += [*AT_IMPORT[current], *(parents(current) if around else [])]
    return seen


def parents(module: str) -> list[str]:
    parts = module.split(".")
    return [".".join(parts[:length]) for length in range(1, len(parts))]


@pytest.mark.parametrize("module", LIBRARY)
def test_no_module_imports_itself_by_a_detour(module):
    assert all(module not in reached(other, around=False) for other in AT_IMPORT[module] if other != module)


MAY_BE_HEAVY = {
    *("kline_core.encoder.encoder", "kline_core.encoder.network", "kline_core.encoder.training"),
    *("kline_core.encoder.model_card", "kline_core.encoder.onnx_network"),
    *("kline_core.search.flat_index", "kline_core.search.ivf_index", "kline_core.search.disk_index"),
    *("kline_core.search.device_scan", "kline_core.search.principal_scan", "kline_core.search.rounded_heads"),
    *("kline_core.search.quantised_scan", "kline_core.search.bounded_scan"),
    *("kline_core.search.program_builder", "kline_core.search.scan_code", "kline_core.search.scan_kernel"),
    "kline_core.search.tile_code",
    *("kline_core.factor.shard", "kline_core.factor.state", "kline_core.factor.scoring", "kline_core.factor.explain"),
    *("kline_core.factor.index_cache", "kline_core.factor.checked_samples"),
    *("kline_core.baselines.compare", "kline_core.baselines.likeness", "kline_core.baselines.boosting"),
    *("kline_core.plots.style", "kline_core.plots.match_plot", "kline_core.plots.factor_plots"),
    *("kline_core.plots.attention_plot", "kline_core.plots.candles"),
    *("kline_core.plots.history_plot", "kline_core.plots.evaluation_plots", "kline_core.plots.evaluation_page"),
    *(
        f"kline_core.learning.{name}"
        for name in (
            "alike",
            "boosted",
            "folds",
            "inputs",
            "learners",
            "leaves",
            "networks",
            "protocol",
            "study",
            "year_encoders",
        )
    ),
    *("kline_core.plots.html_page", "kline_core.plots.baselines_page", "kline_core.plots.study_page"),
    *("kline_core.compute.answers", "kline_core.compute.cluster", "kline_core.compute.loading"),
    "kline_core.compute.shards",
    *("kline_core.compute.opening", "kline_core.compute.standing", "kline_core.api.views", "kline_core.demo.demo"),
}
"""All others may be imported by a flow that leaves the work to a standing cluster, and load nothing heavy."""
LIGHT = sorted(set(LIBRARY) - MAY_BE_HEAVY - {"kline_core.cli.__main__"})


@pytest.mark.slow
@pytest.mark.parametrize("module", LIGHT)
def test_light_modules_reach_nothing_heavy(module):
    packages = {name.split(".")[0] for each in reached(module) for name in AT_IMPORT[each]}
    assert not packages & HEAVY


@pytest.mark.slow
def test_light_modules_load_nothing_heavy():
    imports = ", ".join(["kline_core", *LIGHT])
    code = f"import sys, {imports}; print(*sorted({HEAVY!r} & sys.modules.keys()))"
    done = output_of(code)
    assert done.split() == []


@pytest.mark.slow
def test_a_flow_with_a_standing_cluster_loads_no_encoder_and_no_index():
    code = (
        "import sys, kline_core.api.factor, kline_core.compute.opening, kline_core.compute.run; "
        "print(*sorted({'torch', 'faiss', 'matplotlib', 'PIL'} & sys.modules.keys()))"
    )
    done = output_of(code)
    assert done.split() == []


@pytest.mark.slow
def test_a_worker_loads_no_network_no_calendar_and_no_picture_before_it_needs_them():
    """Nor does a process that scores: it imports torch with the first window that it encodes."""
    code = (
        "import sys, kline_core.compute.opening, kline_core.compute.program as program; "
        "program._check_loaded('here'); "
        "print(*sorted({'torch', 'exchange_calendars', 'matplotlib', 'PIL', 'scipy'} & sys.modules.keys()))"
    )
    assert output_of(code).split() == []


@pytest.mark.slow
def test_nothing_leaves_the_environment_changed():
    for module in LIBRARY:
        for node in ast.walk(TREES[module]):
            if isinstance(node, ast.Assign | ast.AugAssign | ast.Delete):
                targets = [node.target] if isinstance(node, ast.AugAssign) else node.targets
                assert not any("os.environ" in ast.unparse(target) for target in targets), module


@pytest.mark.parametrize("module", sorted(TESTS))
def test_tests_share_by_their_support_alone(module):
    """Whoever changes one test module needs to look at no other."""
    names = {name for name in imported(ast.walk(TESTS[module])) if name.split(".")[0] == "tests"}
    shared = {"tests.support", "tests.naive", "tests.benchmarks", "tests.faults", "tests.endurance", "tests.fuzz"}
    assert not {name for name in names if ".".join(name.split(".")[:2]) not in shared}
    assert not {name for name in names if any(part.startswith("test_") for part in name.split("."))}
    if module.startswith(("tests.support.", "tests.naive")):
        assert not {name for name in names if name.startswith("tests.benchmarks")}, "benchmarks stand on the support"
