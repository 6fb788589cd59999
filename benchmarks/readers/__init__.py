"""The leaderboard of readers: trained equally long on the same questions, asked the same, timed side by side.

``plan`` says which runs there are, ``single`` is one of them, in a process of its own, ``crew`` has them done,
``speed`` times the trained readers, ``board`` writes tables, ``picture`` draws, and ``leaderboard`` is all of it.
"""
