"""The `status` of a `Rollout`, made of the end of its record: documents, no cluster."""

from __future__ import annotations

from typing import Any

from sabia.rollout import summary
from sabia.rollout.record import Head
from sabia.rollout.state import State

Document = dict[str, Any]


def from_head(name: str, head: Head, *, generation: int, handled: str | None, before: Document) -> Document:
    """Phase, weights, a summary, what it is based on, the time left, conditions.

    Args:
        name: the record's.
        head: its end.
        generation: the resource's `metadata.generation` that this status is about.
        handled: the id of the last action of the spec that was carried out.
        before: the status so far, for the times at which conditions changed.
    """
    plan, entry, state = head.plan, head.entry, head.entry.state
    weights = state.confirmed or state.desired
    eta = None if entry.eta is None else round(entry.eta)
    return {
        "observedGeneration": generation,
        "phase": state.phase,
        "step": None if state.step is None else state.step + 1,
        "weights": [{"version": version, "weight": weight} for version, weight in weights.items()],
        "canaryWeight": sum(weights.get(version, 0) for version in plan.canaries),
        "summary": entry.summary,
        "details": summary.explain(plan, state, entry.eta),
        "timeLeft": None if eta is None or state.phase != "Stepping" else summary.duration(eta),
        "etaSeconds": eta,
        "lastLookTime": entry.at,
        "record": name,
        "entry": entry.seq,
        "handledAction": handled,
        "conditions": conditions(state, entry.at, generation, before),
    }


def rejected(reason: str, message: str, at: str, *, generation: int, before: Document) -> Document:
    """The status of a `Rollout` that cannot be started, or not yet; `reason` is one CamelCase word."""
    found = _conditions({"Accepted": (False, reason, message)}, at, generation, before)
    return {
        "observedGeneration": generation,
        "phase": "Pending",
        "summary": message,
        "details": [message],
        "lastLookTime": at,
        "conditions": found,
    }


def conditions(state: State, at: str, generation: int, before: Document) -> list[Document]:
    """`Accepted`, `Progressing`, `Paused`, `Held` and `Complete`, whose reason is `Promoted` or `RolledBack`."""
    holding = summary.conditions(state)
    held = "; ".join(state.held.values())
    progressing = not state.ended and not holding and state.problem is None
    waits = "; ".join(part for part in (state.paused, held, state.problem) if part)
    return _conditions(
        {
            "Accepted": (True, "PlanIsValid", ""),
            "Progressing": (progressing, state.phase, "" if state.ended else waits),
            "Paused": ("Paused" in holding, "Paused" if "Paused" in holding else state.phase, state.paused or ""),
            "Held": ("Held" in holding, "Held" if "Held" in holding else state.phase, held),
            "Complete": (state.ended, state.phase, (state.reason or "") if state.ended else ""),
        },
        at,
        generation,
        before,
    )


def _conditions(
    desired: dict[str, tuple[bool, str, str]], at: str, generation: int, before: Document
) -> list[Document]:
    earlier = {item["type"]: item for item in before.get("conditions", [])}
    found = []
    for kind, (holds, reason, message) in desired.items():
        status = "True" if holds else "False"
        same = kind in earlier and earlier[kind]["status"] == status
        found.append(
            {
                "type": kind,
                "status": status,
                "observedGeneration": generation,
                "lastTransitionTime": earlier[kind]["lastTransitionTime"] if same else at,
                "reason": reason,
                "message": message,
            }
        )
    return found
