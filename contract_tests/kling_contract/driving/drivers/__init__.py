"""What is sent to a server: the scripts of the scripted run, drawn sequences, drawn requests, and the plan for a service that bills. A
script says which rules it serves; it never judges.
"""
