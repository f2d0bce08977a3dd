"""Tell people that a run has failed or that events wait: one interface, a webhook and an e-mail behind it.

Belongs here: the message, to whom the environment says it goes, and how it is sent. Does not: when (defs/jobs.py).
"""

import json
import os
import smtplib
import ssl
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from email.message import EmailMessage
from http.client import HTTPException
from typing import Protocol
from urllib.error import HTTPError, URLError
from urllib.parse import unquote, urlsplit
from urllib.request import Request, urlopen

_ATTEMPTS = 3
_FIRST_PAUSE = 0.5
_SECONDS = 10.0
_MOST_CHARACTERS = 4_000


class NotificationFailed(Exception):
    """A report could not be sent; the message names the place and the remedy, never a credential."""


@dataclass(frozen=True)
class RunFailure:
    """A run that failed.

    Attributes:
        job: name of the job.
        run_id: id of the run in Dagster.
        home: home it worked on.
        failed_at: instant of the failure.
        reasons: why, one sentence a step, as `step: reason`.
    """

    job: str
    run_id: str
    home: str
    failed_at: datetime
    reasons: tuple[str, ...]

    @property
    def title(self) -> str:
        """One line for a subject."""
        return f"InventoryBot: {self.job} failed"

    @property
    def text(self) -> str:
        """What people read: what failed, why, and what still holds."""
        reasons = "\n".join(f"- {reason}" for reason in self.reasons) or "- no step gives a reason; see Dagster"
        return (
            f"{self.job} on {self.home} failed at {self.failed_at.isoformat(timespec='seconds')} (run {self.run_id}):\n"
            f"{reasons[:_MOST_CHARACTERS]}\n"
            "The generation published before is still the current one."
        )

    @property
    def details(self) -> dict[str, object]:
        """Every field, as JSON takes it."""
        return {
            "job": self.job,
            "run_id": self.run_id,
            "home": self.home,
            "failed_at": self.failed_at.isoformat(),
            "reasons": list(self.reasons),
        }


