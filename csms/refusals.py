"""Why somebody is not let in, or something about an account not done: a sentence for programs, and
a code by which pages find it in the language of whoever reads it."""

from csms.registry import Refusal


class AccountRefusal(Refusal):
    """A refusal with its code, and the numbers that its sentence holds."""

    def __init__(
        self, code: str, message: str, field: str | None = None, number: int | None = None
    ) -> None:
        super().__init__(message, field)
        self.code = code
        self.number = number


class NotLoggedIn(AccountRefusal):
    """Address and password, code, token or log-in do not fit."""


class ComeLater(AccountRefusal):
    """Too many attempts, or too much to do; worth another one after `retry_after_s`."""

    def __init__(self, code: str, message: str, retry_after_s: int) -> None:
        super().__init__(code, message, number=retry_after_s)
        self.retry_after_s = retry_after_s
