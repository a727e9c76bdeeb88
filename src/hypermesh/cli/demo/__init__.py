"""`hm demo`: the main job, with three nodes on this machine."""
