"""Imports run down the house: each room may import the rooms below it, and nothing else.

A room is a folder of the package, or a file at its root. CONTRIBUTING.md says what each is for.
"""

from __future__ import annotations

import ast
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

import attrs
import pytest

import trigger_realtime_sync

PACKAGE = Path(trigger_realtime_sync.__file__).parent
NAME = PACKAGE.name
MOST_METHODS = 30
MOST_PRIVATE_FILES = 6

# Public modules: all that the users among the rooms may import.
PUBLIC = (
    *("__init__", "batches", "client", "config", "errors", "handles", "jsonable", "metadata"),
    *("models", "pages", "resources", "sessions", "sharing", "subscription", "text_joiner"),
    "wait_tokens",
)

# What each room may import, from the bottom up: rooms, or single files of them. Imports for types
# alone, and those inside functions, count as any other.
MAY_IMPORT: dict[str, tuple[str, ...]] = {
    "_version": (),
    "_forks": (),
    "_clock": (),
    "_types": (),
    "models": ("_types",),
    "errors": ("models",),  # `RunFailed.run`
    "jsonable": ("errors", "models"),
    "text_joiner": (),
    "_terminal": (),
    "_dispatch": (
        "_clock",
        "errors",
    ),
    "_wire": (
        "_clock",
        "errors",
    ),
    "_checks": ("errors", "_wire.names"),
    "config": ("errors", "_checks"),
    "_decode": ("_clock", "errors", "_types", "models", "_forks", "_wire"),
    "_encode": ("_clock", "errors", "_types", "models", "_checks"),
    "_http": ("_clock", "errors", "config", "_checks", "_version", "_wire"),
    "options": ("models", "_http.tokens"),
    "_calls": ("_clock", "errors", "config", "_checks", "_wire", "_encode", "_http"),
    "_feeds": ("_clock", "errors", "models", "config", "_wire", "_decode", "_http"),
    "_channel": (
        "_clock",
        *("errors", "models", "config", "_dispatch.waiters"),
        *("_wire", "_decode", "_http", "_feeds"),
    ),
    "_sharing": (
        *("_clock", "errors", "models", "_wire", "_decode", "_http", "_feeds", "_channel"),
    ),
    "sharing": ("errors", "_checks", "_sharing"),
    "_receivers": (
        "_clock",
        *("errors", "models", "config", "_checks", "_forks"),
        *("_wire.session_turns", "_wire.stream_parts"),
        *("_dispatch", "_decode", "_http", "_calls.memory", "_feeds", "_channel"),
        "_sharing.fleet",
    ),
    "subscription": (
        *("_clock", "errors", "models", "_checks", "_forks", "_wire.sent_number"),
        *("_channel", "_receivers"),
    ),
    "pages": ("errors",),
    "lists": ("_checks", "_decode", "_encode", "_http", "_calls"),
    "metadata": ("_checks", "_encode"),
    "handles": (
        "_clock",
        *("errors", "models", "_checks", "_encode", "_http", "_calls", "options", "subscription"),
    ),
    "wait_tokens": (
        *("models", "_checks", "_wire.names", "_decode", "_encode", "_http", "_calls"),
        *("_feeds.packet_fetcher", "pages", "lists"),
    ),
    "batches": (
        "_clock",
        *("errors", "models", "_checks", "_wire.names", "_decode", "_encode", "_http", "_calls"),
        *("options", "subscription", "handles"),
    ),
    "sessions": (
        *(
            "_clock",
            "errors",
            "models",
            "_checks",
            "_wire.names",
            "_wire.sent_number",
            "_decode",
            "_encode",
        ),
        *("_http", "_calls", "_feeds.session_feed", "pages", "lists", "handles"),
    ),
    "resources": (
        *("errors", "models", "_checks", "_wire.names", "_decode", "_encode", "_http", "_calls"),
        *("_feeds.packet_fetcher", "pages", "lists", "metadata", "handles"),
    ),
    "client": (
        "_clock",
        *("errors", "_types", "models", "config", "_checks", "_forks", "_wire.names"),
        *(
            "_encode",
            "_http",
            "_calls",
            "_channel",
            "_receivers",
            "options",
            "subscription",
            "handles",
            "batches",
            "resources",
            "sessions",
            "wait_tokens",
            "sharing",
        ),
    ),
    "__init__": (
        *("errors", "models", "config", "_version", "_forks", "client", "subscription"),
        *("text_joiner", "_encode.options", "handles", "batches", "pages", "sessions"),
    ),
    # The test server is a reading of the protocol of its own: it shares no code with the client.
    "testing": ("_clock",),
    # Beside the public names: what both need to show text of others.
    "contrib": (*PUBLIC, "_terminal"),
    "cli": (*PUBLIC, "_terminal", "testing"),
    "__main__": ("cli",),
}
# Rooms that use the package as its users do: public names of public modules.
USERS = ("cli", "contrib", "testing")


