"""What people look at: a run's report as one file, in HTML or Markdown."""
