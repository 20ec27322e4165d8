"""SyncNet v2: how well lips and voice belong together, window by window."""
