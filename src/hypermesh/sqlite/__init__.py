"""SQLite as every store of this project uses it: how a file is opened, when what is written is on
the disk, and one transaction at a time. It knows no table."""
