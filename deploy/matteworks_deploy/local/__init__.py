"""The local launcher: every process of the suite, started, watched and stopped as one."""
