"""Figures of the public package: its import, its head and its classifier beside logistic regression."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys

import numpy as np
import pytest
import torch
from sklearn.datasets import load_breast_cancer, load_digits, load_iris, load_wine
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from annealq import AnnealqClassifier, EnergyHead
from tests.benchmarks.conftest import Record
from tests.conftest import ROOT

pytestmark = [pytest.mark.bench, pytest.mark.timeout(900)]

_SETS = {"digits": load_digits, "wine": load_wine, "breast cancer": load_breast_cancer}
_CLASSIFIED = {"iris": load_iris, **_SETS}
_CHOSEN_ON = 600  # samples, or a half: settings of the classifier were chosen by cross-validation on them
_SEEDS = range(3)
_EPOCHS = 60
_IMPORT = """
import time
start = time.process_time()
import annealq
print(time.process_time() - start)
"""


def _split(name: str, seed: int) -> list[np.ndarray]:
    """Return standardised vectors to train on and to test, and the labels of both."""
    x, y = _SETS[name](return_X_y=True)
    train, test, *labels = train_test_split(x, y, test_size=0.3, random_state=seed, stratify=y)
    scaler = StandardScaler().fit(train)
    return [*(scaler.transform(part).astype(np.float32) for part in (train, test)), *labels]


def _trained(train: np.ndarray, labels: np.ndarray, seed: int) -> EnergyHead:
    torch.manual_seed(seed)
    x, y = torch.from_numpy(train), torch.from_numpy(labels)
    head = EnergyHead(x.shape[1], int(y.max()) + 1)
    optimiser = torch.optim.AdamW(head.parameters(), lr=0.01)
    for epoch in range(_EPOCHS):
        for batch in torch.randperm(len(x)).split(32):
            optimiser.zero_grad()
            head.loss(x[batch], y[batch], progress=epoch / _EPOCHS).backward()
            optimiser.step()
    return head.eval()


def test_import(record: Record) -> None:
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "producer" / "public"))),
    }
    command = [sys.executable, "-c", _IMPORT]
    times = [
        1000
        * float(subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout)
        for _ in range(11)
    ]
    record("import annealq", statistics.median(times), "ms", 200, at_least=False, spread=times)


@pytest.mark.parametrize("name", _SETS)
def test_head(record: Record, name: str) -> None:
    own, rival, sampled, folded = [], [], [], []
    for seed in _SEEDS:
        train, test, labels, right = _split(name, seed)
        head = _trained(train, labels, seed)
        predicted = head.predict(torch.from_numpy(test)).numpy()
        network = head.to_network(vectors=train)
        assert network.classify(test).tolist() == predicted.tolist()
        own.append(100 * (predicted == right).mean())
        rival.append(100 * LogisticRegression(max_iter=2000).fit(train, labels).score(test, right))
        for visible, agreed in (("sampled", sampled), ("folded", folded)):
            reads = network.sample(test, reads=200, seed=seed, visible=visible)
            scores = network.read_scores(test, reads, visible=visible)
            agreed.append(100 * (scores.argmax(axis=1) == predicted).mean())
    values = (statistics.median(own), "%")
    record(f"{name}: accuracy of the head", *values, rival=statistics.median(rival), spread=own)
    record(f"{name}: same class by reads, sampled", statistics.median(sampled), "%", spread=sampled)
    record(f"{name}: same class by reads, folded", statistics.median(folded), "%", spread=folded)


@pytest.mark.parametrize("name", _CLASSIFIED)
def test_classifier(record: Record, name: str) -> None:
    x, y = _CLASSIFIED[name](return_X_y=True)
    size = min(_CHOSEN_ON, len(y) // 2)
    train, test, labels, right = train_test_split(x, y, train_size=size, random_state=0, stratify=y)
    rival = make_pipeline(StandardScaler(), LogisticRegression(max_iter=3000)).fit(train, labels)
    own, read = [], []
    for seed in _SEEDS:
        classifier = AnnealqClassifier(random_state=seed).fit(train, labels)
        own.append(100 * classifier.score(test, right))
        read.append(100 * classifier.set_params(solver="local").score(test, right))
    figures = {"rival": 100 * rival.score(test, right)}
    record(f"{name}: accuracy of the classifier", statistics.median(own), "%", **figures, spread=own)
    record(f"{name}: the same by 100 reads", statistics.median(read), "%", **figures, spread=read)
