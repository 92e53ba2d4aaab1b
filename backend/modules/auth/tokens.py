"""Access tokens: JWTs that name a session. Whether the session still lives is asked elsewhere."""

import hashlib
import time
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from typing import NamedTuple
from uuid import UUID, uuid4

import jwt

from backend.core.context import Context
from backend.core.errors import InvalidTokenError, TokenExpiredError
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


@dataclass(frozen=True)
class TokenIssuer:
    """Signs and verifies access tokens.

    Verified ones are remembered until they expire: checking a signature costs more than the
    rest of finding out who is calling.
    """

    key: bytes
    issuer: str
    audience: str
    _verified: dict[str, Claims] = field(default_factory=dict)

    @property
    def key_id(self) -> str:
        return hashlib.sha256(self.key).hexdigest()[:8]

    def issue(self, user_id: UUID, session_id: UUID, *, issued: datetime, ttl: int) -> str:
        """A token of `ttl` seconds for one session of one user."""
        now = int(issued.timestamp())
        claims = {
            "iss": self.issuer,
            "aud": self.audience,
            "sub": str(user_id),
            "sid": str(session_id),
            "jti": uuid4().hex,
            "iat": now,
            "exp": now + ttl,
        }
        return jwt.encode(claims, self.key, ALGORITHM, headers={"typ": TYPE, "kid": self.key_id})

    def verify(self, token: str) -> Claims:
        """What the token says; `InvalidTokenError` or `TokenExpiredError` if it is not good."""
        claims = self._verified.get(token)
        if claims is None:
            claims = self._decode(token)
            if len(self._verified) >= CACHED_TOKENS:
                self._verified.pop(next(iter(self._verified)))
            self._verified[token] = claims
        if claims.expires_at <= time.time():
            self._verified.pop(token, None)
            raise TokenExpiredError
        return claims

    def _decode(self, token: str) -> Claims:
        if len(token) > MAX_TOKEN_LENGTH:
            raise InvalidTokenError
        try:
            decoded = jwt.decode_complete(
                token,
                self.key,
                [ALGORITHM],
                issuer=self.issuer,
                audience=self.audience,
                # Clocks of two hosts differ; when a token was issued decides nothing here.
                options={"require": REQUIRED, "verify_iat": False},
            )
            header, body = decoded["header"], decoded["payload"]
            if header.get("typ") != TYPE or header.get("kid") != self.key_id:
                raise InvalidTokenError
            if not isinstance(body["iat"], int):
                raise InvalidTokenError
            return Claims(UUID(body["sub"]), UUID(body["sid"]), body["exp"])
        except jwt.ExpiredSignatureError:
            raise TokenExpiredError from None
        except (jwt.PyJWTError, ValueError, TypeError, AttributeError):
            raise InvalidTokenError from None


@lru_cache(maxsize=8)
def issuer_of(context: Context) -> TokenIssuer:
    """The one issuer of this application, whose memory of verified tokens it shares."""
    settings = context.settings_of(AuthSettings)
    return TokenIssuer(context.key("access tokens"), settings.jwt_issuer, settings.jwt_audience)
