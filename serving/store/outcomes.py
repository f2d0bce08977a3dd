"""What became of the events of one call, in counts and one by one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True)
class EventOutcome:
    """What became of one event.

    Attributes:
        result: `accepted`; `duplicate`, it was in the log already with the same content; `conflict`, its identity or
            event_id is taken by other content; `refused`, it breaks a rule. The last two are in quarantine.
        rule: name of the broken rule, "" where none is broken; `without_effect` of an approval that is in the log and
            came too late to change its proposal.
        reason: why it is not accepted, or changed nothing, in words, with the value.
        quarantine_id: where it lies; the same number where it came before and lies there already.
    """

    result: Literal["accepted", "duplicate", "conflict", "refused"]
    rule: str = ""
    reason: str = ""
    quarantine_id: int | None = None


ACCEPTED = EventOutcome("accepted")
DUPLICATE = EventOutcome("duplicate")


@dataclass(frozen=True)
class AppendReport:
    """What became of the events of one call: received = accepted + duplicate + conflict + invalid.

    Attributes:
        received: events handed in, refusals included.
        accepted: events that are now in the log.
        duplicate: events that were there already with the same content, or lie in quarantine already.
        conflict: quarantined, because the identity or event_id is taken by other content.
        invalid: quarantined, because a field or the whole breaks a rule.
        sequence: sequence of the last event in the log.
        chain_hash: chain hash that anchors the log up to `sequence`.
        quarantine_ids: rows of the quarantine this call added.
        remarked: outcome of each event that was not accepted, or without effect, by its position among the events of
            the call; refusals follow the events.
    """

    received: int
    accepted: int
    duplicate: int
    conflict: int
    invalid: int
    sequence: int
    chain_hash: str
    quarantine_ids: tuple[int, ...] = ()
    remarked: Mapping[int, EventOutcome] = field(default_factory=dict)

    @property
    def quarantined(self) -> int:
        """Events this call put into quarantine."""
        return self.conflict + self.invalid

    @property
    def outcomes(self) -> list[EventOutcome]:
        """What became of each event, in the order given; refusals follow the events."""
        return [self.remarked.get(position, ACCEPTED) for position in range(self.received)]


def parts(report: AppendReport, sizes: Sequence[int]) -> list[AppendReport]:
    """Return a report for each of several calls that were appended together, so many events of each."""
    outcomes = report.outcomes
    added = set(report.quarantine_ids)
    found: list[AppendReport] = []
    begun = 0
    for size in sizes:
        own = outcomes[begun : begun + size]
        begun += size
        held = [outcome for outcome in own if outcome.quarantine_id is not None]
        # What comes twice, in one call or in two, is added by the first.
        first = {outcome.quarantine_id: outcome for outcome in reversed(held) if outcome.quarantine_id in added}
        new = list(reversed(first.values()))
        ids = tuple(outcome.quarantine_id for outcome in new if outcome.quarantine_id is not None)
        added -= set(ids)
        conflict = sum(outcome.result == "conflict" for outcome in new)
        found.append(
            AppendReport(
                received=size,
                accepted=sum(outcome.result == "accepted" for outcome in own),
                duplicate=sum(outcome.result == "duplicate" for outcome in own) + len(held) - len(new),
                conflict=conflict,
                invalid=len(new) - conflict,
                sequence=report.sequence,
                chain_hash=report.chain_hash,
                quarantine_ids=ids,
                remarked={number: each for number, each in enumerate(own) if each != ACCEPTED},
            )
        )
    return found
