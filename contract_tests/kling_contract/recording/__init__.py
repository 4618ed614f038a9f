"""A proxy between an unmodified client and a service that bills: everything is recorded, nothing passes the guard unseen."""
