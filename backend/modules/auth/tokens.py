"""Access tokens: JWTs with a session id. Whether the session has ended is not part of them."""

import hashlib
import hmac
import time
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any, NamedTuple
from uuid import UUID

import jwt

from backend.core.context import Context
from backend.core.errors import InvalidTokenError, TokenExpiredError
from backend.core.security import key_id
from backend.modules.auth.settings import AuthSettings

ALGORITHM = "HS256"
TYPE = "at+jwt"
REQUIRED = ["iss", "aud", "sub", "sid", "jti", "iat", "exp"]
CACHED_TOKENS = 10_000
MAX_TOKEN_LENGTH = 4096


class Claims(NamedTuple):
    user_id: UUID
    session_id: UUID
    expires_at: float
    jti: str


@dataclass(frozen=True)
class TokenIssuer:
    """A signer and verifier of access tokens: the first key signs, all keys verify.

    Verified tokens are cached until they expire: checking a signature takes longer than the rest of
    the authentication.
    """

    keys: tuple[bytes, ...]
    issuer: str
    audience: str
    _verified: dict[str, Claims] = field(default_factory=dict)

    @cached_property
    def _by_id(self) -> dict[str, bytes]:
        return {key_id(key): key for key in self.keys}

    def issue(
        self, user_id: UUID, session_id: UUID, generation: int, *, issued: datetime, ttl: int
    ) -> str:
        """Return a token for a generation of a session, valid for `ttl` seconds."""
        now, key = int(issued.timestamp()), self.keys[0]
        claims = {
            "iss": self.issuer,
            "aud": self.audience,
            "sub": str(user_id),
            "sid": str(session_id),
            "jti": _jti(key, session_id, generation),
            "iat": now,
            "exp": now + ttl,
        }
        return jwt.encode(claims, key, ALGORITHM, headers={"typ": TYPE, "kid": key_id(key)})

    def verify(self, token: str) -> Claims:
        """Return the claims of a valid token; raise `InvalidTokenError` or `TokenExpiredError`."""
        claims = self._verified.get(token)
        if claims is None:
            claims = self.read(token)
            if len(self._verified) >= CACHED_TOKENS:
                self._verified.pop(next(iter(self._verified)))
            self._verified[token] = claims
        if claims.expires_at <= time.time():
            self._verified.pop(token, None)
            raise TokenExpiredError
        return claims

    def issued(self, token: str) -> bool:
        """Return whether this installation issued the token, which may have expired."""
        if token in self._verified:
            return True
        try:
            self.read(token)
        except InvalidTokenError:
            return False
        return True

    def read(self, token: str) -> Claims:
        """Return the claims of a token that was issued here, expired or not.

        Raise `InvalidTokenError` for any other.
        """
        # The library ignores padding, which RFC 7515 does not allow.
        if len(token) > MAX_TOKEN_LENGTH or token.endswith("="):
            raise InvalidTokenError
        try:
            header = jwt.get_unverified_header(token)
            key = self._by_id.get(header.get("kid", ""))
            if key is None or header.get("typ") != TYPE:
                raise InvalidTokenError
            body: dict[str, Any] = jwt.decode(
                token,
                key,
                [ALGORITHM],
                issuer=self.issuer,
                audience=self.audience,
                # `verify` checks `exp`. `iat` is not checked, because clocks of hosts differ.
                options={"require": REQUIRED, "verify_iat": False, "verify_exp": False},
            )
            plain = all(type(body[name]) is int for name in ("iat", "exp"))
            if not plain or not isinstance(body["jti"], str):
                raise InvalidTokenError
            return Claims(UUID(body["sub"]), UUID(body["sid"]), body["exp"], body["jti"])
        except (jwt.PyJWTError, ValueError, TypeError, AttributeError):
            raise InvalidTokenError from None

    def is_of(self, claims: Claims, session_id: UUID, generation: int) -> bool:
        """Return whether the token was issued for this generation of this session."""
        return claims.session_id == session_id and any(
            hmac.compare_digest(claims.jti.encode(), _jti(key, session_id, generation).encode())
            for key in self.keys
        )


def _jti(key: bytes, session_id: UUID, generation: int) -> str:
    # Derived instead of random, so that it can be compared and issued again without being stored.
    content = b"jti" + session_id.bytes + generation.to_bytes(4, "big")
    return hmac.digest(key, content, hashlib.sha256).hex()[:32]


def issuer_of(context: Context) -> TokenIssuer:
    """Return the issuer of this application, with its cache of verified tokens."""
    return context.get_or_create(_make_issuer)


def _make_issuer(context: Context) -> TokenIssuer:
    settings = context.settings_of(AuthSettings)
    return TokenIssuer(context.keys("access tokens"), settings.jwt_issuer, settings.jwt_audience)
