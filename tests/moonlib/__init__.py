"""What the Python tests share: starting servers (server.py) and speaking RESP (resp.py)."""
