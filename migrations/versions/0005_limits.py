"""limits: tables and functions of the rate limits

`rate_limit_count` implements the algorithm of `backend.ratelimit.memory` for one key.
"""

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

TABLE = """
CREATE {kind} TABLE rate_limit_{name} (
    key bytea NOT NULL CONSTRAINT pk_rate_limit_{name} PRIMARY KEY,
    windows rate_limit_window[] NOT NULL,
    -- What the last statement found out about its key; RETURNING gives no other values.
    passed integer NOT NULL,
    used integer[] NOT NULL,
    waits bigint[] NOT NULL,
    expires_at bigint NOT NULL
-- Room for the next version of a row beside it, so that the index stays as it is.
) WITH (fillfactor = 50)
"""

COUNT = """
CREATE FUNCTION rate_limit_count(
    kept rate_limit_window[],
    wanted integer,
    limits integer[],
    seconds integer[],
    moment bigint,
    OUT windows rate_limit_window[],
    OUT passed integer,
    OUT used integer[],
    OUT waits bigint[],
    OUT expires_at bigint
) LANGUAGE plpgsql AS $$
DECLARE
    -- Asked while the row is locked, so the next one who counts here finds a later time.
    now bigint := coalesce(moment, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint);
    one rate_limit_window;
    first integer;
    last integer;
    excess integer;
BEGIN
    windows := '{}';
    passed := wanted;
    FOR i IN 1 .. cardinality(limits) LOOP
        one := (seconds[i], 0, '{}', '{}')::rate_limit_window;
        FOR j IN 1 .. coalesce(cardinality(kept), 0) LOOP
            IF kept[j].seconds = seconds[i] THEN
                one := kept[j];
            END IF;
        END LOOP;
        last := cardinality(one.at);
        -- A clock that was set back: what seems to lie ahead happened by now.
        FOR j IN REVERSE last .. 1 LOOP
            EXIT WHEN one.at[j] <= now;
            one.at[j] := now;
        END LOOP;
        first := 1;
        WHILE first <= last AND one.at[first] <= now - seconds[i] * 1000000::bigint LOOP
            one.used := one.used - one.hits[first];
            first := first + 1;
        END LOOP;
        IF first > 1 THEN
            one.at := one.at[first:];
            one.hits := one.hits[first:];
        END IF;
        windows := windows || one;
        passed := least(passed, limits[i] - one.used);
    END LOOP;
    passed := greatest(passed, 0);
    used := '{}';
    waits := '{}';
    expires_at := now;
    FOR i IN 1 .. cardinality(limits) LOOP
        one := windows[i];
        last := cardinality(one.at);
        IF passed > 0 THEN
            IF last > 0 AND one.at[last] / (seconds[i] * 1000000::bigint / 60)
                = now / (seconds[i] * 1000000::bigint / 60)
            THEN
                one.at[last] := now;
                one.hits[last] := one.hits[last] + passed;
            ELSE
                one.at := one.at || now;
                one.hits := one.hits || passed;
                last := last + 1;
            END IF;
            one.used := one.used + passed;
            windows[i] := one;
        END IF;
        used := used || one.used;
        IF last = 0 THEN
            waits := waits || 0::bigint;
            CONTINUE;
        END IF;
        -- More than the oldest bucket only after the limit was lowered.
        first := 1;
        excess := one.used - limits[i] - one.hits[1];
        WHILE excess >= 0 AND first < last LOOP
            first := first + 1;
            excess := excess - one.hits[first];
        END LOOP;
        waits := waits || (one.at[first] + seconds[i] * 1000000::bigint - now);
        expires_at := greatest(expires_at, one.at[last] + seconds[i] * 1000000::bigint);
    END LOOP;
END
$$
"""

GIVE_BACK = """
CREATE FUNCTION rate_limit_give_back(kept rate_limit_window[]) RETURNS rate_limit_window[]
LANGUAGE plpgsql AS $$
DECLARE
    one rate_limit_window;
    last integer;
BEGIN
    FOR i IN 1 .. cardinality(kept) LOOP
        one := kept[i];
        last := cardinality(one.at);
        CONTINUE WHEN last = 0;
        one.used := one.used - 1;
        IF one.hits[last] > 1 THEN
            one.hits[last] := one.hits[last] - 1;
        ELSE
            one.at := one.at[1:last - 1];
            one.hits := one.hits[1:last - 1];
        END IF;
        kept[i] := one;
    END LOOP;
    RETURN kept;
END
$$
"""


def upgrade() -> None:
    # Buckets in chronological order: the number of hits, and the time of the newest of them in
    # microseconds since 1970. `used` is the sum of the hits.
    op.execute(
        "CREATE TYPE rate_limit_window AS"
        " (seconds integer, used integer, at bigint[], hits integer[])"
    )
    # A crash may reset quotas, but not the counts of password guesses.
    op.execute(TABLE.format(kind="UNLOGGED", name="quotas"))
    op.execute(TABLE.format(kind="", name="guesses"))
    op.execute(COUNT)
    op.execute(GIVE_BACK)


def downgrade() -> None:
    op.drop_table("rate_limit_guesses")
    op.drop_table("rate_limit_quotas")
    op.execute("DROP FUNCTION rate_limit_give_back")
    op.execute("DROP FUNCTION rate_limit_count")
    op.execute("DROP TYPE rate_limit_window")
