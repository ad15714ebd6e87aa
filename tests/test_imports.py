"""Imports go one way, cost nothing before they are needed, and are declared."""

from __future__ import annotations

import ast
import importlib.metadata
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# A room (a module or a package of spikevae) imports from rows above its own, never from its own row or one below.
ORDER = (
    ("text",),
    ("config", "registry", "files", "labels", "web"),
    ("classifier_presets", "runtime", "distributed", "options"),
    ("presets",),
    ("console", "versions"),
    ("ops", "data"),
    ("images",),
    ("nn",),
    ("attention",),
    ("hub", "plots"),
    ("evaluation",),
    ("training",),
    ("api", "release", "inputs"),
    ("event_commands",),
    ("export_command", "inpaint_command", "push_command", "reconstruct_command", "train_command"),
    ("commands",),
    ("cli",),
)
RANK = {room: rank for rank, row in enumerate(ORDER) for room in row}


def sources(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


def imports(source: Path, *, anywhere: bool = True) -> Iterator[str]:
    """Dotted names that a file imports: ``from a.b import c`` gives ``a.b.c``; functions count if ``anywhere``."""
    pending: list[ast.AST] = [ast.parse(source.read_text(encoding="utf-8"))]
    while pending:
        node = pending.pop()
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            package = source.relative_to(ROOT).parts[: -node.level] if node.level else ()
            assert not node.level or package[:1] == ("app",), f"{source}: a relative import; name the module in full"
            module = ".".join((*package, *([node.module] if node.module else [])))
            yield from (f"{module}.{alias.name}" for alias in node.names)
        if anywhere or not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            pending.extend(ast.iter_child_nodes(node))


def attributes_of(source: Path, name: str) -> set[str]:
    """What a file takes from a module of this name: ``spikevae.load`` gives ``load``."""
    nodes = ast.walk(ast.parse(source.read_text(encoding="utf-8")))
    attributes = [node for node in nodes if isinstance(node, ast.Attribute)]
    return {node.attr for node in attributes if isinstance(node.value, ast.Name) and node.value.id == name}


def room(dotted: str) -> str | None:
    """The module of spikevae that a dotted name lies in; None for another library or spikevae itself."""
    package, _, rest = dotted.partition(".")
    name = rest.partition(".")[0]
    is_module = (ROOT / "spikevae" / name).is_dir() or (ROOT / "spikevae" / f"{name}.py").is_file()
    return name if package == "spikevae" and name and is_module else None


def package_of(dotted: str) -> str:
    return dotted.partition(".")[0]


def own_room(source: Path) -> str:
    return source.relative_to(ROOT / "spikevae").parts[0].removesuffix(".py")


def test_imports_in_spikevae_go_one_way() -> None:
    wrong: list[str] = []
    for source in sources("spikevae"):
        own = own_room(source)
        if own in ("__init__", "__main__"):
            continue
        assert own in RANK, f"spikevae/{own} has no place in ORDER: put it below all that it imports"
        for dotted in imports(source):
            other = room(dotted)
            if dotted == "spikevae":
                wrong.extend(
                    f"{own} uses spikevae.{name}" for name in attributes_of(source, "spikevae") - {"__version__"}
                )
            elif package_of(dotted) == "spikevae" and other is None and dotted != "spikevae.__version__":
                wrong.append(f"{own} imports {dotted}; name the module that it comes from")
            elif other is not None and other != own and RANK[other] >= RANK[own]:
                wrong.append(f"{source.name} imports {dotted}")
    assert not wrong


TRICKS = ("mark_dirty", "saved_tensors_hooks", "data_ptr", "numba", "llvmlite", "save_for_backward")


def test_the_papers_know_neither_compiled_loops_nor_memory() -> None:
    """Speed lives behind ``ops``: its compiled loops are imported there alone, and no other room names its tricks."""
    for source in sources("spikevae"):
        if own_room(source) == "ops":
            continue
        wrong = [dotted for dotted in imports(source) if dotted.startswith("spikevae.ops.cpu")]
        assert not wrong, f"{source} imports {wrong}"
        if own_room(source) == "nn":
            text = source.read_text(encoding="utf-8")
            assert not [trick for trick in TRICKS if trick in text], source
            inner = [dotted for dotted in imports(source) if re.match(r"spikevae\.ops\.(?!\w+$)", dotted)]
            assert not inner, f"{source} imports {inner}; take it from spikevae.ops"


def test_only_what_looks_whether_it_is_a_terminal_draws_progress_bars() -> None:
    """Elsewhere, in a log file, a bar leaves hundreds of lines; `console.progress` writes one now and then."""
    knows = {"console.py", "training/reporting.py", "evaluation/networks/train.py"}
    package = ROOT / "spikevae"
    found = {str(source.relative_to(package)) for source in sources("spikevae") if "tqdm.tqdm" in imports(source)}
    assert found == knows


def test_the_page_stands_on_spikevae_and_nothing_stands_on_the_page_but_the_demo_command() -> None:
    for source in sources("spikevae"):
        if own_room(source) == "commands":
            page = [dotted for dotted in imports(source, anywhere=False) if package_of(dotted) == "app"]
            assert not page, f"commands imports {page} before the demo command is given"
        else:
            page = [dotted for dotted in imports(source) if package_of(dotted) in ("app", "gradio")]
            assert not page, f"{source.name} imports {page}"
    commands = [source.name for source in sources("app") if {"cli", "commands"} & set(map(room, imports(source)))]
    assert not commands, f"{commands} in app imports the command line"


def test_every_library_that_is_imported_is_declared() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    declared = {
        package: {re.split(r"[^\w.-]", line)[0].lower() for line in lines}
        for package, lines in (
            ("spikevae", project["dependencies"] + project["optional-dependencies"]["export"]),
            ("app", project["dependencies"] + project["optional-dependencies"]["app"]),
        )
    }
    distributions = importlib.metadata.packages_distributions()
    for package, names in declared.items():
        used = {library for source in sources(package) for library in map(package_of, imports(source))}
        for library in sorted(used - sys.stdlib_module_names - {"app", "spikevae"}):
            providers = {name.lower().replace("_", "-") for name in distributions.get(library, [])}
            assert providers & names, f"{package} imports {library}, which pyproject.toml does not name"


HEAVY = ("torch", "torchvision", "spikingjelly", "matplotlib", "sklearn", "accelerate", "gradio")


@pytest.mark.parametrize(
    ("module", "heavy"),
    [
        ("spikevae", (*HEAVY, "numpy", "PIL", "tyro")),
        ("spikevae.cli", (*HEAVY, "numpy", "PIL", "tyro")),
        ("spikevae.config", (*HEAVY, "numpy", "PIL")),
        ("spikevae.commands", (*HEAVY, "numpy", "PIL")),
    ],
)
def test_nothing_heavy_is_imported_before_a_command_needs_it(module: str, heavy: tuple[str, ...]) -> None:
    program = f"import sys, {module}; print(*(name for name in {heavy!r} if name in sys.modules))"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)
    assert not result.stdout.split(), f"import {module} brings {result.stdout.strip()}"


