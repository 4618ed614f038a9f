"""Pictures, videos and uploaded files: the checks on first frames, the generated pictures, the rendered MP4 files.

Functions of bytes, with caches around them. No routes, and no opinion on who may fetch what: `frames` asks for that.
"""
