"""The commands: one file each, thin, over a named core."""
