"""Findings of `backend doctor`, and the bounds of its checks."""

from collections.abc import Callable, Iterable
from threading import Thread

# Passed (True), failed (False) or advice (None), and the text.
Finding = tuple[bool | None, str]
Check = Callable[[], Iterable[Finding]]
CHECK_SECONDS = 15.0


def passed(text: str) -> Finding:
    return True, text


def advice(text: str) -> Finding:
    return None, text


def failed(text: str) -> Finding:
    return False, text


def bounded(subject: str, check: Check, seconds: float = CHECK_SECONDS) -> list[Finding]:
    """Return the findings of a check. One that breaks, or takes longer, fails and ends no other."""
    found: list[Finding] = []

    def run() -> None:
        try:
            for finding in check():
                found.append(finding)  # noqa: PERF402  # those before an error count too
        except Exception as error:  # noqa: BLE001  # other checks follow, whatever it is
            # The text could contain an address or a value.
            found.append(failed(f"{subject} cannot be checked ({type(error).__name__})."))

    # A daemon: a check that hangs keeps no command from ending.
    thread = Thread(target=run, name=subject, daemon=True)
    thread.start()
    thread.join(seconds)
    if thread.is_alive():
        late = f"{subject} cannot be checked: no response within {seconds:g} s."
        return [*found, failed(late)]
    return found
