"""Verification of the whole chain: finds events and seals that differ from what was sealed."""

from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from backend.modules.audit.digests import (
    DIGEST_BYTES,
    NOTHING,
    digests_of,
    is_signed,
    seal_digest,
)

Progress = Callable[[int, int], None]
SEALS_AT_ONCE = 20
MAX_FINDINGS = 20

# Values are read as texts, so that an invalid one does not end the verification.
_SEALS = text(
    """
    SELECT number, CAST(extract(epoch FROM sealed_at) AS text) AS sealed_at, first_kept,
        ARRAY(SELECT coalesce(CAST(id AS text), '') FROM unnest(event_ids) WITH ORDINALITY
            AS listed (id, place) ORDER BY place) AS event_ids,
        event_digests, previous_digest, digest, signature, key_id
    FROM audit_seals WHERE number > :after ORDER BY number LIMIT :size
    """
)
_EXTENT = text(
    """
    SELECT count(*) AS seals, coalesce(min(number), 0) AS oldest, coalesce(max(number), 0) AS newest
    FROM audit_seals
    """
)
_KEPT = text("SELECT first_kept FROM audit_seals ORDER BY number DESC LIMIT 1")
_WAITING = text(
    """
    SELECT count(*) AS events,
        count(*) FILTER (WHERE occurred_at < now() - interval '1 minute') AS overdue
    FROM audit_waiting JOIN audit_events ON id = event_id
    """
)
_GONE = text(
    """
    SELECT event_id FROM audit_waiting
    WHERE NOT EXISTS (SELECT FROM audit_events WHERE id = event_id) LIMIT :size
    """
)
# `record` inserts an event and its id in `audit_waiting` with one statement, so an event without
# either a waiting id or a seal was inserted by another program.
_INTRUDERS = text(
    """
    SELECT id FROM audit_events
    WHERE NOT EXISTS (SELECT FROM audit_waiting WHERE event_id = id) AND NOT EXISTS (
        SELECT FROM (SELECT unnest(event_ids) AS event_id FROM audit_seals) AS sealed
        WHERE event_id = id
    ) LIMIT :size
    """
)


@dataclass
class VerificationResult:
    """Problems as sentences (`findings`), and remarks about valid seals (`notes`).

    `waiting` is the number of events without a seal, `overdue` of those older than a minute.
    """

    events: int = 0
    seals: int = 0
    waiting: int = 0
    overdue: int = 0
    findings: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def is_full(self) -> bool:
        return len(self.findings) >= MAX_FINDINGS


class Seal(NamedTuple):
    number: int
    sealed_at: str
    first_kept: int
    event_ids: list[str]
    event_digests: bytes
    previous_digest: bytes | None
    digest: bytes
    signature: bytes
    key_id: str


class Anchor(NamedTuple):
    """A seal as it was logged when it was made."""

    number: int
    digest: str


@dataclass
class _Chain:
    """The state that is carried from one seal to the next.

    `unknown` is the number and the key id of the first seal in the current run of seals signed with
    an unknown key. The run is accepted when a seal with a known key continues it.
    """

    keys: Mapping[str, bytes]
    result: VerificationResult
    last: Seal | None = None
    unknown: tuple[int, str] | None = None

    def add(self, seal: Seal) -> None:
        findings, last = self.result.findings, self.last
        follows = last is not None and seal.previous_digest == last.digest
        if last is not None and seal.number > last.number + 1:
            findings.append(f"{_seals(last.number + 1, seal.number - 1)} missing.")
        elif last is not None and not follows and seal.previous_digest is not None:
            findings.append(
                f"Seal {seal.number} does not follow from seal {last.number}: one of them was "
                "replaced."
            )
        if seal.digest != seal_digest(
            seal.number,
            seal.sealed_at,
            seal.first_kept,
            seal.previous_digest,
            seal.event_ids,
            seal.event_digests,
        ):
            findings.append(f"Seal {seal.number} was changed.")
        self._check_signature(seal, follows)
        self.last = seal

    def _check_signature(self, seal: Seal, follows: bool) -> None:
        key = self.keys.get(seal.key_id)
        if key is None:
            if not follows:
                self.report_unknown()
            self.unknown = self.unknown or (seal.number, seal.key_id)
        elif not is_signed(seal.digest, seal.signature, key):
            self.result.findings.append(f"The signature of seal {seal.number} is wrong.")
        elif self.unknown and follows:
            first, key_id = self.unknown
            self.result.notes.append(
                f"{_seals(first, seal.number - 1)} signed with a key that is not known any more "
                f"({key_id}); seal {seal.number}, which is signed with a known key, confirms them."
            )
            self.unknown = None
        else:
            self.report_unknown()

    def report_unknown(self) -> None:
        """Report the current run of seals with an unknown key, as no known key continues it."""
        if self.unknown and self.last:
            first, key_id = self.unknown
            self.result.findings.append(
                f"{_seals(first, self.last.number)} signed with a key that is not known ({key_id}):"
                " somebody has replaced them, or the SECRET_KEY of that time is missing from "
                "SECRET_KEY_PREVIOUS."
            )
        self.unknown = None


