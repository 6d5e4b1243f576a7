"""The prose of docstrings and pages keeps to the rules that a program can check."""

import ast
import pathlib
import re

import pytest

ROOT = pathlib.Path(__file__).parents[1]
SOURCES = [path for folder in ("jaxrnn", "experiments", "benchmarks") for path in sorted((ROOT / folder).rglob("*.py"))]
PAGES = [
    *(
        ROOT / name
        for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "benchmarks/README.md", "experiments/README.md")
    ),
    *(path for path in sorted((ROOT / "docs").rglob("*.md")) if "_build" not in path.parts),
]
DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
HEADING = re.compile(r"#+ (what|which|how|whether|where|those)\b", re.IGNORECASE)
RIDDLE = re.compile(r"(what|which|how|whether|where|when|why|that|those|if|it|there)\b", re.IGNORECASE)
FORBIDDEN = re.compile(
    r"\bno more (?!than)|(?<!there )\b(?:is|are|was|were) no (?!\w+er\b|more)|\bnobody (?:reads|looks|knows|says)",
    re.IGNORECASE,
)
CODE = re.compile(r"^( *)(`{3,}|\${2}).*?^\1\2", re.MULTILINE | re.DOTALL)


def name(path):
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", SOURCES, ids=name)
def test_docstrings_begin_with_a_noun_or_a_verb_and_have_none_of_the_forbidden_phrases(path):
    documented = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, DOCUMENTED)]
    texts = [(node.body[0].lineno, text) for node in documented if (text := ast.get_docstring(node))]
    found = [f"{name(path)}:{line}: {text}" for line, text in texts if RIDDLE.match(text) or FORBIDDEN.search(text)]
    assert not found, "\n".join(found)


@pytest.mark.parametrize("path", PAGES, ids=name)
def test_pages_have_short_lines_and_none_of_the_forbidden_phrases(path):
    text, found = CODE.sub(lambda match: "\n" * match[0].count("\n"), path.read_text()), []
    for number, line in enumerate(text.splitlines(), 1):
        if len(line) > 120 and not line.lstrip().startswith("|") and "](" not in line:
            found.append(f"{name(path)}:{number}: {len(line)} characters")
        if HEADING.match(line):
            found.append(f"{name(path)}:{number}: {line}")
        found += [f"{name(path)}:{number}: {phrase!r}" for phrase in FORBIDDEN.findall(re.sub("`[^`]*`", "", line))]
    assert not found, "\n".join(found)
