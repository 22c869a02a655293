"""Hold the code to its plan: layers, owners of libraries, no cycles, sizes, a true README."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "clipsearch"
MAX_FILE_LINES, MAX_FUNCTION_LINES = 400, 60

# Imports go down only. A part that is not listed here has no place yet: give it one.
LAYERS: tuple[set[str], ...] = (
    {
        *("errors", "cores", "paths", "settings", "vectors", "wording", "fetching"),
        *("filters", "probes", "parsing", "spelling"),
    },
    # Pillow's images are what users hand to two engines, which may not import each other.
    {"pillow"},
    {"clip", "images", "index", "catalog"},
    {"indexer", "query", "care", "analysis", "evaluation"},
    {"library", "library_catalog", "library_model", "library_queries"},
    {"cli", "web", "__init__", "__main__"},
)
LAYER = {part: depth for depth, parts in enumerate(LAYERS) for part in parts}
FOUNDATIONS, ENGINES = LAYERS[0], LAYERS[2]

OWNERS = {
    "torch": ("clip/",),
    "torchvision": ("clip/",),
    "safetensors": ("clip/",),
    "PIL": ("pillow/", "images/", "clip/preprocess.py"),
    "faiss": ("index/",),
    "sqlalchemy": ("catalog/",),
    "alembic": ("catalog/",),
    "typer": ("cli/",),
    "rich": ("cli/",),
    "prompt_toolkit": ("cli/",),
    "pandas": ("query/hits.py",),
}
MODULES = sorted(PACKAGE.rglob("*.py"))
each_module = pytest.mark.parametrize(
    "path", MODULES, ids=lambda path: path.relative_to(PACKAGE).as_posix()
)


def place(path: Path) -> str:
    """The file's name inside the package, as in `clip/model.py`."""
    return path.relative_to(PACKAGE).as_posix()


def part(module: str) -> str:
    """What a module belongs to, such as clip for clipsearch.clip.model."""
    names = module.split(".")
    return names[1] if len(names) > 1 else "__init__"


def module_name(path: Path) -> str:
    names = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(names[:-1] if names[-1] == "__init__" else names)


def own_part(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def runtime_nodes(tree: ast.AST) -> Iterator[ast.AST]:
    """Every node except what stands under `if TYPE_CHECKING`, which never runs."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            continue
        yield node
        yield from runtime_nodes(node)


def imports(path: Path, *, at_start_only: bool = False) -> set[str]:
    """The absolute names of the modules that a file imports, relative ones resolved."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    nodes = ast.iter_child_nodes(tree) if at_start_only else runtime_nodes(tree)
    found: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = absolute(node, path)
            found |= {whole(base, alias.name) for alias in node.names}
    return found


def absolute(node: ast.ImportFrom, path: Path) -> str:
    if not node.level:
        return node.module or ""
    package = path.relative_to(ROOT).parts[: -node.level]
    return ".".join((*package, *([node.module] if node.module else [])))


def whole(base: str, name: str) -> str:
    """`from base import name` imports base.name where that is a module of ours, else base."""
    inside = ROOT.joinpath(*base.split("."), name)
    return f"{base}.{name}" if inside.is_dir() or inside.with_suffix(".py").is_file() else base


@each_module
def test_imports_go_down_the_layers_and_never_sideways_between_engines(path: Path) -> None:
    here = own_part(path)
    for module in imports(path):
        if not module.startswith("clipsearch"):
            continue
        there = part(module)
        if there == here or module == "clipsearch":
            continue
        assert LAYER[there] <= LAYER[here], f"{place(path)} imports {module}, which is above it"
        sideways = here in ENGINES and there in ENGINES
        assert not sideways, f"the engine {place(path)} imports the engine {module}"


@each_module
def test_each_third_party_library_has_one_owner(path: Path) -> None:
    for module in imports(path):
        owners = OWNERS.get(module.split(".")[0])
        owned = owners is None or any(place(path).startswith(owner) for owner in owners)
        assert owned, f"{place(path)} imports {module}, which belongs to {owners}"


@pytest.mark.parametrize("name", sorted(FOUNDATIONS))
def test_foundations_need_only_the_standard_library_and_numpy(name: str) -> None:
    allowed = sys.stdlib_module_names | {"numpy", "platformdirs", "clipsearch"}
    path = PACKAGE / f"{name}.py"
    assert {module.split(".")[0] for module in imports(path)} <= allowed


def test_no_module_imports_itself_by_way_of_others() -> None:
    graph = {module_name(path): imports(path, at_start_only=True) for path in MODULES}
    ours = {name: {other for other in others if other in graph} for name, others in graph.items()}
    TopologicalSorter(ours).prepare()  # raises CycleError naming the modules


@each_module
def test_files_and_functions_stay_small(path: Path) -> None:
    source = path.read_text(encoding="utf-8")
    assert len(source.splitlines()) <= MAX_FILE_LINES
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            assert lines <= MAX_FUNCTION_LINES, f"{node.name} has {lines} lines"


@each_module
def test_only_render_prints_and_only_main_exits(path: Path) -> None:
    if place(path) == "cli/render.py":
        return
    names = {ast.unparse(node) for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))}
    assert not names & {"print", "sys.stdout", "sys.stderr", "typer.echo"}
    allowed = {"sys.exit"} if place(path) in ("__main__.py", "cli/app.py") else set()
    # Whoever presses Ctrl-C twice does not want to wait for anything.
    allowed |= {"os._exit"} if place(path) == "cli/signals.py" else set()
    assert not names & {"sys.exit", "os._exit", "exit", "SystemExit"} - allowed


