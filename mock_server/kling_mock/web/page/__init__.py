"""The page at `/__mock/`: what the fake holds, live, and the control calls as buttons.

Rendered on the server from the same facts that the control protocol shows; every action is a control call or a create, so that the page
can do nothing that a program cannot.
"""
