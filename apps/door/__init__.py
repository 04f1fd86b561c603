"""Access to the page: who may use it, and what may be sent to it."""
