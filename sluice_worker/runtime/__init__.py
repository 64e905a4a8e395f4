"""Everything that has a thread: pollers, handlers, acknowledgements, the process's lifecycle."""
