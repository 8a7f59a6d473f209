"""The token of this machine's user, in the home folder: a key of scope admin for the API on this machine.

It is made at the first start, and nobody else can read it. An API that other machines can reach does not
accept it.
"""

from __future__ import annotations

import os
import re
import secrets
from pathlib import Path

from producer.stack.home import make_home
from schema.errors import StackError

FILE = "api-token"
_TOKEN_BYTES = 32
_TOKEN = re.compile(r"aqt_[A-Za-z0-9_-]{43}")


def read_or_create(home: Path) -> str:
    """Return the token in the folder ``home``; create both if necessary.

    Raises:
        StackError: it cannot be created or read, is damaged, or others may read it.
    """
    path = home / FILE
    try:
        if not path.exists():
            make_home(home)
            _create(path)
        return _read(path)
    except OSError as error:
        raise StackError(
            f"cannot use the token in {path} ({error.strerror}): correct its permissions, or delete it"
        ) from error


def _create(path: Path) -> None:
    """Write a new token to ``path``, unless another process was faster."""
    draft = path.with_name(f".{FILE}-{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(f"aqt_{secrets.token_urlsafe(_TOKEN_BYTES)}\n")
        path.hardlink_to(draft)
    except FileExistsError:
        return
    finally:
        draft.unlink()


def _read(path: Path) -> str:
    with path.open(encoding="ascii", errors="replace") as file:
        status = os.fstat(file.fileno())
        token = file.read(100).strip()
    if status.st_mode & 0o077 or status.st_uid != os.geteuid():
        raise StackError(f"others may read or have written the token in {path}: delete it, to get a new one")
    if not _TOKEN.fullmatch(token):
        raise StackError(f"{path} holds no token: delete it, to get a new one")
    return token
