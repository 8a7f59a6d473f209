"""What several commands share: options, the session, submission and watching of runs."""
