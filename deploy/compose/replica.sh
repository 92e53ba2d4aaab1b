#!/usr/bin/env bash
# Start a streaming standby with the command in the arguments. If PGDATA is empty, it is copied from
# the primary, which libpq's variables name (PGHOST, PGPORT, PGUSER, PGPASSWORD).
set -euo pipefail

if [[ ! -s $PGDATA/PG_VERSION ]]; then
	# An interrupted copy is not a database, so it gets its name when it is complete.
	rm -rf "$PGDATA.incomplete"
	mkdir -p "$(dirname "$PGDATA")"
	pg_basebackup --pgdata="$PGDATA.incomplete" --write-recovery-conf --wal-method=stream \
		--checkpoint=fast
	rm -rf "$PGDATA"
	mv "$PGDATA.incomplete" "$PGDATA"
fi
exec "$@"
