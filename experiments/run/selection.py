"""`--only`: a part of a study, by the columns of its runs. Nothing that is typed is executed."""

import ast
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from experiments.run.compare import Row
from experiments.run.plan import Run

EXAMPLE = """--only 'mode == "same-ladder" and seed == 0'"""
ALLOWED = "columns, numbers, texts, lists, ==, !=, <, <=, >, >=, in, not in, and, or, not"
COMPARISONS: dict[type, Callable[[Any, Any], bool]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.In: lambda value, values: value in values,
    ast.NotIn: lambda value, values: value not in values,
}
LONGEST = 2_000  # of a condition, in characters


def only(planned: Sequence[Run], condition: str) -> list[Run]:
    """The runs for which a condition holds, such as 'mode == "same-ladder" and seed == 0'.

    It knows the columns of table.csv that are known before the run, and `seed` for train_seed. After == and !=, a value
    of the column needs no quotes: mode==same-ladder. A missing value equals nothing, and is neither smaller nor larger.

    Raises:
        ValueError: the condition cannot be read, compares a text with a number, or holds for no run that is possible.
    """
    rows = [row | {"seed": row.get("train_seed")} for row in (run.row() for run in planned)]
    values = {name: [row.get(name) for row in rows] for name in dict.fromkeys(name for row in rows for name in row)}
    known = {
        name: list(dict.fromkeys(value for value in column if value is not None)) for name, column in values.items()
    }
    try:
        if len(condition) > LONGEST:
            raise ValueError(f"it has over {LONGEST:,} characters")
        tree = ast.parse(_quoted(condition.strip(), known), mode="eval").body
        chosen = [run for run, row in zip(planned, rows, strict=True) if _holds(tree, row, known)]
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        reason = error.msg if isinstance(error, SyntaxError) else str(error) or type(error).__name__
        raise ValueError(
            f"only={condition[:200]!r}: {reason}; it may have {ALLOWED}, with text in quotes, as in {EXAMPLE}. "
            f"{_columns(known)}"
        ) from None
    if all(run.impossible for run in chosen):
        raise ValueError(f"only={condition!r}: it holds for none of {len(rows)} planned runs. {_columns(known)}")
    return chosen


def _holds(node: ast.expr, row: Row, known: Mapping[str, list[Any]]) -> bool:
    """Whether a condition holds for a row. Raises ValueError for what is none."""
    match node:
        case ast.BoolOp(op=op, values=parts):
            found = [_holds(part, row, known) for part in parts]  # all of them, so that each is read
            return all(found) if isinstance(op, ast.And) else any(found)
        case ast.UnaryOp(op=ast.Not(), operand=part):
            return not _holds(part, row, known)
        case ast.Compare(left=left, ops=ops, comparators=others):
            values = [_value(part, row, known) for part in (left, *others)]
            return all(_compared(op, a, b) for op, a, b in zip(ops, values, values[1:], strict=False))
        case ast.Name():
            value = _value(node, row, known)
            if not isinstance(value, bool | None):
                raise ValueError(f"{node.id} is no condition")
            return bool(value)
    raise ValueError(f"{ast.unparse(node)} is no condition")


def _value(node: ast.expr, row: Row, known: Mapping[str, list[Any]]) -> Any:
    """The value of a column in a row, or of what stands there."""
    match node:
        case ast.Name(id=name):
            if name not in known:
                raise ValueError(f"there is no column {name!r}")
            return row.get(name)
        case ast.Constant(value=bool() | int() | float() | str() as value):
            return value
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as value)):
            return -value
        case ast.List(elts=parts) | ast.Tuple(elts=parts):
            return [_value(part, row, known) for part in parts]
    raise ValueError(f"{ast.unparse(node)} is neither a column nor a value")


def _compared(op: ast.cmpop, a: Any, b: Any) -> bool:
    if type(op) not in COMPARISONS:
        raise ValueError("two values are compared with ==, !=, <, <=, >, >=, in or not in")
    within = isinstance(op, ast.In | ast.NotIn)
    if isinstance(b, list) != within or isinstance(a, list):
        raise ValueError("a list stands after in or not in, and nowhere else")
    for other in b if within else [b]:
        if None not in (a, other) and isinstance(a, str) != isinstance(other, str):
            raise ValueError(f"{a!r} cannot be compared with {other!r}")
    if a is None or b is None:
        return isinstance(op, ast.NotEq | ast.NotIn)
    return COMPARISONS[type(op)](a, b)


def _quoted(condition: str, known: Mapping[str, list[Any]]) -> str:
    """The condition with quotes around known values of text columns, if these follow == or != without quotes."""
    for name, column in known.items():
        if texts := sorted({value for value in column if isinstance(value, str)}, key=len, reverse=True):
            bare = rf"\b({name}\s*[=!]=\s*)({'|'.join(map(re.escape, texts))})(?![\w.(-])"
            condition = re.sub(bare, lambda found: f"{found[1]}{found[2]!r}", condition)
    return condition


def _columns(known: Mapping[str, list[Any]]) -> str:
    """A list of the columns for messages. Columns with 2 to 12 different values are listed with the values."""
    parts = []
    for name, values in known.items():
        if not name.endswith("_id"):
            texts = ", ".join(f"{value:g}" if isinstance(value, float) else str(value) for value in values)
            parts.append(f"{name} ({texts})" if 1 < len(values) <= 12 else name)
    return f"Columns: {', '.join(parts)}"
