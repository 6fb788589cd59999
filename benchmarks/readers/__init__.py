"""The leaderboard of readers: all are trained for the same processor time on the same questions, scored, and timed.

``plan`` lists the runs, ``single`` is one run in its own process, ``parallel`` runs several processes at once,
``speed`` times the trained readers, ``board`` writes tables, ``picture`` draws, and ``leaderboard`` combines them all.
"""
