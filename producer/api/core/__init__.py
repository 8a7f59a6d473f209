"""What every request goes through: settings, body limit, authentication, visibility of runs, errors."""
