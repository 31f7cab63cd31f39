"""The command line: one verb a file, each thin over the room that does the work."""