@pytest.mark.parametrize("work", ["spikevae.load('fashion-mnist')", "import spikevae.inputs"])
def test_loading_a_model_brings_no_compiler(work: str) -> None:
    """Two libraries of torch's, and torchvision with its models, take longer to import than a picture to draw."""
    found = "print(*{'sympy', 'torch._dynamo', 'torchvision.models'} & sys.modules.keys())"
    program = f"import sys, spikevae; {work}; {found}"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)
    assert not result.stdout.split(), f"{work} brings {result.stdout.strip()}"


def test_the_page_needs_no_package_called_app(tmp_path: Path) -> None:
    """`spikevae demo` works beside a package `app` of one's own; the wheel brings none of that name."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        wheel = tomllib.load(file)["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert wheel["sources"] == {"app": "spikevae_app"}
    (tmp_path / "app.py").write_text("raise RuntimeError('an app of somebody else')")
    done = run_beside("from spikevae.web import page; print(page('limits'))", tmp_path, ROOT)
    assert "spikevae_app.limits" in done.stdout, done.stderr


def test_an_installed_page_is_taken_whatever_else_is_installed(tmp_path: Path) -> None:
    (tmp_path / "spikevae").symlink_to(ROOT / "spikevae")
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "__init__.py").write_text("raise RuntimeError('an app of somebody else')")
    program = "from spikevae.web import page; print(page('limits').__file__)"
    (tmp_path / "spikevae_app").symlink_to(ROOT / "app")
    done = run_beside(program, tmp_path)
    assert done.stdout.strip() == str(tmp_path / "spikevae_app" / "limits.py"), done.stderr


def test_without_the_page_the_demo_says_how_to_get_it(tmp_path: Path) -> None:
    (tmp_path / "spikevae").symlink_to(ROOT / "spikevae")
    done = run_beside("from spikevae.cli import main; main(['demo'])", tmp_path)
    assert done.returncode == 1
    assert done.stderr == "spikevae: the demo needs spikevae_app: pip install 'spikevae[app]'\n"


def run_beside(program: str, *places: Path) -> subprocess.CompletedProcess[str]:
    """What Python makes of a program, with these places in front of what is installed."""
    path = os.pathsep.join(map(str, places))
    return subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        cwd=places[0],
        env={**os.environ, "PYTHONPATH": path},
    )
