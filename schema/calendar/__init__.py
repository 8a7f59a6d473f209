"""When things may happen: windows, deadlines, cron expressions."""
