from backend.core.module import Module
from backend.modules.mail.router import router
from backend.modules.mail.settings import MailSettings

module = Module(router=router, versioned=False, settings=MailSettings)
