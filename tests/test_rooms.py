"""The floor plan: which room may import which, and what belongs where. `pytest -s tests/test_rooms.py` prints it."""

import ast
import graphlib
from pathlib import Path

import pytest

import tdn

PACKAGE = Path(tdn.__file__).parent
CHECKOUT = PACKAGE.parent
CORE = {"utils", "model", "data", "data.disk", "data.pocket", "engine", "maps"}
STUDY = {"experiments", "book", "bench", "own", "commands"}
FLOORS = [
    "utils",
    "data model",
    "data.disk data.pocket engine",
    "bench experiments maps",
    "book",
    "own",
    "commands",
    "entrance",
]


def name_of(path: Path) -> str:
    parts = path.relative_to(CHECKOUT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = {name_of(path): path for path in sorted(PACKAGE.rglob("*.py"))}
TREES = {name: ast.parse(path.read_text("utf-8")) for name, path in FILES.items()}


def imported(tree: ast.AST) -> set[str]:
    """The files of the package that a tree imports, in functions too. Through `tdn` they would escape the rules."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "a relative import"
            found |= {f"{node.module}.{alias.name}" for alias in node.names} | {node.module}
    assert "tdn" not in found
    return {name for name in found if name in FILES and FILES[name].name != "__init__.py"}


IMPORTS = {name: imported(tree) - {name} for name, tree in TREES.items()}


def room_of(name: str) -> str:
    """`data.disk` of tdn.data.disk.check, `utils` of tdn.utils, `entrance` of the package's own two files."""
    inside = name.removeprefix("tdn").strip(".").split(".")
    if inside[0] in ("", "__main__"):
        return "entrance"
    return ".".join(inside[:2]) if len(inside) == 3 else inside[0]


ROOMS = {room: set() for room in map(room_of, FILES)}
for _name, _others in IMPORTS.items():
    ROOMS[room_of(_name)] |= {room_of(other) for other in _others} - {room_of(_name)}


def floors() -> dict[str, int]:
    """The floor of each room: one above the highest of those that it imports."""
    floor: dict[str, int] = {}
    for room in graphlib.TopologicalSorter(ROOMS).static_order():  # CycleError where there is a circle of rooms
        floor[room] = 1 + max((floor[other] for other in ROOMS[room]), default=0)
    return floor


def test_rooms_and_floors():
    floor = floors()
    found = [" ".join(sorted(room for room in floor if floor[room] == level)) for level in range(1, 9)]
    print(*(f"floor {level}: {rooms}" for level, rooms in enumerate(found, 1)), sep="\n")
    assert len(floor) <= 13 and found == FLOORS, "an arrow upwards, or a floor too many"


def test_no_circle_of_files():
    graphlib.TopologicalSorter(IMPORTS).prepare()  # raises CycleError, which names the files


@pytest.mark.parametrize("name", FILES)
def test_the_core_is_free_of_the_study(name):
    room = room_of(name)
    rooms = {room_of(other) for other in IMPORTS[name]}
    if room in CORE:
        assert not rooms & STUDY
    if room.startswith("data"):
        assert "model" not in rooms
    if room == "bench":
        assert rooms <= CORE | {"bench"}


@pytest.mark.parametrize("name", FILES)
def test_no_import_of_the_package_inside_a_function(name):
    if room_of(name) == "entrance":  # which loads what it is asked for
        return
    functions = [node for node in ast.walk(TREES[name]) if isinstance(node, ast.FunctionDef | ast.Lambda)]
    assert not set().union(*map(imported, functions))


@pytest.mark.parametrize("name", FILES)
def test_command_lines_and_exit_codes_are_the_commands_business(name):
    if room_of(name) in ("commands", "entrance"):
        return
    text = FILES[name].read_text("utf-8")
    assert "import argparse" not in text and "sys.exit" not in text and "SystemExit" not in text


def test_no_function_has_the_name_of_a_module_beside_it():
    modules = {
        folder: {p.stem for p in folder.iterdir() if p.suffix == ".py" or p.is_dir()}
        for folder in {path.parent for path in FILES.values()}
    }
    for name, tree in TREES.items():
        defined = {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)}
        assert not defined & modules[FILES[name].parent], name
    assert not set(tdn.__all__) & modules[PACKAGE]


def test_files_are_short():
    lines = {path: len(path.read_text("utf-8").splitlines()) for path in (*FILES.values(), *TESTS)}
    assert max(lines.values()) <= 350, max(lines, key=lines.get)
    package, tests = (sum(lines[path] for path in paths) for paths in (FILES.values(), TESTS))
    print(f"tdn/ has {package} lines, tests/ {tests}")
    assert package <= 15_400 and tests <= 11_900


TESTS = sorted(Path(__file__).parent.rglob("*.py"))
