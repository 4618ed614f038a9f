"""HTTP in front of the world: the service's routes, the control protocol, the media, and the edge that serves them."""
