"""Statements of a worker on procrastinate's tables."""

from backend.core.jobs import ERROR, ORIGIN

HEARTBEAT = "UPDATE procrastinate_workers SET last_heartbeat = now() WHERE id = %s"
# Appended to the following statements: a worker that was declared dead has lost its jobs.
OWN = "WHERE id = %(job_id)s AND status = 'doing' AND worker_id = %(worker_id)s RETURNING status"
DELETE = "DELETE FROM procrastinate_jobs"
SET_ERROR = (
    f"args = jsonb_set(args, '{{{ORIGIN}}}', coalesce(args -> '{ORIGIN}', '{{}}')"
    f" || jsonb_build_object('{ERROR}', %(error)s::text))"
)
RELEASE = "UPDATE procrastinate_jobs SET worker_id = NULL, abort_requested = false"
GIVE_BACK = f"{RELEASE}, status = 'todo'"
RETRY = f"{GIVE_BACK}, attempts = attempts + 1, scheduled_at = %(retry_at)s, {SET_ERROR}"
MARK_FAILED = f"{RELEASE}, status = 'failed', attempts = attempts + 1, {SET_ERROR}"
AGE = "SELECT now() - min(at) FROM procrastinate_events WHERE job_id = procrastinate_jobs.id"
# Back off on job names that this release does not know, and give up on them after three days.
BACK_OFF = (
    f"{RELEASE}, {SET_ERROR}, status = CASE WHEN ({AGE}) > interval '3 days'"
    " THEN 'failed' ELSE 'todo' END::procrastinate_job_status, scheduled_at = now()"
    f" + greatest(interval '30 seconds', least(interval '6 hours', ({AGE}) / 4))"
)
# A scheduled job that always fails would otherwise leave thousands of rows a day.
REPLACE = (
    "DELETE FROM procrastinate_jobs WHERE queue_name = %(queue)s AND task_name = %(name)s"
    " AND status IN ('todo', 'failed') AND id < %(id)s"
)
# The limit keeps the statement within the timeout of a worker.
ABANDONED = """
SELECT id, task_name, attempts, worker_id FROM procrastinate_jobs
WHERE status = 'doing' AND (worker_id IS NULL OR worker_id IN (
    SELECT id FROM procrastinate_workers
    WHERE last_heartbeat < now() - make_interval(secs => %s)
))
ORDER BY id LIMIT 200
"""
REQUEUE = (
    f"{RELEASE}, {SET_ERROR}, status = %(status)s, attempts = attempts + 1,"
    " scheduled_at = now() + make_interval(secs => %(pause)s)"
    " WHERE id = %(id)s AND status = 'doing' AND worker_id IS NOT DISTINCT FROM %(worker_id)s"
)
PRUNE = "SELECT procrastinate_prune_stalled_workers_v1(%s)"