@attrs.frozen
class Import:
    """One imported module or name.

    Attributes:
        importer: the dotted name of the importing module, within the package.
        module: that of the imported one.
        name: what is imported from it; empty for the module itself.
    """

    importer: str
    module: str
    name: str = ""


class House:
    """The modules of a package, and what each of them imports and defines."""

    def __init__(self, package: Path) -> None:
        self.trees = {
            _module_name(path.relative_to(package)): ast.parse(path.read_text(encoding="utf-8"))
            for path in sorted(package.rglob("*.py"))
        }
        self.imports = [found for name in self.trees for found in self._imports_of(name)]

    @property
    def rooms(self) -> set[str]:
        """Every folder of the package, and every file at its root."""
        return {_room(module) for module in self.trees}

    def forbidden(self) -> list[str]:
        """Imports that the table does not allow."""
        return sorted({f"{i.importer} imports {i.module}" for i in self.imports if not _may(i)})

    def private_names(self) -> list[str]:
        """Private names that the rooms of users import from elsewhere."""
        return sorted(
            f"{i.importer} imports {i.module}.{i.name}"
            for i in self.imports
            if _room(i.importer) in USERS
            and _room(i.importer) != _room(i.module)
            and i.name.startswith("_")
            and not i.name.endswith("__")
        )

    def circles(self) -> list[str]:
        """Modules that import each other, directly or through others, as one text per circle."""
        arrows: dict[str, set[str]] = {name: set() for name in self.trees}
        for one in self.imports:
            arrows[one.importer].add(one.module)
        reached = {name: _reachable(name, arrows) for name in arrows}
        circles = {
            ", ".join(sorted({name, *(other for other in there if name in reached[other])}))
            for name, there in reached.items()
            if name in there
        }
        return sorted(circles)

    def methods(self) -> dict[str, int]:
        """How many methods each class has: its own, and those of its bases in the package."""
        return {
            f"{module}.{node.name}": len(self._methods_of(module, node))
            for module, tree in self.trees.items()
            for node in ast.walk(tree)
            if isinstance(node, ast.ClassDef)
        }

    def _methods_of(self, module: str, node: ast.ClassDef) -> set[str]:
        own = {
            item.name
            for item in node.body
            if isinstance(item, ast.FunctionDef | ast.AsyncFunctionDef)
            and not item.name.startswith("__")
        }
        for base in node.bases:
            found = self._class_of(module, base)
            if found is not None:
                own |= self._methods_of(*found)
        return own

    def _class_of(self, module: str, base: ast.expr) -> tuple[str, ast.ClassDef] | None:
        """The module and the definition of a base class, if it is one of the package's."""
        if isinstance(base, ast.Subscript):
            base = base.value
        name = base.attr if isinstance(base, ast.Attribute) else getattr(base, "id", "")
        places = [module, *(i.module for i in self.imports if i.importer == module)]
        for place in places:
            for node in self.trees[place].body:
                if isinstance(node, ast.ClassDef) and node.name == name:
                    return place, node
        return None

    def _imports_of(self, importer: str) -> Iterator[Import]:
        for node in ast.walk(self.trees[importer]):
            if isinstance(node, ast.Import):
                targets = [(alias.name, "") for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                source = self._absolute(importer, node)
                targets = [(source, alias.name) for alias in node.names]
            else:
                continue
            for source, name in targets:
                yield from self._import(importer, source, name)

    def _import(self, importer: str, source: str, name: str) -> Iterator[Import]:
        if source != NAME and not source.startswith(f"{NAME}."):
            return
        inner = source[len(NAME) + 1 :]
        for module, rest in ((f"{inner}.{name}".strip("."), ""), (inner, name)):
            for candidate in (module, f"{module}.__init__".strip(".")):
                if candidate in self.trees:
                    yield Import(importer, candidate, rest)
                    return

    @staticmethod
    def _absolute(importer: str, node: ast.ImportFrom) -> str:
        """The imported module's full name."""
        if not node.level:
            return node.module or ""
        parents = [NAME, *importer.split(".")[:-1]]
        base = parents[: len(parents) - node.level + 1]
        return ".".join([*base, node.module] if node.module else base)


def _module_name(path: Path) -> str:
    return ".".join(path.with_suffix("").parts)


def _room(module: str) -> str:
    return module.partition(".")[0]


def _may(one: Import) -> bool:
    """Return True if the import stays within its room, or the table allows it."""
    room = _room(one.importer)
    allowed = MAY_IMPORT.get(room, ())
    return room == _room(one.module) or _room(one.module) in allowed or one.module in allowed


def _reachable(start: str, arrows: dict[str, set[str]]) -> set[str]:
    """Every module that is reached from one by following its imports."""
    seen: set[str] = set()
    waiting = [start]
    while waiting:
        new = arrows[waiting.pop()] - seen
        seen |= new
        waiting += new
    return seen


HOUSE = House(PACKAGE)


def test_every_room_is_in_the_table():
    """A new folder or root file gets a floor when it is made; one that went away leaves."""
    assert HOUSE.rooms == set(MAY_IMPORT)


def test_the_table_runs_one_way():
    """Each room stands above all that it may import."""
    floors = list(MAY_IMPORT)
    for room, allowed in MAY_IMPORT.items():
        above = [name for name in map(_room, allowed) if floors.index(name) >= floors.index(room)]
        assert above == [], room


def test_imports_run_down():
    """No module imports from a room that is not below its own."""
    assert HOUSE.forbidden() == []


def test_users_import_public_names():
    """The command line and the helpers show that the public API is enough."""
    assert HOUSE.private_names() == []


def test_no_modules_import_each_other():
    """Not even for types, and not even within a room."""
    assert HOUSE.circles() == []


def test_few_private_files_are_at_the_root():
    """What is private belongs into a room with a name."""
    private = [path.name for path in PACKAGE.glob("_*.py") if path.stem != "__init__"]
    assert len(private) <= MOST_PRIVATE_FILES, private


def test_no_class_has_too_many_methods():
    """Inherited ones and properties count; overloads and dunders don't; nor does the test server,
    whose one class is all that a test can ask of it."""
    methods = HOUSE.methods().items()
    large = [name for name, n in methods if n > MOST_METHODS and _room(name) != "testing"]
    assert large == []


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the package to plant faults in."""
    ignored = shutil.ignore_patterns("__pycache__")
    return Path(shutil.copytree(PACKAGE, tmp_path / NAME, ignore=ignored))


def plant(path: Path, *lines: str) -> None:
    """Append lines to a module."""
    path.write_text("\n".join([path.read_text(encoding="utf-8"), *lines, ""]), encoding="utf-8")


def new(before: Iterable[str], after: Iterable[str]) -> list[str]:
    """What was found after planting, and not before."""
    return sorted(set(after) - set(before))


@pytest.mark.parametrize(
    ("importer", "lines", "found"),
    [
        ("_wire/sse.py", ["from ..client import RealtimeClient"], "_wire.sse imports client"),
        ("_wire/sse.py", ["import trigger_realtime_sync.client"], "_wire.sse imports client"),
        ("_wire/sse.py", ["from .. import client"], "_wire.sse imports client"),
        (
            "_wire/sse.py",
            ["def f():", "    from .._http import retry"],
            "_wire.sse imports _http.r",
        ),
        (
            "_dispatch/pool.py",
            ["if TYPE_CHECKING:", "    from ..models import Run"],
            "_dispatch.pool",
        ),
        ("_checks.py", ["from ._wire.json import loads"], "_checks imports _wire.json"),
        ("cli/_text.py", ["from .._checks import check_id"], "cli._text imports _checks"),
        ("testing/_rows.py", ["from ..models import Run"], "testing._rows imports models"),
    ],
)
def test_a_planted_import_is_found(copy, importer, lines, found):
    """In every form that an import may have."""
    plant(copy / importer, *lines)
    (one,) = new(HOUSE.forbidden(), House(copy).forbidden())
    assert one.startswith(found)


def test_a_planted_circle_is_found(copy):
    """Of two modules of one room, which the table says nothing about."""
    plant(copy / "_wire" / "json.py", "from .joined import MALFORMED")
    assert new(HOUSE.circles(), House(copy).circles()) == ["_wire.joined, _wire.json"]


def test_a_planted_private_name_is_found(copy):
    """From a module that is public itself."""
    plant(copy / "cli" / "_text.py", "from ..config import _secret")
    assert new(HOUSE.private_names(), House(copy).private_names()) == [
        "cli._text imports config._secret"
    ]


def test_a_class_that_grew_is_found(copy):
    """By its own methods and those of a base in another module."""
    plant(copy / "_wire" / "excerpt.py", "class Base:", *_methods("a", 20))
    lines = ["from .excerpt import Base", "class Large(Base):", *_methods("b", 20)]
    plant(copy / "_wire" / "json.py", *lines)
    methods = House(copy).methods()
    assert (methods["_wire.excerpt.Base"], methods["_wire.json.Large"]) == (20, 40)


def _methods(prefix: str, count: int) -> list[str]:
    overloads = ["    @overload", f"    def {prefix}0(self): ...", "    def __len__(self): ..."]
    return [*overloads, *(f"    def {prefix}{n}(self): ..." for n in range(count))]
