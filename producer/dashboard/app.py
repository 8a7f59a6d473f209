"""The pages that people watch runs by: made on the server, with no outside request, usable without script."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from sqlalchemy.orm import Session
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from producer.dashboard import overview, run_facts, run_report
from producer.embeddings import queries as embeddings_queries
from producer.runs import queries
from producer.stack import programs
from producer.stack.programs import Program
from schema.database import Database
from schema.errors import AnnealqError, NotFound, ParameterError, RequestRefused
from schema.settings import load
from schema.states import LIVE_RUNS, ProblemState, RunState
from schema.tables import Classification

COOKIE = "annealq-key"
_STATIC = Path(__file__).parent / "static"
_PAGE = 50  # runs
_MOST_SCORED = 20_000  # images whose scores a page averages
_SPECTRUM_S = 60.0
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; img-src 'self' data:; style-src 'self' 'unsafe-inline'; "
    "script-src 'self'; connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}
_WORDS = {"pause": "paused", "resume": "resumed", "cancel": "cancelled"}


@dataclass(frozen=True)
class Visitor:
    """Who looks. name: of the key, None: this machine.

    only: the key whose runs are all that they see; None: all runs. check: raises NotFound for a run that they
    do not see. change: pause, resume or cancel a run, for those who ``may_act``; raises RequestRefused where
    the run is another key's.
    """

    name: str | None
    may_act: bool
    only: int | None
    check: Callable[[int], None]
    change: Callable[[int, str], None]


Admit = Callable[[Request, str | None], Visitor]
"""Request and API key, from the cookie, to who that is; raises RequestRefused with status 401 or 403."""


@dataclass(frozen=True)
class Dashboard:
    """What the pages need."""

    database: Database
    admit: Admit

    def app(self) -> Starlette:
        """The pages, to be mounted at `/`."""
        pages = [
            ("/", self.runs),
            ("/solvers", self.solvers),
            ("/runs/{run:int}", self.run),
            ("/runs/{run:int}/report.html", self.report),
            ("/runs/{run:int}/images/{image:int}", self.image),
            ("/runs/{run:int}/images/{image:int}/energies.svg", self.energies),
            ("/embeddings/{embedding:int}.png", self.embedding),
        ]
        routes = [Route(path, self._page(page)) for path, page in pages]
        routes += [
            Route("/runs/{run:int}/{act:str}", self._page(self.act), methods=["POST"]),
            Route("/login", self.login, methods=["POST"]),
            Route("/logout", self.logout, methods=["POST"]),
            Route("/static/style.css", self.style),
            Route("/static/live.js", self.script),
        ]
        return Starlette(routes=routes, exception_handlers={404: _nothing_here})

    def runs(self, request: Request, who: Visitor) -> Response:
        """The visitor's runs, newest first."""
        before = request.query_params.get("before", "")
        with self.database.reading() as session:
            older = int(before) if before.isdecimal() else None
            found = queries.runs(session, _PAGE, before=older, key=who.only)
            waiting = overview.queue(session)
            now = self.database.now(session)
        return self._render(
            request,
            "runs.html.j2",
            runs=[_listed(run) for run in found],
            older=found[-1].run_id if len(found) == _PAGE else None,
            tiles=_queue_tiles(waiting, now),
            live=True,
        )

    def solvers(self, request: Request, _who: Visitor) -> Response:
        """What is with each solver with qubits, and the embeddings on them."""
        with self.database.reading() as session:
            found = overview.solvers(session, self.database.now(session))
            held = embeddings_queries.summaries(session)
        rows = [_solver(one) for one in found]
        return self._render(request, "solvers.html.j2", solvers=rows, embeddings=held, live=True)

    def run(self, request: Request, _who: Visitor) -> Response:
        """One run, live until it is finished."""
        number = request.path_params["run"]
        with self.database.reading() as session:
            found = queries.run(session, number)
            finished = found.state not in LIVE_RUNS
            values = run_report.live(session, number, scores=finished and found.images <= _MOST_SCORED)
            progress = None if finished else _progress(queries.progress(session, number))
        root = _root(request)
        here = f"{root}/runs/{number}"
        if (source := values.pop("embedding", None)) is not None:
            values["chip"] = {"source": f"{root}/embeddings/{source[0]}.png", "text": source[1]}
        values |= {"here": here, "progress": progress, "live": not finished}
        return self._render(request, "run.html.j2", **values)

    def report(self, request: Request, _who: Visitor) -> Response:
        """The run as one file."""
        with self.database.reading() as session:
            return HTMLResponse(run_report.html(session, request.path_params["run"]))

    def image(self, request: Request, _who: Visitor) -> Response:
        """One image, its scores and the energies of its reads."""
        number, image = request.path_params["run"], request.path_params["image"]
        with self.database.reading() as session:
            run = queries.run(session, number)
            names = queries.classes(session, number)
            found = run_facts.images(session, number, [_classified(session, number, image)], len(names))[0]
        shown = run_report.image(found, names)
        return self._render(
            request,
            "image.html.j2",
            run=run,
            one=shown,
            about=_about(found),
            here=f"{_root(request)}/runs/{number}",
        )

    def energies(self, request: Request, _who: Visitor) -> Response:
        """The energy histogram of an image, by a process of the worker's code."""
        number, image = request.path_params["run"], request.path_params["image"]
        with self.database.reading() as session:
            held = _classified(session, number, image)
            names = queries.classes(session, number)
        chart = run_report.energies(_spectrum(number, image), held.predicted, names, large=True)
        svg = run_report.environment().get_template("energies.svg.j2").render(c=chart)
        return Response(svg, media_type="image/svg+xml", headers={"Cache-Control": "private, max-age=3600"})

    def embedding(self, request: Request, _who: Visitor) -> Response:
        """An embedding on its chip."""
        with self.database.reading() as session:
            drawn = draw_embedding(session, request.path_params["embedding"])
        return Response(drawn, media_type="image/png", headers={"Cache-Control": "private, max-age=3600"})

    def act(self, request: Request, who: Visitor) -> Response:
        """Pause, resume or cancel a run, then show it."""
        number, act = request.path_params["run"], request.path_params["act"]
        if act not in _WORDS:
            raise NotFound(f"there is no page {request.url.path}")
        _refuse_foreign(request)
        if not who.may_act:
            raise RequestRefused(
                f"key {who.name!r} may only look", 403, "log in with a key of scope submit to change runs"
            )
        who.change(number, act)
        said = quote(f"run {number} is {_WORDS[act]}")
        return RedirectResponse(f"{_root(request)}/runs/{number}?said={said}", 303)

    async def login(self, request: Request) -> Response:
        """Keep a valid API key in a cookie that scripts and other sites do not see."""
        form = await request.form(max_files=0, max_fields=4)
        key = str(form.get("key", "")).strip()
        try:
            _refuse_foreign(request)
            await run_in_threadpool(self.admit, request, key)
        except RequestRefused as refused:
            return self._render(request, "login.html.j2", wrong=str(refused), status=refused.status)
        answer = RedirectResponse(f"{_root(request)}/", 303)
        answer.set_cookie(
            COOKIE, key, httponly=True, samesite="strict", secure=request.url.scheme == "https", path="/"
        )
        return answer

    async def logout(self, request: Request) -> Response:
        """Forget the key."""
        answer = RedirectResponse(f"{_root(request)}/", 303)
        answer.delete_cookie(COOKIE, path="/")
        return answer

    async def style(self, _request: Request) -> Response:
        text = run_report.environment().get_template("style.css.j2").render()
        return Response(text, media_type="text/css", headers={"Cache-Control": "max-age=300"})

    async def script(self, _request: Request) -> Response:
        text = (_STATIC / "live.js").read_text(encoding="utf-8")
        return Response(text, media_type="text/javascript", headers={"Cache-Control": "max-age=300"})

    def _page(self, page: Callable[[Request, Visitor], Response]) -> Callable[[Request], Any]:
        """A page for who may see it; errors become pages that say what to do."""

        @functools.wraps(page)
        async def answer(request: Request) -> Response:
            return await run_in_threadpool(self._answer, page, request)

        return answer

    def _answer(self, page: Callable[[Request, Visitor], Response], request: Request) -> Response:
        try:
            who = self.admit(request, request.cookies.get(COOKIE))
            request.state.who = who
            if "run" in request.path_params:
                who.check(request.path_params["run"])
            answer = page(request, who)
        except RequestRefused as refused:
            if refused.status == HTTPStatus.UNAUTHORIZED:
                return self._render(request, "login.html.j2", wrong=None, status=401)
            return self._problem(request, refused.status, str(refused), refused.hint)
        except NotFound as error:
            return self._problem(request, 404, str(error))
        except ParameterError as error:
            return self._problem(request, 409, str(error))
        except AnnealqError as error:
            return self._problem(request, 503, str(error))
        for name, value in _HEADERS.items():
            answer.headers.setdefault(name, value)
        return answer

    def _problem(self, request: Request, status: int, message: str, hint: str | None = None) -> Response:
        return self._render(request, "problem.html.j2", status=status, message=message, hint=hint)

    def _render(self, request: Request, template: str, status: int = 200, **values: Any) -> Response:
        who: Visitor | None = getattr(request.state, "who", None)
        shown = {
            "root": _root(request),
            "here": None,
            "live": False,
            "progress": None,
            "said": request.query_params.get("said"),
            "who": None if who is None else who.name,
            "status": status,
        }
        text = run_report.environment().get_template(template).render(shown | values)
        return HTMLResponse(text, status, headers=_HEADERS)


