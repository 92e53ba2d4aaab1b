from backend.core.jobs import Job
from backend.modules.audit.retention import delete_expired
from backend.modules.audit.sealing import seal_waiting

# Nothing may wait longer than a minute, also when one run fails.
SEAL = Job("audit.seal", seal_waiting, attempts=1, cron="* * * * * */20")
RETENTION = Job("audit.retention", delete_expired, cron="17 3 * * *")
