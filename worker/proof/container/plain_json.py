"""JSON in one form: equal values give equal bytes, and nothing else is read."""

from __future__ import annotations

import json
from typing import Any

from worker.proof.container.archive import DamagedPart

_MOST_BYTES = 2**28


def encode(value: Any) -> bytes:
    """Encode ``value``: keys sorted, a line for each value of the outermost list or object, ASCII.

    Raises:
        ValueError: a number is not finite.

    >>> encode({"b": [1, 2.5], "a": None})
    b'{\\n"a":null,\\n"b":[1,2.5]\\n}\\n'
    """
    if isinstance(value, dict) and value:
        lines = [f"{_text(str(key))}:{_text(value[key])}" for key in sorted(value)]
        return ("{\n" + ",\n".join(lines) + "\n}\n").encode("ascii")
    if isinstance(value, list) and value:
        return ("[\n" + ",\n".join(map(_text, value)) + "\n]\n").encode("ascii")
    return (_text(value) + "\n").encode("ascii")


def decode(name: str, data: bytes) -> Any:
    """Decode ``data``, the content of the file ``name``.

    Raises:
        DamagedPart: it is not JSON in this form, too long or too deep.
    """
    if len(data) > _MOST_BYTES:
        raise DamagedPart(name, f"has {len(data):,} bytes of JSON; at most {_MOST_BYTES:,} are read")
    try:
        value = json.loads(data, parse_constant=_refuse)
        same = encode(value) == data
    except (ValueError, RecursionError) as error:
        raise DamagedPart(name, f"is not valid JSON: {type(error).__name__}: {error!s:.100}") from None
    if not same:
        raise DamagedPart(name, "is not in the one form of JSON that bundles have")
    return value


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not a number")
