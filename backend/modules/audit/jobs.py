from backend.core.jobs import Job
from backend.modules.audit.retention import remove_outlived
from backend.modules.audit.sealing import seal_waiting

# Nothing may wait longer than a minute, also when one run fails.
SEAL = Job("audit.seal", seal_waiting, attempts=1, cron="* * * * * */20")
RETENTION = Job("audit.retention", remove_outlived, cron="17 3 * * *")
