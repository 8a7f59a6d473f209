"""What tests ask of a client that was generated from /openapi.json; run by the generator's own Python.

python generated.py FOLDER ADDRESS KEY IMAGES submit|read [RUN]
"""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

sys.path.insert(0, sys.argv[1])

from generated_annealq import AuthenticatedClient, models, types
from generated_annealq.api.keys import show_caller
from generated_annealq.api.networks import list_networks, show_network
from generated_annealq.api.results import read_results
from generated_annealq.api.runs import (
    cancel_run,
    change_run,
    list_runs,
    pause_run,
    rescore_run,
    resume_run,
    show_run,
    submit_run,
)
from generated_annealq.api.service import is_alive

client = AuthenticatedClient(base_url=sys.argv[2], token=sys.argv[3])


def submit() -> None:
    """Send images in both ways, control and change the run; print its number."""
    file = types.File(io.BytesIO(Path(sys.argv[4]).read_bytes()), "some.npz", "application/octet-stream")
    form = models.Form(images=[file], network="digits", reads=5, tags=["generated"])
    sent = submit_run.sync(client=client, body=form, idempotency_key="one")
    again = submit_run.sync(
        client=client, body=models.Form(images=[file], network="digits"), idempotency_key="one"
    )
    assert isinstance(sent, models.SubmittedRun), sent
    assert sent.created
    assert isinstance(again, models.ProblemDetails), again  # other parameters with the same key
    assert (again.status, again.code) == (409, "idempotency_conflict")
    body = models.Request(images=[[[0] * 8] * 8], labels=[3], network="digits")
    numbers = submit_run.sync(client=client, body=body)
    assert isinstance(numbers, models.SubmittedRun), numbers
    paused = pause_run.sync(sent.run_id, client=client)
    assert paused.state == models.RunState.PAUSED
    changed = change_run.sync(sent.run_id, client=client, body=models.RunChanges(name="changed", priority=3))
    assert (changed.name, changed.priority, changed.tags) == ("changed", 3, ["generated"])
    assert resume_run.sync(sent.run_id, client=client, body=models.Resumption()).batches_left == 1
    assert cancel_run.sync(numbers.run_id, client=client).state == models.RunState.CANCELLED
    found = list_runs.sync(client=client, tag="generated", order=models.RunOrder.OLDEST)
    assert [run.run_id for run in found.runs] == [sent.run_id]
    missing = show_run.sync_detailed(999, client=client)
    assert missing.status_code == 404
    assert (missing.parsed.code, missing.parsed.type_) == ("not_found", "/problems/not_found")
    wrong = list_runs.sync(client=client, limit=0)
    assert [(error.field, error.location) for error in wrong.errors] == [("limit", "query")]
    assert show_caller.sync(client=client).scope == models.Scope.SUBMIT
    assert show_network.sync("digits", client=client).takes.maximum == 16
    assert list_networks.sync(client=client).networks[0].name == "digits"
    assert is_alive.sync(client=client).status == "alive"
    sys.stdout.write(json.dumps(sent.run_id))


def read(run: int) -> None:
    """Read the results of a finished run, and score it again."""
    shown = show_run.sync(run, client=client)
    assert shown.state == models.RunState.DONE
    page = read_results.sync(run, client=client, limit=2)
    assert [row.image for row in page.results] == [0, 1]
    assert all(len(row.scores) == len(page.classes) == 10 for row in page.results)
    assert not page.complete
    assert read_results.sync(run, client=client, cursor=2).complete
    again = rescore_run.sync(run, client=client, body=models.Rescoring(reads=3, rule=models.Rule.BOLTZMANN))
    assert show_run.sync(again.run_id, client=client).rescored_from == run


submit() if sys.argv[5] == "submit" else read(int(sys.argv[6]))
