"""A rollout that breaks something, and a holiday: is each of them one incident and one major case?"""
