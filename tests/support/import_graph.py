"""Import graph of a source tree, with lazy and typing-only imports."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

Graph = Mapping[str, frozenset[str]]


@dataclass(frozen=True)
class Tree:
    """Packages of a source tree.

    Attributes:
        modules: path of each module by its dotted name; a package is named like its ``__init__``.
        single: packages of which each is one room, whatever folders it has.
    """

    modules: Mapping[str, Path]
    single: frozenset[str] = frozenset()

    @classmethod
    def of(cls, *packages: Path, single: Iterable[Path] = ()) -> Tree:
        """Collect the modules of some packages.

        Args:
            packages: their folders; a dotted name begins with the folder's name.
            single: further packages, each of which is one room.
        """
        whole = tuple(single)
        found = {}
        for package in (*packages, *whole):
            for path in sorted(package.rglob("*.py")):
                parts = (package.name, *path.relative_to(package).with_suffix("").parts)
                found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
        return cls(found, frozenset(package.name for package in whole))

    def files(self) -> Graph:
        """Map each module to the modules that it imports anywhere in its text."""
        return {name: frozenset(self._targets(name, path)) - {name} for name, path in self.modules.items()}

    def folders(self) -> Graph:
        """Map each folder to the folders that its modules import; see `folder_of`."""
        return quotient(self.files(), self.folder_of)

    def folder_of(self, module: str) -> str:
        """Name the folder that a module stands in.

        A module at the top of a package is a room of its own. A subfolder belongs to the folder that contains it.
        """
        package, *rest = module.split(".")
        if package in self.single:
            return f"{package}/"
        if not rest:
            return package
        is_folder = len(rest) > 1 or self.modules[module].name == "__init__.py"
        return f"{package}.{rest[0]}{'/' if is_folder else ''}"

    def _targets(self, name: str, path: Path) -> Iterator[str]:
        package = name if path.name == "__init__.py" else name.rpartition(".")[0]
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                yield from filter(None, (self._nearest(alias.name) for alias in node.names))
            elif isinstance(node, ast.ImportFrom):
                above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
                base = ".".join([*above, *filter(None, [node.module])])
                yield from filter(None, (self._nearest(f"{base}.{alias.name}") for alias in node.names))
            elif isinstance(node, ast.Call) and _called(node.func) in {"import_module", "__import__"}:
                texts = (str(argument.value) for argument in node.args if isinstance(argument, ast.Constant))
                yield from filter(None, map(self._nearest, texts))

    def _nearest(self, dotted: str) -> str | None:
        """Find the module that holds a dotted name; None if it is not in this tree."""
        while dotted and dotted not in self.modules:
            dotted = dotted.rpartition(".")[0]
        return dotted or None


def quotient(graph: Graph, group_of: Callable[[str], str]) -> Graph:
    """Merge the nodes of a graph by group; edges within a group disappear."""
    groups: dict[str, set[str]] = {}
    for node, targets in graph.items():
        group = group_of(node)
        groups.setdefault(group, set()).update(other for other in map(group_of, targets) if other != group)
    return {group: frozenset(targets) for group, targets in groups.items()}


def circles(graph: Graph) -> list[list[str]]:
    """List the strongly connected components of more than one node, each sorted."""
    reach = {node: _reachable(graph, node) for node in graph}
    found = {frozenset({node, *(other for other in reach[node] if node in reach[other])}) for node in graph}
    return sorted(sorted(component) for component in found if len(component) > 1)


def floors(graph: Graph) -> dict[str, int]:
    """Number the floors: a node stands one above the highest that it imports; the ground is 0.

    Args:
        graph: without a circle.
    """
    known: dict[str, int] = {}

    def floor(node: str) -> int:
        if node not in known:
            known[node] = 1 + max(map(floor, graph[node]), default=-1)
        return known[node]

    return {node: floor(node) for node in graph}


def table(floor_of: Mapping[str, int]) -> str:
    """Write floors as a Markdown table, the highest first."""
    rows = [
        f"| {number} | {', '.join(f'`{name}`' for name in sorted(names))} |"
        for number, names in sorted(_by_floor(floor_of).items(), reverse=True)
    ]
    return "\n".join(["| floor | rooms |", "|---|---|", *rows])


def _by_floor(floor_of: Mapping[str, int]) -> dict[int, list[str]]:
    rows: dict[int, list[str]] = {}
    for name, number in floor_of.items():
        rows.setdefault(number, []).append(name)
    return rows


def _reachable(graph: Graph, start: str) -> set[str]:
    seen: set[str] = set()
    waiting = list(graph[start])
    while waiting:
        node = waiting.pop()
        if node not in seen:
            seen.add(node)
            waiting += graph[node]
    return seen


def _called(function: ast.expr) -> str:
    return (
        function.id if isinstance(function, ast.Name) else function.attr if isinstance(function, ast.Attribute) else ""
    )


def imported(path: Path) -> set[str]:
    """Collect the top-level names of all packages that a file imports."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.split(".")[0])
        elif isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
    return names


def flattest(modules: Iterable[str], tree: Tree) -> tuple[str, int]:
    """Find the folder that holds the most files of its own, and how many."""
    counts: dict[str, int] = {}
    for name in modules:
        folder = str(tree.modules[name].parent)
        counts[folder] = counts.get(folder, 0) + (tree.modules[name].name != "__init__.py")
    return max(counts.items(), key=lambda item: item[1])
