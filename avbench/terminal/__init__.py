"""Between a process and its terminal: exit codes, printing, text of strangers, signals."""
