from backend.core.jobs import Job
from backend.modules.jobs import service

CLEAN = Job("jobs.clean", service.delete_old, cron="17 3 * * *")
