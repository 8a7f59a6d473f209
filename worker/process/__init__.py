"""What one worker process is: settings, logs, metrics, shutdown, crash points, hints."""
