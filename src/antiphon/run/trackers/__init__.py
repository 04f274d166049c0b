"""Trackers: observers that keep a run's curves, evaluations and samples in an experiment tracking library.

A module here is a tracker when it has a class `Tracker`; `track: [NAME]` names it.
"""
