"""What a run leaves behind: terminal, JSON, JUnit, Markdown, the page and the badge. Every form is made from a `Run` alone; no verdict is
decided here.
"""