@dataclass(frozen=True)
class StreamLag:
    """Movements that have waited too long to be published.

    Attributes:
        home: home whose movements wait.
        events: how many.
        waiting_since: when the first of them entered the online store.
        reported_at: instant of the message.
    """

    home: str
    events: int
    waiting_since: datetime
    reported_at: datetime

    @property
    def title(self) -> str:
        """One line for a subject."""
        minutes = int((self.reported_at - self.waiting_since).total_seconds() // 60)
        return f"InventoryBot: {self.events:,} movements wait to be published, for {minutes:,} minutes"

    @property
    def text(self) -> str:
        """What people read: what waits, since when, and where to look."""
        return (
            f"{self.events:,} movements of {self.home} have been in the online store since "
            f"{self.waiting_since.isoformat(timespec='seconds')} and in no published generation. Nothing is lost; "
            "recommendations do not know them yet. Look in Dagster whether the sensor `arrivals` is on and why the "
            "last run of refresh_stock failed."
        )

    @property
    def details(self) -> dict[str, object]:
        """Every field, as JSON takes it."""
        return {"home": self.home, "events": self.events, "waiting_since": self.waiting_since.isoformat()}


class Notice(Protocol):
    """The text of the report."""

    @property
    def title(self) -> str:
        """One line for a subject."""

    @property
    def text(self) -> str:
        """What people read."""

    @property
    def details(self) -> dict[str, object]:
        """Every field, as JSON takes it."""


class Notifier(Protocol):
    """Notifies people."""

    def notify(self, notice: Notice) -> None:
        """Tell of one thing.

        Raises:
            NotificationFailed: the report was not sent.
        """


@dataclass(frozen=True)
class WebhookNotifier:
    """Posts a notice to a URL as JSON: title and text, which chat services show, and every field.

    Attributes:
        url: where to; it often holds a token and is never shown.
        pause: waits between attempts.
    """

    url: str
    pause: Callable[[float], None] = time.sleep

    def notify(self, notice: Notice) -> None:
        """Post one notice; a server that cannot be reached or is at fault is tried three times."""
        body = {"title": notice.title, "text": f"{notice.title}\n{notice.text}", **notice.details}
        headers = {"Content-Type": "application/json"}
        request = Request(self.url, json.dumps(body).encode(), headers, method="POST")
        _often(lambda: self._post(request), self.pause)

    def _post(self, request: Request) -> None:
        host = urlsplit(self.url).hostname
        try:
            with urlopen(request, timeout=_SECONDS):
                return
        except HTTPError as error:
            error.close()
            failure = f"the webhook at {host} answered {error.code}: check the address in INVENTORYBOT_NOTIFY_WEBHOOK"
            raise (_MayPass if error.code >= 500 else NotificationFailed)(failure) from None
        except (URLError, HTTPException, OSError) as error:
            reason = getattr(error, "reason", error)
            raise _MayPass(
                f"the webhook at {host} cannot be reached ({reason}): check INVENTORYBOT_NOTIFY_WEBHOOK and the network"
            ) from None


@dataclass(frozen=True)
class EmailNotifier:
    """Sends a notice by e-mail.

    Attributes:
        server: smtp://user:password@host:587 (encrypted where the server can), or smtps://...; never shown.
        sender: address it comes from.
        recipients: addresses it goes to.
        pause: waits between attempts.
    """

    server: str
    sender: str
    recipients: tuple[str, ...]
    pause: Callable[[float], None] = time.sleep

    def notify(self, notice: Notice) -> None:
        """Send one notice; a server that cannot be reached is tried three times."""
        message = EmailMessage()
        message["Subject"] = notice.title
        message["From"] = self.sender
        message["To"] = ", ".join(self.recipients)
        message.set_content(notice.text)
        _often(lambda: self._send(message), self.pause)

    def _send(self, message: EmailMessage) -> None:
        address = urlsplit(self.server)
        host = address.hostname or ""
        try:
            with self._connect(host, address.port, is_encrypted=address.scheme == "smtps") as connection:
                if address.username:
                    connection.login(unquote(address.username), unquote(address.password or ""))
                connection.send_message(message)
        except smtplib.SMTPAuthenticationError:
            raise NotificationFailed(f"{host} refuses user or password: check INVENTORYBOT_NOTIFY_SMTP") from None
        except smtplib.SMTPRecipientsRefused:
            raise NotificationFailed(f"{host} refuses the recipients: check INVENTORYBOT_NOTIFY_TO") from None
        except (smtplib.SMTPException, OSError) as error:
            raise _MayPass(
                f"e-mail cannot be sent by {host} ({error}): check INVENTORYBOT_NOTIFY_SMTP and the network"
            ) from None

    def _connect(self, host: str, port: int | None, *, is_encrypted: bool) -> smtplib.SMTP:
        if is_encrypted:
            return smtplib.SMTP_SSL(host, port or 465, timeout=_SECONDS, context=ssl.create_default_context())
        connection = smtplib.SMTP(host, port or 25, timeout=_SECONDS)
        connection.ehlo()
        if connection.has_extn("starttls"):
            connection.starttls(context=ssl.create_default_context())
        return connection


def read_notifiers() -> tuple[Notifier, ...]:
    """Return who gets reports of failed runs: INVENTORYBOT_NOTIFY_WEBHOOK, INVENTORYBOT_NOTIFY_SMTP, or nobody.

    Raises:
        ValueError: a variable is missing or holds no address; the message names it, never its value.
    """
    notifiers: list[Notifier] = []
    webhook = _read_address("INVENTORYBOT_NOTIFY_WEBHOOK", ("https", "http"))
    if webhook:
        notifiers.append(WebhookNotifier(webhook))
    server = _read_address("INVENTORYBOT_NOTIFY_SMTP", ("smtp", "smtps"))
    if server:
        recipients = [name.strip() for name in os.environ.get("INVENTORYBOT_NOTIFY_TO", "").split(",") if name.strip()]
        if not recipients:
            raise ValueError("INVENTORYBOT_NOTIFY_TO is empty; write the recipients, as ann@example.org,bo@...")
        sender = os.environ.get("INVENTORYBOT_NOTIFY_FROM") or recipients[0]
        notifiers.append(EmailNotifier(server, sender, tuple(recipients)))
    return tuple(notifiers)


def _read_address(name: str, schemes: tuple[str, ...]) -> str | None:
    text = os.environ.get(name)
    if not text:
        return None
    scheme, sign, rest = text.partition("://")
    if scheme not in schemes or not sign or not rest:
        raise ValueError(f"{name} holds no address; write one that begins with {schemes[0]}://")
    return text


class _MayPass(NotificationFailed):
    """Trying again soon may help."""


def _often(attempt: Callable[[], None], pause: Callable[[float], None]) -> None:
    for number in range(_ATTEMPTS):
        try:
            return attempt()
        except _MayPass:
            if number == _ATTEMPTS - 1:
                raise
        pause(_FIRST_PAUSE * 2**number)
    return None


def notify_all(notifiers: Sequence[Notifier], notice: Notice) -> None:
    """Send a report to everybody; a failure for one does not stop the others.

    Raises:
        NotificationFailed: a report was not sent to somebody; the message names each.
    """
    problems = []
    for notifier in notifiers:
        try:
            notifier.notify(notice)
        except NotificationFailed as error:
            problems.append(str(error))
    if problems:
        raise NotificationFailed("; ".join(problems))
