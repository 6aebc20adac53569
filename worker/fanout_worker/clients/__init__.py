"""Clients for the model APIs: each sends one rendered request and returns the response as it came."""
