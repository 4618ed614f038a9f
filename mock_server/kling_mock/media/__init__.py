"""Pictures, videos and uploaded files: the checks on first frames, the generated pictures, the rendered MP4 files.

`images.inspect` refuses a picture by the rules of its contract (format, bytes, sides, ratio); before it decodes one, `costs.check`
refuses a PNG or JPEG that is too costly to decode. `frames` fetches a first frame and hands it to them. Functions of bytes, with caches
around them: no routes here, and no opinion on who may fetch what.
"""
