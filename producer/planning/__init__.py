"""What runs when: schedules and their due times, and the forecast of the coming windows."""
