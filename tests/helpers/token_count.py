"""Tokens of Python without comments, docstrings, imports and layout, counted alike by every Python.

An f-string counts as one token and those of the expressions in it: Python 3.11 has one token there, 3.12 and later have
all.
"""

import ast
import io
import itertools
import tokenize
from collections.abc import Iterator

LAYOUT = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}


def count_tokens(text: str) -> int:
    source = text.encode()  # the columns of ast are bytes
    lines = [0, *itertools.accumulate(map(len, source.splitlines(keepends=True)))]
    replacements = [*find_replacements(ast.parse(source))]
    for node, replacement in sorted(replacements, key=lambda pair: (pair[0].lineno, pair[0].col_offset), reverse=True):
        start = lines[node.lineno - 1] + node.col_offset
        end = lines[node.end_lineno - 1] + node.end_col_offset
        source = source[:start] + replacement.encode() + source[end:]
    tokens = tokenize.generate_tokens(io.StringIO(source.decode()).readline)
    return sum(token.type not in LAYOUT for token in tokens)


def find_replacements(tree: ast.AST) -> Iterator[tuple[ast.AST, str]]:
    """Nodes with the text that is counted in their place: none for docstrings and imports."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.JoinedStr):
            yield node, FlatStrings().visit(node).id
        elif isinstance(node, ast.Import | ast.ImportFrom) or is_docstring(node):
            yield node, ""
        else:
            yield from find_replacements(node)


def is_docstring(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and type(node.value.value) is str


class FlatStrings(ast.NodeTransformer):
    """Each f-string becomes one string and the expressions in it, as the "name" that `ast.unparse` writes."""

    def visit_JoinedStr(self, node: ast.JoinedStr) -> ast.Name:
        words = [EMPTY]
        for value in node.values:
            if isinstance(value, ast.FormattedValue):
                words.append(ast.unparse(self.visit(value.value)))
                words.append(self.visit(value.format_spec).id.removeprefix(EMPTY) if value.format_spec else "")
        return ast.Name(" ".join(words))


EMPTY = "''"
