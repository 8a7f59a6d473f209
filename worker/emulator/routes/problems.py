"""SAPI's problems: submit, poll, search, cancel."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import orjson
from starlette.requests import Request
from starlette.responses import Response

from worker.emulator.qpu.errors import Rejected
from worker.emulator.routes import wire
from worker.emulator.service.faults import Target
from worker.emulator.service.store import AcceptedProblem, Status

if TYPE_CHECKING:
    from worker.emulator.service.machine import Machine

_MAX_IDS = 100
_MAX_RESULTS = 1000
_MAX_ITEMS = 2000
_MAX_TIMEOUT_S = 30
# Seconds for which a request without a timeout waits for a problem to end, as D-Wave documents it; a POST of
# one problem, not of a list, too.
_WAIT_S = 1
# Larger bodies are checked in a thread, so that other requests do not wait.
_LARGE_BODY = 256 * 1024
_FILTERS = {"id", "timeout", "label", "status", "solver", "max_results"}


class Problems:
    """Handlers of ``problems/``: each takes request, member and body."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine

    async def submit(self, _request: Request, member: str, content: bytes) -> Response:
        """Accept a list of problems, or one, from the JSON ``content`` of ``member``."""
        body = wire.parse(content)
        if not isinstance(body, list | dict):
            raise Rejected("the body must be a list of problems, or one problem")
        items = body if isinstance(body, list) else [body]
        if len(items) > _MAX_ITEMS:
            raise Rejected(f"at most {_MAX_ITEMS:,} problems at a time, not {len(items):,}", 413)
        if len(content) > _LARGE_BODY:
            checked = await asyncio.to_thread(self._machine.check, items, member)
        else:
            checked = self._machine.check(items, member)
        results = self._machine.accept(checked, member)
        if isinstance(body, dict):
            return await self._submitted_one(results[0], member)
        return wire.reply([_result(result) for result in results], "problems")

    async def ask(self, request: Request, member: str, _content: bytes) -> Response:
        """Return the status of ``member``'s problems, by id or by another filter of ``request``.

        While none of them has ended, the answer waits for a second, or as long as the request says.
        """
        if unknown := set(request.query_params) - _FILTERS:
            raise Rejected(f"unknown filter {min(unknown)!r:.80}; available: {', '.join(sorted(_FILTERS))}")
        timeout_s = _timeout(request)
        find = self._by_id if "id" in request.query_params else self._search
        entries = find(request, member)
        if entries and not any(entry.status.terminal for entry in entries):
            await self._machine.bell.wait([entry.id for entry in entries], timeout_s)
            entries = find(request, member)
        return wire.reply([wire.status(entry) for entry in entries], "problems")

    async def cancel(self, request: Request, member: str, content: bytes) -> Response:
        """Cancel the problems of ``member`` whose ids are listed in ``content``."""
        ids = wire.parse(content)
        are_ids = isinstance(ids, list) and all(isinstance(name, str) for name in ids)
        if not are_ids or not 1 <= len(ids) <= _MAX_RESULTS:
            raise Rejected(f"the body must be a list of 1 to {_MAX_RESULTS:,} ids")
        return wire.reply([self._cancelled(request, name, member) for name in ids], "problems")

    async def one(self, request: Request, member: str, _content: bytes) -> Response:
        """Return the status of the problem that ``request`` of ``member`` names, with its answer if there is
        one; wait for it as `ask` does.
        """
        timeout_s = _timeout(request)
        entry = self._entry(request, member)
        if not entry.status.terminal:
            await self._machine.bell.wait([entry.id], timeout_s)
            entry = self._entry(request, member)
        return wire.reply(self._with_answer(entry), "problem")

    async def cancel_one(self, request: Request, member: str, _content: bytes) -> Response:
        """Cancel the problem that ``request`` of ``member`` names."""
        entry = self._entry(request, member)
        try:
            return wire.reply(wire.status(self._machine.cancel(entry)), "problem")
        except Rejected as rejected:
            if rejected.code != 202:
                raise
            return wire.reply(wire.refusal(rejected), "problem", 202)

    async def answer(self, request: Request, member: str, _content: bytes) -> Response:
        """Return only the answer of the problem that ``request`` of ``member`` names."""
        entry = self._entry(request, member)
        if entry.status is not Status.COMPLETED:
            raise Rejected(f"the problem has no answer: it is {entry.status}", 404)
        accept = request.headers.get("accept", "")
        return wire.reply({"answer": self._answer(entry)}, "problem-answer", accept=accept)

    async def info(self, request: Request, member: str, _content: bytes) -> Response:
        """Return submission, status and answer of the problem that ``request`` of ``member`` names."""
        entry = self._entry(request, member)
        payload = self._machine.store.payload(entry)
        if payload is None:
            raise Rejected("the submission is no longer stored", 410)
        data, params = payload
        content = {
            "id": entry.id,
            "data": orjson.Fragment(data),
            "params": orjson.Fragment(params),
            "metadata": {
                **wire.status(entry),
                "submitted_by": request.headers["x-auth-token"],
                "messages": _messages(entry),
            },
        }
        if entry.status is Status.COMPLETED:
            content["answer"] = self._answer(entry)
        return wire.reply(content, "problem-data")

    async def messages(self, request: Request, member: str, _content: bytes) -> Response:
        """Return the error messages of the problem that ``request`` of ``member`` names."""
        accept = request.headers.get("accept", "")
        return wire.reply(_messages(self._entry(request, member)), "problem-message", accept=accept)

    async def _submitted_one(self, result: AcceptedProblem | Rejected, member: str) -> Response:
        if isinstance(result, Rejected):
            raise result
        if not result.status.terminal:
            await self._machine.bell.wait([result.id], _WAIT_S)
        return wire.reply(self._with_answer(self._machine.entries([result.id], member)[0]), "problems")

    def _by_id(self, request: Request, member: str) -> list[AcceptedProblem]:
        ids = request.query_params["id"].split(",")
        if len(ids) > _MAX_IDS:
            raise Rejected(f"at most {_MAX_IDS} ids, not {len(ids):,}")
        return self._machine.known(ids, member, request.state.view)

    def _search(self, request: Request, member: str) -> list[AcceptedProblem]:
        query = request.query_params
        limit = _integer(query.get("max_results", str(_MAX_RESULTS)), "max_results", 1, _MAX_RESULTS)
        names = [name for name in query.get("status", "").split(",") if name]
        if unknown := set(names) - set(Status):
            raise Rejected(f"unknown status {min(unknown)!r:.80}; available: {', '.join(Status)}")
        return self._machine.search(
            member,
            request.state.view,
            label=query.get("label", ""),
            solver=query.get("solver"),
            statuses=[Status(name) for name in names],
            limit=limit,
        )

    def _entry(self, request: Request, member: str) -> AcceptedProblem:
        return self._machine.known([request.path_params["id"]], member, request.state.view)[0]

    def _cancelled(self, request: Request, name: str, member: str) -> dict[str, object]:
        try:
            (entry,) = self._machine.known([name], member, request.state.view)
            return wire.status(self._machine.cancel(entry))
        except Rejected as rejected:
            return wire.refusal(rejected)

    def _with_answer(self, entry: AcceptedProblem) -> dict[str, object]:
        content: dict[str, object] = wire.status(entry)
        if entry.status is Status.COMPLETED:
            content["answer"] = self._answer(entry)
        return content

    def _answer(self, entry: AcceptedProblem) -> orjson.Fragment:
        answer = self._machine.store.answer(entry)
        if answer is None:
            raise Rejected("the answer is no longer stored", 410)
        return orjson.Fragment(answer)


def target(request: Request) -> Target:
    """Return the kind of ``request``, which decides the faults that it suffers."""
    if request.method == "POST":
        return Target.SUBMIT
    if request.method == "DELETE":
        return Target.CANCEL
    if "id" in request.path_params:
        return Target.ANSWER
    return Target.POLL if "id" in request.query_params else Target.LIST


def _result(result: AcceptedProblem | Rejected) -> dict[str, object]:
    if not isinstance(result, Rejected):
        return wire.status(result)
    # D-Wave documents 400 for an unknown solver of a list; a single problem for one gets 404.
    return {**wire.refusal(result), "error_code": 400 if result.code == 404 else result.code}


def _messages(entry: AcceptedProblem) -> list[dict[str, str]]:
    if entry.error is None:
        return []
    return [{"timestamp": str(entry.solved_on), "severity": "ERROR", "message": entry.error}]


def _timeout(request: Request) -> float:
    return _integer(request.query_params.get("timeout", str(_WAIT_S)), "timeout", 1, _MAX_TIMEOUT_S)


def _integer(text: str, name: str, low: int, high: int) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) < 10 and low <= int(text) <= high):
        raise Rejected(f"{name} must be an integer {low:,} to {high:,}, not {text!r:.80}")
    return int(text)
