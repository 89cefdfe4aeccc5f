"""Maintenance of a home: verification of its tables, compaction, removal of old files."""
