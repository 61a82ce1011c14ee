"""Every public name has a docstring, and its place in the API reference.

Public names are those that a module or package lists in ``__all__``, and members of such classes without a leading
underscore. A field may be described below it, or by name in the docstring of its class (under Args or in a sentence).
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "depthaware_uda"
DIRECTIVE = re.compile(r"^::: (\S+)$", re.MULTILINE)

Described = dict[str, bool]


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = {module_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}
DOCUMENTED = {
    name for page in (ROOT / "docs/api").glob("*.md") for name in DIRECTIVE.findall(page.read_text(encoding="utf-8"))
}
ROOMS = [name for name in FILES if name.count(".") <= 1]


def exported(tree: ast.Module) -> set[str]:
    """The names that ``__all__`` of a module lists."""
    lists = (
        node.value
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id == "__all__"
    )
    return {name for names in lists for name in ast.literal_eval(names)}


def variable(node: ast.stmt) -> str | None:
    """The name to which a statement assigns a value or a type."""
    target = (
        node.targets[0] if isinstance(node, ast.Assign) else node.target if isinstance(node, ast.AnnAssign) else None
    )
    return target.id if isinstance(target, ast.Name) else None


def variables(body: list[ast.stmt]) -> Iterator[tuple[str, bool]]:
    """Names of variables, and whether a string follows (the docstring of an attribute)."""
    for node, following in zip(body, [*body[1:], None], strict=True):
        if (name := variable(node)) is not None:
            is_text = isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant)
            yield name, is_text and isinstance(following.value.value, str)


def is_overload(node: ast.AST) -> bool:
    return isinstance(node, ast.FunctionDef) and any(ast.unparse(one) == "overload" for one in node.decorator_list)


def of_class(node: ast.ClassDef) -> Iterator[tuple[str, bool]]:
    text = ast.get_docstring(node) or ""
    yield node.name, bool(text)
    fields = [one for one in node.body if not isinstance(one, ast.Assign)]  # without a type: an inherited field
    for name, described in variables(fields):
        if not name.startswith("_"):
            yield f"{node.name}.{name}", described or re.search(rf"\b{name}\b", text) is not None
    for member in node.body:
        if isinstance(member, ast.FunctionDef) and not member.name.startswith("_") and not is_overload(member):
            yield f"{node.name}.{member.name}", ast.get_docstring(member) is not None


def described(code: str, *, with_variables: bool = True) -> Described:
    """Whether each public name of a module has a docstring; the module itself under the empty name."""
    tree = ast.parse(code)
    public = exported(tree)
    found: Described = {"": ast.get_docstring(tree) is not None}
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and node.name in public:
            found |= dict(of_class(node))
        elif isinstance(node, ast.FunctionDef) and node.name in public and not is_overload(node):
            found[node.name] = ast.get_docstring(node) is not None
    if with_variables:
        found |= {name: text for name, text in variables(tree.body) if name in public and not name.startswith("__")}
    return found


def test_every_public_name_has_a_docstring() -> None:
    names: Described = {}
    for module, path in FILES.items():
        # Modules outside the reference (the pieces of MiniCity's renderer) may leave their constants undescribed.
        shown = module in DOCUMENTED or module in ROOMS
        of_module = described(path.read_text(encoding="utf-8"), with_variables=shown)
        names |= {f"{module}.{name}".rstrip("."): text for name, text in of_module.items() if shown or "." not in name}
    missing = sorted(name for name, text in names.items() if not text)
    print(f"{len(names) - len(missing)} of {len(names)} public names have a docstring")
    assert len(names) > 500
    assert missing == []


def test_a_missing_docstring_is_noticed() -> None:
    code = """
__all__ = ["A", "LIMIT", "f"]
LIMIT = 1
def f(): ...
class A:
    '''Has a width.'''
    width: int
    height: int
    depth: int
    '''Metres.'''
    def g(self): ...
    def _h(self): ...
def unlisted(): ...
"""
    found = described(code)
    assert {name for name, text in found.items() if not text} == {"", "LIMIT", "f", "A.height", "A.g"}
    assert set(found) - {"", "LIMIT", "f", "A.height", "A.g"} == {"A", "A.width", "A.depth"}


def test_the_reference_has_every_public_name() -> None:
    defined: dict[str, set[str]] = {}
    for module, path in FILES.items():
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in tree.body:
            name = node.name if isinstance(node, ast.ClassDef | ast.FunctionDef) else variable(node)
            if name in exported(tree):
                defined.setdefault(name, set()).add(module)
    missing = [
        f"{room}.{name}"
        for room in ROOMS
        for name in exported(ast.parse(FILES[room].read_text(encoding="utf-8")))
        if not any(inside(module, DOCUMENTED) for module in defined[name]) and not name.startswith("__")
    ]
    assert missing == [], "give their modules a place in docs/api"


def inside(module: str, documented: set[str]) -> bool:
    """Whether a page shows a module, or the package that re-exports its names."""
    return module in documented or module.rpartition(".")[0] in documented


def test_the_reference_shows_what_exists_under_the_names_of_rooms() -> None:
    assert set(FILES) >= DOCUMENTED
    pages = {f"depthaware_uda.{page.stem}" for page in (ROOT / "docs/api").glob("*.md")}
    assert pages <= set(ROOMS)


def messages() -> list[str]:
    """All strings of the package, with inserted values replaced by an ellipsis."""
    found = []
    for path in FILES.values():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                parts = (str(part.value) if isinstance(part, ast.Constant) else "…" for part in node.values)
                found.append("".join(parts))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(node.value)
    return found


def test_the_errors_that_troubleshooting_lists_are_raised_in_these_words() -> None:
    page = (ROOT / "docs/troubleshooting.md").read_text(encoding="utf-8")
    tables = re.findall(r"^\| (?:error|you see) \|.*\n\|[-|]+\|\n((?:\|.*\n)+)", page, re.MULTILINE)
    quoted = re.findall(r"^\| `([^`]+ [^`]+)` \|", "".join(tables), re.MULTILINE)
    assert len(quoted) > 10
    known = messages()
    unknown = [
        quote
        for quote in quoted
        if not any(re.search(".*".join(map(re.escape, quote.split("…"))), text, re.DOTALL) for text in known)
    ]
    assert unknown == []
