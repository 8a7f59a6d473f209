"""The pages for browsers: rendered on the server, without requests to other hosts, usable without scripts."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from sqlalchemy.orm import Session
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from producer.dashboard import energy_histograms, overview, run_facts, run_report
from producer.embeddings import chips
from producer.embeddings import queries as embeddings_queries
from producer.progress.reasons import outages_of
from producer.progress.stages import ImageProgress, progress_of
from producer.runs import queries
from schema.database import Database
from schema.errors import AnnealqError, NotFound, ParameterError, RequestRefused
from schema.quantities import count_text, duration_text
from schema.states import LIVE_RUNS
from schema.tables import Classification

COOKIE = "annealq-key"
_STATIC = Path(__file__).parent / "static"
_PAGE = 50  # runs
_MAX_AVERAGED = 20_000  # images of a run whose page shows mean scores
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; img-src 'self' data:; style-src 'self' 'unsafe-inline'; "
    "script-src 'self'; connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}
_DONE = {"pause": "paused", "resume": "resumed", "cancel": "cancelled"}


@dataclass(frozen=True)
class Visitor:
    """A visitor of the pages.

    Attributes:
        name: of the API key; None for this machine.
        may_act: the visitor may pause, resume and cancel runs.
        only: the key whose runs the visitor sees; None for all runs.
        check: raises NotFound for a run that the visitor does not see.
        change: performs an action on a run; raises RequestRefused if the run belongs to another key.
    """

    name: str | None
    may_act: bool
    only: int | None
    check: Callable[[int], None]
    change: Callable[[int, str], None]


Admit = Callable[[Request, str | None], Visitor]
"""Returns the visitor for a request and the API key of its cookie; raises RequestRefused (401, 403)."""


@dataclass(frozen=True)
class Dashboard:
    """The pages over a database; ``admit`` identifies visitors, ``refuse`` answers programs with an error."""

    database: Database
    admit: Admit
    refuse: Callable[[AnnealqError], Response]

    def app(self) -> Starlette:
        """Return the pages as an application for `/`."""
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
        return Starlette(routes=routes, exception_handlers={404: self._not_found})

    def runs(self, request: Request, visitor: Visitor) -> Response:
        """Show the runs of ``visitor``, newest first, for ``request``."""
        before = request.query_params.get("before", "")
        with self.database.reading() as session:
            older = int(before) if before.isdecimal() else None
            runs = queries.runs(session, _PAGE, before=older, key=visitor.only)
            outages = outages_of(session, runs)
            tiles = overview.queue_tiles(session, self.database.now(session))
        return self._render(
            request,
            "runs.html.j2",
            runs=[overview.run_row(run, outages.get(run.run_id)) for run in runs],
            older=runs[-1].run_id if len(runs) == _PAGE else None,
            tiles=tiles,
            live=True,
        )

    def solvers(self, request: Request, _visitor: Visitor) -> Response:
        """Show the solvers with qubits, their open problems and embeddings, for ``request``."""
        with self.database.reading() as session:
            solvers = overview.solver_rows(session, self.database.now(session))
            embeddings = embeddings_queries.summaries(session)
            deprecations = chips.deprecations(session)
            known = chips.summaries(session)
        return self._render(
            request,
            "solvers.html.j2",
            solvers=solvers,
            embeddings=embeddings,
            deprecations=deprecations,
            chips=known,
            live=True,
        )

    def run(self, request: Request, _visitor: Visitor) -> Response:
        """Show the run of ``request``, live until it is finished."""
        number = request.path_params["run"]
        with self.database.reading() as session:
            run = queries.run(session, number)
            finished = run.state not in LIVE_RUNS
            values = run_report.live(session, number, scores=finished and run.images <= _MAX_AVERAGED)
            now = self.database.now(session)
            progress = None if finished else _progress(progress_of(session, number, now), now)
        root = _root(request)
        here = f"{root}/runs/{number}"
        if (source := values.pop("embedding", None)) is not None:
            values["chip"] = {"source": f"{root}/embeddings/{source[0]}.png", "text": source[1]}
        values |= {"here": here, "progress": progress, "live": not finished}
        return self._render(request, "run.html.j2", **values)

    def report(self, request: Request, _visitor: Visitor) -> Response:
        """Send the report of the run of ``request`` as one file."""
        with self.database.reading() as session:
            return HTMLResponse(run_report.html(session, request.path_params["run"]))

    def image(self, request: Request, _visitor: Visitor) -> Response:
        """Show one image, its scores and the energies of its reads, for ``request``."""
        number = request.path_params["run"]
        with self.database.reading() as session:
            run = queries.run(session, number)
            names = queries.classes(session, number)
            result = _classified(session, number, request.path_params["image"])
            image = run_facts.images(session, number, [result], len(names))[0]
        return self._render(
            request,
            "image.html.j2",
            run=run,
            image=run_report.image_values(image, names),
            about=_about(result),
            here=f"{_root(request)}/runs/{number}",
        )

    def energies(self, request: Request, _visitor: Visitor) -> Response:
        """Send the energy histogram of the image of ``request``."""
        number, image = request.path_params["run"], request.path_params["image"]
        with self.database.reading() as session:
            predicted = _classified(session, number, image).predicted
            names = queries.classes(session, number)
        histogram = energy_histograms.of_image(number, image)
        chart = energy_histograms.chart(histogram, predicted, names, large=True)
        svg = run_report.environment().get_template("energies.svg.j2").render(c=chart)
        return Response(svg, media_type="image/svg+xml", headers={"Cache-Control": "private, max-age=3600"})

    def embedding(self, request: Request, _visitor: Visitor) -> Response:
        """Send a drawing of the embedding of ``request`` on its chip."""
        with self.database.reading() as session:
            summary = embeddings_queries.embedding(session, request.path_params["embedding"])
            drawing, _ = run_report.chip_png(session, summary)
        return Response(drawing, media_type="image/png", headers={"Cache-Control": "private, max-age=3600"})

    def act(self, request: Request, visitor: Visitor) -> Response:
        """Pause, resume or cancel the run of ``request`` if ``visitor`` may, then show it."""
        number, act = request.path_params["run"], request.path_params["act"]
        if act not in _DONE:
            raise NotFound(f"there is no page {request.url.path}")
        _refuse_foreign(request)
        if not visitor.may_act:
            raise RequestRefused(
                f"key {visitor.name!r} may only look", 403, "log in with a key of scope submit to change runs"
            )
        visitor.change(number, act)
        message = quote(f"run {number} is {_DONE[act]}")
        return RedirectResponse(f"{_root(request)}/runs/{number}?said={message}", 303)

    async def login(self, request: Request) -> Response:
        """Store the API key of ``request`` in a cookie that is hidden from scripts and other sites."""
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
        """Delete the cookie of ``request``."""
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

        @functools.wraps(page)
        async def answer(request: Request) -> Response:
            return await run_in_threadpool(self._answer, page, request)

        return answer

    def _answer(self, page: Callable[[Request, Visitor], Response], request: Request) -> Response:
        try:
            visitor = self.admit(request, request.cookies.get(COOKIE))
            request.state.visitor = visitor
            if "run" in request.path_params:
                visitor.check(request.path_params["run"])
            answer = page(request, visitor)
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

    async def _not_found(self, request: Request, _error: Exception) -> Response:
        message, hint = f"there is no page {request.url.path}", "start from the list of runs, /"
        if "text/html" in request.headers.get("accept", ""):
            return self._problem(request, 404, message, hint)
        answer = self.refuse(RequestRefused(message, 404, hint))
        answer.headers.update(_HEADERS)
        return answer

    def _render(self, request: Request, template: str, status: int = 200, **values: Any) -> Response:
        visitor: Visitor | None = getattr(request.state, "visitor", None)
        defaults = {
            "root": _root(request),
            "here": None,
            "live": False,
            "progress": None,
            "said": request.query_params.get("said"),
            "who": None if visitor is None else visitor.name,
            "status": status,
        }
        text = run_report.environment().get_template(template).render(defaults | values)
        return HTMLResponse(text, status, headers=_HEADERS)


def _progress(progress: ImageProgress, now: datetime) -> dict[str, Any]:
    text = (
        f"{progress.scored:,} of {count_text(progress.images, 'image')} are scored, "
        f"{progress.sampled:,} sampled"
    )
    if progress.failed:
        text += f", {progress.failed:,} failed"
    if progress.search:
        text += f"; searching an embedding: {progress.search['step']}, {progress.search['fraction']:.0%}"
    if (left_s := progress.left_s(now)) is not None:
        text += f"; about {duration_text(left_s)} left"
    scored_percent = 100.0 * progress.scored / progress.images
    sampled_percent = 100.0 * progress.sampled / progress.images
    return {
        "images": progress.images,
        "scored": progress.scored,
        "scored_percent": round(scored_percent, 1),
        "sampled_percent": round(max(sampled_percent - scored_percent, 0.0), 1),
        "text": text,
        "waits": progress.waits,
    }


def _about(result: queries.Classified) -> list[tuple[str, str]]:
    rows = []
    if result.probability is not None:
        rows.append(("probability", f"{result.probability:.4f}"))
    if result.energy_gap is not None:
        rows.append(("energy gap", f"{result.energy_gap:.4f}"))
    rows += [
        ("margin", f"{result.margin:.4f}"),
        ("reads with one class", f"{result.one_hot_fraction:.1%}"),
        ("lowest energy", f"{result.lowest_energy:.4f}"),
    ]
    if result.chain_break_fraction is not None:
        rows.append(("broken chains", f"{result.chain_break_fraction:.2%}"))
    return rows


def _classified(session: Session, run: int, image: int) -> queries.Classified:
    results = run_facts.classified(session, run, 1, Classification.image == image)
    if not results:
        queries.run(session, run)
        raise NotFound(f"run {run} has no image {image} that is scored")
    return results[0]


def _root(request: Request) -> str:
    """Return the path at which the pages are mounted, without a slash at the end."""
    return str(request.scope.get("root_path", "")).rstrip("/")


def _refuse_foreign(request: Request) -> None:
    """Refuse a request that a page of another site sent with this browser's cookie."""
    site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
    is_foreign = site not in (None, "same-origin", "none")
    if origin is not None:
        is_foreign |= origin == "null" or urlsplit(origin).netloc != request.headers.get("host")
    if is_foreign:
        raise RequestRefused("the request came from another site", 403, "use the buttons of this page")
