"""What follows a run. One protocol, a module for each consequence."""

from antiphon.run.observers.observer import Observer, Observers

__all__ = ["Observer", "Observers"]
