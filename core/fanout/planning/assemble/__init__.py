"""From rendered requests to the body of a call: what all tasks of a branch share is added here, at the time of sending."""
