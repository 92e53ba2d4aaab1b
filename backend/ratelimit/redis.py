"""Counts in Redis, shared by all processes; in memory while Redis is unavailable.

This module is imported only if a Redis is configured: importing its library takes 0.25 s.
"""

import asyncio
import hashlib
import time
from collections.abc import Mapping, Sequence
from typing import Any, cast

import structlog
from pydantic import SecretStr
from redis.asyncio import ConnectionPool
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import ConnectionError as LostError
from redis.exceptions import NoScriptError, RedisError

from backend.ratelimit.memory import Memory
from backend.ratelimit.postgres import Count
from backend.ratelimit.rules import Rule

Word = bytes | str | int
log = structlog.get_logger()

# The timeout of connecting, sending and receiving together: ten ticks of 10 ms.
TICK_SECONDS, TICKS = 0.01, 10
PAUSE_SECONDS = 1.0
PREFIX = "trellis:limits:"


class LoopTimeout:
    """Raises `TimeoutError` in its block after 0.1 s in which the event loop was running.

    A deadline would also expire while this process is too busy to read a response that has arrived.
    """

    async def __aenter__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._task = asyncio.current_task()
        self._left = TICKS
        self._timer = self._loop.call_later(TICK_SECONDS, self._tick)

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._timer.cancel()
        if not self._left and self._task is not None:
            self._task.uncancel()
            if kind is asyncio.CancelledError:
                raise TimeoutError

    def _tick(self) -> None:
        self._left -= 1
        if self._left:
            self._timer = self._loop.call_later(TICK_SECONDS, self._tick)
        elif self._task is not None:
            self._task.cancel()


class RedisCounts:
    """Counts over one connection, with one request to Redis at a time.

    If Redis does not respond in time, the memory of this process counts for the next second, so
    that requests do not wait for an unavailable Redis.
    """

    def __init__(self, url: SecretStr, rules: Sequence[Rule]) -> None:
        # An invalid URL must raise at startup.
        new_connection(url)
        self._url = url
        self._windows = [str(each) for rule in rules for each in (rule.limit, rule.window)]
        self._memory = Memory(rules)
        self._connection: AbstractConnection | None = None
        self._away_until = 0.0
        self._away = False

    async def hit(self, hits: Mapping[bytes, int], moment: int = 0) -> dict[bytes, Count]:
        """Count the hits of each key. `moment` replaces the clock of Redis in tests."""
        if time.monotonic() >= self._away_until:
            try:
                found = await self._ask(hits, moment)
            except (RedisError, OSError, UnicodeError) as error:
                await self.close()
                self._away_until = time.monotonic() + PAUSE_SECONDS
                if not self._away:
                    # The message of the error may contain hosts and user names.
                    log.warning("redis_away", reason=type(error).__name__)
                self._away = True
            else:
                if self._away:
                    log.info("redis_back")
                self._away = False
                return found
        return {key: self._memory.hit(key, wanted) for key, wanted in hits.items()}

    async def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.disconnect(nowait=True)

    async def _ask(self, hits: Mapping[bytes, int], moment: int) -> dict[bytes, Count]:
        keys = [PREFIX + key.hex() for key in hits]
        arguments: Sequence[Word] = [len(keys), *keys, moment, *self._windows, *hits.values()]
        async with LoopTimeout():
            try:
                found = await self._run(arguments)
            except LostError:
                if self._connection is None:
                    raise
                # Redis has restarted, or has closed the idle connection.
                await self.close()
                found = await self._run(arguments)
        half = len(self._windows) // 2
        return {
            key: Count(each[0], each[1 : 1 + half], each[1 + half :])
            for key, each in zip(hits, found, strict=True)
        }

    async def _run(self, arguments: Sequence[Word]) -> Any:
        connection = self._connection
        if connection is None:
            connection = new_connection(self._url)
            try:
                await _connect(connection)
            except BaseException:
                await connection.disconnect(nowait=True)
                raise
            self._connection = connection
        try:
            return await _command(connection, "EVALSHA", SCRIPT_HASH, *arguments)
        except NoScriptError:
            return await _command(connection, "EVAL", SCRIPT, *arguments)


