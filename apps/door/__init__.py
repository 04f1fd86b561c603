"""Who may use the page, and what may be sent to it."""
