"""Terminal handling of the commands: exit codes, printing, escaping of foreign text, signals."""
