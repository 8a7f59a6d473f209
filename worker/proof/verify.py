"""Verifies a bundle: its bytes, its signature, and all that can be computed again from it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from schema.errors import AnnealqError, ParameterError
from schema.quantities import count_text
from worker.proof import charges, columns, documents, features, scores, sent
from worker.proof.container import manifest
from worker.proof.container.archive import BundleArchive, DamagedPart
from worker.proof.container.signature import NAME as SIGNATURE
from worker.proof.contents import Contents

Report = Callable[[str, int, int], None]  # step, what is done of it, and of all


@dataclass
class Findings:
    """What was found out about a bundle.

    Attributes:
        root: of its files, in hex.
        signed_by: public key of its signature, in hex; None: it is not signed, or that is damaged.
        wrong: parts, and what is wrong with each.
        proven: what was computed again, or compared.
        unproven: what the bundle claims and does not prove.
        figures: of the run, as computed again.
    """

    root: str = ""
    signed_by: str | None = None
    wrong: list[tuple[str, str]] = field(default_factory=list)
    proven: list[str] = field(default_factory=list)
    unproven: list[str] = field(default_factory=list)
    figures: dict[str, Any] = field(default_factory=dict)

    def add(self, damages: tuple[DamagedPart, ...] | list[DamagedPart]) -> bool:
        """Add ``damages``; return whether there are none."""
        self.wrong += [(damage.part, damage.what) for damage in damages]
        return not damages


def verify(path: Path, key: bytes | None, report: Report) -> Findings:
    """Verify the bundle ``path``, if asked for as one that ``key``, a public key, has signed.

    A bundle with a wrong byte is not computed again: its parts are named.

    Raises:
        ParameterError: the file cannot be read.
    """
    findings = Findings()
    part = str(path.name)
    try:
        with BundleArchive(path) as archive:
            if not _check_bytes(archive, key, findings):
                return findings
            contents = Contents(archive)
            for name, step in _STEPS:
                part = name
                step(contents, findings, report)
    except DamagedPart as damage:
        findings.add([damage])
    except ParameterError as error:
        if not findings.root:
            raise
        findings.wrong.append((part, str(error)))
    except AnnealqError as error:
        findings.wrong.append((part, str(error)))
    except (ValueError, TypeError, KeyError, IndexError, ArithmeticError, AttributeError) as error:
        # Its documents are whole, and say something that cannot be.
        findings.wrong.append((part, f"cannot be computed: {type(error).__name__}: {error!s:.200}"))
    return findings


def _check_bytes(archive: BundleArchive, key: bytes | None, findings: Findings) -> bool:
    """Compare all bytes with the manifest, and the signature with ``key``; return whether all is well."""
    found = manifest.check(archive)
    findings.root, findings.signed_by = found.root, found.signed_by
    findings.add(found.damages)
    if key is not None and found.signed_by is None and not found.damages:
        findings.wrong.append((SIGNATURE, "is missing: the bundle is not signed"))
    elif key is not None and found.signed_by not in (None, key.hex()):
        findings.wrong.append((SIGNATURE, f"is by another key, {found.signed_by}"))
    if findings.wrong:
        return False
    findings.proven.append(f"all bytes of {count_text(len(archive.members), 'file')} are those of the root")
    if key is not None:
        findings.proven.append("the root is signed by the key that was given")
    elif found.signed_by is None:
        findings.unproven.append("who has made the bundle: it is not signed")
    else:
        findings.unproven.append("whose the key of the signature is: give it with --key")
    return True


def _features(contents: Contents, findings: Findings, report: Report) -> None:
    report("features", 0, 1)
    if not contents.has_images:
        findings.unproven.append(
            "that the features are those of the images: the bundle has only the SHA-256 of each batch of them"
        )
    elif contents.network.architecture.backbones:
        features.check_images(contents)
        findings.proven.append("the images are those of the run, by their SHA-256")
        findings.unproven.append("that the features are those of the images: the bundle has no backbones")
    else:
        found = features.compare(contents)
        if findings.add(found.wrong):
            same = (
                "to the bit"
                if not found.unequal
                else f"within {found.largest:.1g}, {found.unequal} of them not to the bit on this machine"
            )
            findings.proven.append(f"features of {found.images:,} images follow from their pixels, {same}")
    report("features", 1, 1)


def _sent(contents: Contents, findings: Findings, report: Report) -> None:
    found = sent.compare(contents, lambda done, total: report("problems", done, total))
    findings.add(found.wrong)
    if found.equal:
        findings.proven.append(f"{count_text(found.equal, 'problem')} built again: bit for bit those sent")
    if found.unrecorded:
        findings.unproven.append(
            f"the bytes of {count_text(found.unrecorded, 'problem')} as sent: an earlier version did not "
            "record their digests"
        )
    findings.unproven.append("that the solver drew these reads for these problems: they are as received")


def _scores(contents: Contents, findings: Findings, report: Report) -> None:
    theirs = columns.decode(contents.archive.content(documents.RESULTS), contents.classes)
    rows = scores.score(contents, lambda done, total: report("scores", done, total))
    classified = set(theirs["image"].tolist())
    without = len(rows.keys() - classified)  # a cancelled run has reads that it did not score
    ours = columns.columns({k: row for k, row in rows.items() if k in classified}, contents.classes)
    near = scores.near(contents)
    compared = dict(theirs)
    if contents.parameters.rounds is not None and contents.parameters.confidence is not None:
        compared = {name: each for name, each in theirs.items() if name not in ("class_set", "set_size")}
        findings.unproven.append("sets of classes after several rounds of reads")
    differ = columns.differences(ours, compared, near, scores.WITHIN)
    findings.wrong += [(documents.RESULTS, f"has another {text}") for text in differ]
    if not differ:
        but = f", {' and '.join(near)} within {scores.WITHIN:g}" if near else ""
        findings.proven.append(
            f"results of {len(classified):,} images computed again from their reads: bit for bit{but}"
        )
    if without:
        findings.unproven.append(f"anything of {count_text(without, 'image')} with reads and no result")
    known = theirs["label"] >= 0
    right = int((theirs["predicted"] == theirs["label"])[known].sum())
    findings.figures |= {
        "images": contents.run.images,
        "decided": int(np.count_nonzero(theirs["predicted"] >= 0)),
        "labelled": int(known.sum()),
        "right": right,
        "accuracy": right / int(known.sum()) if known.any() else None,
        "problems": len(contents.problems),
    }


def _charges(contents: Contents, findings: Findings, report: Report) -> None:
    report("charges", 0, 1)
    found = charges.add(contents)
    findings.figures["charged_us"] = found.sum_us
    if findings.add(found.wrong) and found.stated:
        findings.proven.append(
            f"charges of {count_text(found.stated, 'problem')} follow from the timing of their answers; "
            f"with all others they are {found.sum_us:,.1f} us"
        )
    if found.assumed:
        findings.unproven.append(
            f"charges of {count_text(found.assumed, 'problem')} without a timing: estimates, and duplicates"
        )
    statistics = charges.statistics(contents)
    if statistics is None:
        findings.unproven.append("the statistics of the run: it was not scored to its end")
    elif findings.add(statistics[1]):
        findings.proven.append(f"{statistics[0]} figures of the statistics follow from the ledger")
        findings.unproven.append("figures by other runs or by the network alone: controls, calibration error")
    report("charges", 1, 1)


_STEPS: tuple[tuple[str, Callable[[Contents, Findings, Report], None]], ...] = (
    (documents.BATCHES, _features),
    (documents.PROBLEMS, _sent),
    (documents.RESULTS, _scores),
    (documents.PROBLEMS, _charges),
)
