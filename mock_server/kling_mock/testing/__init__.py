"""What tests of an application use: the pytest plugin, its fixtures and a callback receiver.

Everything here drives a fake from outside, over HTTP; nothing reaches into the fake's own objects.
"""
