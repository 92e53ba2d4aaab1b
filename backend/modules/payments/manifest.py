from backend.core.module import Module
from backend.modules.payments.jobs import PURGE_EVENTS
from backend.modules.payments.settings import PaymentSettings

module = Module(settings=PaymentSettings, jobs=(PURGE_EVENTS,))
