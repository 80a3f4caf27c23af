"""The `status` of a `Rollout`, made of the end of its record: a document, no cluster."""

from __future__ import annotations

from typing import Any

from sabia.rollout import messages as words
from sabia.rollout.record import Head
from sabia.rollout.state import State

Document = dict[str, Any]


def of(name: str, head: Head, *, handled: str | None, before: Document) -> Document:
    """Phase, weights, one sentence of evidence, what it rests on, the time that is left, conditions.

    Args:
        name: the record's.
        head: its end.
        handled: the decision of the spec that was taken last.
        before: the status as it was, for the times at which conditions changed.
    """
    plan, entry = head.plan, head.entry
    state, phase = entry.state, words.phase(entry.state)
    weights = state.confirmed or state.wanted
    eta = None if entry.eta is None else round(entry.eta)
    return {
        "phase": phase,
        "step": None if state.step is None else state.step + 1,
        "weights": [{"version": version, "weight": weight} for version, weight in weights.items()],
        "canaryWeight": sum(weights.get(version, 0) for version in plan.canaries),
        "evidence": entry.says,
        "why": words.why(plan, state, entry.eta),
        "eta": None if eta is None or state.phase != "stepping" else words.duration(eta),
        "etaSeconds": eta,
        "lastLook": entry.at,
        "record": name,
        "seq": entry.seq,
        "decision": handled,
        "conditions": conditions(state, entry.at, before.get("conditions", [])),
    }


def refused(sentence: str, at: str, before: Document) -> Document:
    """The status of a `Rollout` that cannot be begun, or not yet."""
    found = _conditions({"Accepted": (False, "Refused", sentence)}, at, before.get("conditions", []))
    return {"phase": "refused", "evidence": sentence, "why": [sentence], "lastLook": at, "conditions": found}


def conditions(state: State, at: str, before: list[Document]) -> list[Document]:
    """`Accepted`, `Progressing`, `Held`, `Promoted`, `RolledBack`."""
    phase = words.phase(state)
    reason = "".join(part.capitalize() for part in phase.split("-"))
    waits = state.paused or "; ".join(state.held.values()) or state.problem or ""
    over = state.reason or ""
    return _conditions(
        {
            "Accepted": (True, "PlanIsValid", ""),
            "Progressing": (not state.ended and phase not in ("held", "paused"), reason, ""),
            "Held": (bool(waits) and not state.ended, reason, waits),
            "Promoted": (state.phase == "done", reason, over if state.phase == "done" else ""),
            "RolledBack": (state.phase == "rolled-back", reason, over if state.phase == "rolled-back" else ""),
        },
        at,
        before,
    )


def _conditions(wanted: dict[str, tuple[bool, str, str]], at: str, before: list[Document]) -> list[Document]:
    earlier = {item["type"]: item for item in before}
    found = []
    for kind, (holds, reason, message) in wanted.items():
        status = "True" if holds else "False"
        same = kind in earlier and earlier[kind]["status"] == status
        since = earlier[kind]["lastTransitionTime"] if same else at
        found.append(
            {"type": kind, "status": status, "reason": reason, "message": message, "lastTransitionTime": since}
        )
    return found