def draw_embedding(session: Session, embedding: int) -> bytes:
    """An embedding on its chip, as PNG.

    Raises:
        NotFound: there is no such embedding. ParameterError: matplotlib is not installed. AnnealqError: it
            has no chains yet.
    """
    return run_report.chip_png(session, embeddings_queries.embedding(session, embedding))[0]


def _listed(run: queries.RunSummary) -> dict[str, Any]:
    figures = run.statistics or {}
    charged = figures.get("qpu_access_time_us") or 0
    rate = figures.get("images_per_second")
    colours = {RunState.DONE: "right", RunState.FAILED: "wrong"}
    return {
        "number": run.run_id,
        "name": run.name,
        "network": run.network,
        "solver": run.solver,
        "state": run.state,
        "colour": colours.get(run.state, ""),
        "reason": run.pause_reason if run.state is RunState.PAUSED else None,
        "images": f"{run.images:,}",
        "percent": 100 * run.batches_scored // run.batches,
        "rate": "" if rate is None else f"{rate:,.1f}",
        "qpu": f"{charged / 1e6:,.3f} s" if charged else "",
        "created": f"{run.created_at.astimezone(UTC):%Y-%m-%d %H:%M} UTC",
    }


def _queue_tiles(waiting: overview.QueueDepth, now: datetime) -> list[tuple[str, str, str]]:
    batches = ", ".join(f"{count:,} {state}" for state, count in waiting.batches.items())
    tiles = [("images that wait", f"{waiting.images:,}", batches or "nothing to do")]
    if waiting.oldest_due is not None:
        tiles.append(
            ("oldest due batch", _ago((now - waiting.oldest_due).total_seconds()), "since it was due")
        )
    return tiles


