"""Files in object storage and on web servers: addresses, what may be contacted, reading with retries."""