async def ping(url: SecretStr) -> None:
    """Raise unless Redis answers in time."""
    connection = new_connection(url)
    try:
        async with LoopTimeout():
            await _connect(connection)
            await _command(connection, "PING")
    finally:
        await connection.disconnect(nowait=True)


def new_connection(url: SecretStr) -> AbstractConnection:
    """A connection that is not made yet. `ValueError` for what is no address of a Redis."""
    pool: Any = ConnectionPool.from_url(url.get_secret_value(), driver_info=None)
    return cast(AbstractConnection, pool.make_connection())


async def _connect(connection: Any) -> None:
    # Untyped in the library.
    await connection.connect()


async def _command(connection: AbstractConnection, *words: Word) -> Any:
    await connection.send_command(*words)
    return await connection.read_response()


# KEYS: the keys. ARGV: a moment or 0, limit and window of each rule, hits of each key.
# The algorithm is that of `backend.ratelimit.memory`.
SCRIPT = """
local clock = redis.call('TIME')
local now = tonumber(ARGV[1])
if now == 0 then now = clock[1] * 1000000 + clock[2] end
local rules, longest = {}, 0
for i = 2, #ARGV - #KEYS, 2 do
    local rule = {limit = tonumber(ARGV[i]), window = ARGV[i + 1] * 1000000}
    rule.width = math.floor(rule.window / 60)
    longest = math.max(longest, rule.window)
    rules[#rules + 1] = rule
end
local answers = {}
for k, key in ipairs(KEYS) do
    local passed = tonumber(ARGV[#ARGV - #KEYS + k])
    local stored = redis.call('GET', key)
    local kept = stored and cmsgpack.unpack(stored) or {}
    local windows, changed = {}, false
    for i, rule in ipairs(rules) do
        local name = ARGV[2 * i + 1]
        -- Moment and hits of each bucket in turn.
        local old, window, used = kept[name] or {}, {}, 0
        for j = 1, #old, 2 do
            -- A clock that was set back: what seems to lie ahead happened by now.
            local at = math.min(old[j], now)
            changed = changed or at < old[j]
            if at > now - rule.window then
                window[#window + 1] = at
                window[#window + 1] = old[j + 1]
                used = used + old[j + 1]
            end
        end
        windows[i] = {name = name, buckets = window, used = used}
        passed = math.min(passed, rule.limit - used)
    end
    passed = math.max(passed, 0)
    local answer, waits, state = {passed}, {}, {}
    for i, rule in ipairs(rules) do
        local window = windows[i]
        local buckets = window.buckets
        if passed > 0 then
            local last = #buckets - 1
            if last > 0 and math.floor(buckets[last] / rule.width) == math.floor(now / rule.width)
            then
                buckets[last] = now
                buckets[last + 1] = buckets[last + 1] + passed
            else
                buckets[#buckets + 1] = now
                buckets[#buckets + 1] = passed
            end
            window.used = window.used + passed
        end
        state[window.name] = buckets
        answer[i + 1] = window.used
        waits[i] = 0
        if #buckets > 0 then
            -- More than the oldest bucket only after the limit was lowered.
            local first, excess = 1, window.used - rule.limit - buckets[2]
            while excess >= 0 and first + 2 < #buckets do
                first = first + 2
                excess = excess - buckets[first + 1]
            end
            waits[i] = buckets[first] + rule.window - now
        end
    end
    for _, wait in ipairs(waits) do answer[#answer + 1] = wait end
    if changed or passed > 0 then
        redis.call('SET', key, cmsgpack.pack(state), 'PX', math.ceil(longest / 1000))
    end
    answers[k] = answer
end
return answers
"""
SCRIPT_HASH = hashlib.sha1(SCRIPT.encode(), usedforsecurity=False).hexdigest()