def _ago(seconds: float) -> str:
    seconds = max(seconds, 0.0)
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:,.0f} min" if seconds < 7200 else f"{seconds / 3600:,.1f} h"


def _solver(one: overview.SolverState) -> dict[str, Any]:
    state = "answers"
    if one.failures:
        state = f"{one.failures:,} failures in a row: {one.error}"
    return {
        "name": one.name,
        "state": state,
        "colour": "wrong" if one.failures else "right",
        **{str(kind): f"{one.problems.get(kind, 0):,}" for kind in _FLYING},
        "today": f"{one.today_us / 1e6:,.3f} s",
        "charged": f"{one.charged_us / 1e6:,.3f} s",
    }


_FLYING = (ProblemState.RESERVED, ProblemState.SENDING, ProblemState.SENT)


def _progress(found: queries.ImageProgress) -> dict[str, Any]:
    text = f"{found.scored:,} of {found.images:,} images are scored, {found.sampled:,} sampled"
    if found.failed:
        text += f", {found.failed:,} failed"
    if found.search:
        text += f"; an embedding is searched: {found.search['step']}, {found.search['fraction']:.0%}"
    scored = 100.0 * found.scored / found.images
    return {
        "images": found.images,
        "scored": found.scored,
        "scored_percent": round(scored, 1),
        "sampled_percent": round(max(100.0 * found.sampled / found.images - scored, 0.0), 1),
        "text": text,
    }


def _about(found: run_facts.ImageFacts) -> list[tuple[str, str]]:
    held = found.held
    rows = [
        ("margin", f"{held.margin:.4f}"),
        ("reads with one class", f"{held.one_hot_fraction:.1%}"),
        ("lowest energy", f"{held.lowest_energy:.4f}"),
    ]
    if held.chain_break_fraction is not None:
        rows.append(("broken chains", f"{held.chain_break_fraction:.2%}"))
    return rows


def _classified(session: Session, run: int, image: int) -> queries.Classified:
    found = run_facts.classified(session, run, 1, Classification.image == image)
    if not found:
        queries.run(session, run)
        raise NotFound(f"run {run} has no image {image} that is scored")
    return found[0]


@functools.lru_cache(maxsize=256)
def _spectrum(run: int, image: int) -> dict[str, Any]:
    text = programs.run(Program.ENERGIES, [str(run), str(image)], load(), timeout_s=_SPECTRUM_S)
    spectrum: dict[str, Any] = json.loads(text)[str(image)]
    return spectrum


def _root(request: Request) -> str:
    """Where the pages are mounted, without a slash at the end."""
    return str(request.scope.get("root_path", "")).rstrip("/")


def _refuse_foreign(request: Request) -> None:
    """A page of another site must not act with this browser's cookie."""
    site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
    foreign = site not in (None, "same-origin", "none")
    if origin not in (None, "null") and urlsplit(origin).netloc != request.headers.get("host"):
        foreign = True
    if foreign or origin == "null":
        raise RequestRefused("this was sent by another site", 403, "use the buttons of this page")


def _nothing_here(request: Request, _error: Exception) -> Response:
    message, hint = f"there is no page {request.url.path}", "start from the list of runs, /"
    if "text/html" not in request.headers.get("accept", ""):
        found = {"error": "NotFound", "message": message, "hint": hint, "way_out": hint}
        return JSONResponse(found, 404, headers=_HEADERS)
    values = {"live": False, "said": None, "who": None, "status": 404, "message": message, "hint": hint}
    page = run_report.environment().get_template("problem.html.j2")
    return HTMLResponse(page.render(root=_root(request), **values), 404, headers=_HEADERS)
