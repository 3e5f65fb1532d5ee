"""One module a subcommand; tools/*.py and every __main__ call these."""