async def examine(
    session: AsyncSession,
    keys: Mapping[str, bytes],
    progress: Progress,
    anchor: Anchor | None,
) -> VerificationResult:
    """Examine everything that this session's transaction sees, in constant memory.

    Stop early when the result is full.
    """
    result = VerificationResult()
    connection = await session.connection()
    extent = (await connection.execute(_EXTENT)).one()
    first_kept = (await connection.execute(_KEPT)).scalar()
    if first_kept is not None and first_kept < extent.oldest:
        result.findings.append(f"{_seals(first_kept, extent.oldest - 1)} missing.")
    if anchor and not extent.oldest <= anchor.number <= extent.newest:
        if first_kept is not None and anchor.number < first_kept:
            result.notes.append(f"Seal {anchor.number} has been removed, as old as it was.")
        else:
            result.findings.append(f"Seal {anchor.number} is missing.")
    chain = _Chain(keys, result)
    async for seals in _read_seals(session):
        for seal in seals:
            chain.add(seal)
            if anchor and seal.number == anchor.number and seal.digest.hex() != anchor.digest:
                result.findings.append(f"Seal {seal.number} is not the one that was logged.")
        await _examine_events(session, seals, result)
        result.seals += len(seals)
        progress(result.seals, extent.seals)
        if result.is_full:
            return result
    chain.report_unknown()
    await _examine_rest(session, result)
    return result


async def _read_seals(session: AsyncSession) -> AsyncIterator[list[Seal]]:
    connection = await session.connection()
    after: int | None = -(2**63)
    while after is not None:
        rows = await connection.execute(_SEALS, {"after": after, "size": SEALS_AT_ONCE})
        seals = [Seal(*row) for row in rows]
        after = seals[-1].number if seals else None
        if seals:
            yield seals


async def _examine_events(
    session: AsyncSession, seals: list[Seal], result: VerificationResult
) -> None:
    ids = [UUID(id) for seal in seals for id in seal.event_ids if id]
    found = await digests_of(session, ids)
    for seal in seals:
        result.events += len(seal.event_ids)
        for place, id in enumerate(seal.event_ids):
            start = place * DIGEST_BYTES
            sealed = seal.event_digests[start : start + DIGEST_BYTES]
            if id not in found:
                result.findings.append(f"Event {id or '?'} of seal {seal.number} is missing.")
            elif sealed == NOTHING:
                result.findings.append(f"Event {id} was missing when seal {seal.number} was made.")
            elif found[id] != sealed:
                result.findings.append(f"Event {id} of seal {seal.number} was changed.")


async def _examine_rest(session: AsyncSession, result: VerificationResult) -> None:
    connection = await session.connection()
    waiting = (await connection.execute(_WAITING)).one()
    result.waiting, result.overdue = waiting.events, waiting.overdue
    for id in (await connection.execute(_GONE, {"size": MAX_FINDINGS})).scalars():
        result.findings.append(f"Event {id} is missing; it was not sealed yet.")
    for id in (await connection.execute(_INTRUDERS, {"size": MAX_FINDINGS})).scalars():
        result.findings.append(f"Event {id} was written by another program: no seal will hold it.")


def _seals(first: int, last: int) -> str:
    return f"Seal {first} is" if first == last else f"Seals {first} to {last} are"
