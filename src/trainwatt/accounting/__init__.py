"""Attribution of joules to phases and epochs."""