@each_module
def test_only_settings_reads_the_environment(path: Path) -> None:
    if place(path) == "settings.py":
        return
    names = {ast.unparse(node) for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))}
    assert not names & {"os.environ", "os.getenv", "os.environb"}


@each_module
def test_every_file_says_what_it_is_in_at_most_a_few_lines(path: Path) -> None:
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    assert docstring, f"{place(path)} has no module docstring"


@each_module
def test_init_files_only_hand_names_on(path: Path) -> None:
    if path.name != "__init__.py":
        return
    handing_on = (ast.Import, ast.ImportFrom, ast.Expr, ast.Assign, ast.AnnAssign, ast.If)
    lazily = {"__getattr__", "__dir__"}  # how the package's front door stays quick
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        lazy = isinstance(node, ast.FunctionDef) and node.name in lazily
        assert isinstance(node, handing_on) or lazy, f"{place(path)}:{node.lineno} is logic"


def readme_tree() -> set[str]:
    """The paths in the README's tree, folders with a slash at the end."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    block = re.search(r"```\nclipsearch/\n(.*?)```", readme, re.DOTALL)
    assert block, "the README has no tree that begins with clipsearch/"
    found: set[str] = set()
    parents: list[str] = []
    for line in block.group(1).splitlines():
        match = re.match(r"((?:[│ ]   )*)[├└]── (\S+)", line)
        if not match:
            continue
        depth = len(match.group(1)) // 4
        parents = [*parents[:depth], match.group(2)]
        found.add("".join(parents))
    return found


def test_the_readme_tree_is_the_folder() -> None:
    files = {place(path) for path in MODULES if path.name != "__init__.py"}
    folders = {f"{path.parent.relative_to(PACKAGE).as_posix()}/" for path in MODULES} - {"./"}
    listed = {name for name in readme_tree() if name.endswith((".py", "/"))}
    assert listed - {"clip/mini/"} == files | folders


def test_help_imports_neither_torch_nor_faiss() -> None:
    program = (
        "import sys; from clipsearch.cli.app import main; main(['--help']); "
        "print(*sorted({name.split('.')[0] for name in sys.modules}), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    loaded = set(done.stderr.split())
    assert "query" in done.stdout
    assert not loaded & {"torch", "torchvision", "faiss", "sqlalchemy", "alembic", "PIL"}
