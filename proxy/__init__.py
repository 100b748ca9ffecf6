"""Penstock: a streaming gateway in front of Azure OpenAI.

A *client* shows a *credential* and becomes a *principal*. Its *grants* say what it may do, its *limits* how much. A
*model* is what clients call; *deployments* of it live at *backends*, in regions. A *request* passes the stages in one
direction (`exchange`), and leaves one *record*. ARCHITECTURE.md walks through it with file names.
"""

__version__ = "0.4.0"
