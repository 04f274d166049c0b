"""Spoken commands to an assistant: home, timers, calendar, numbers, navigation; three to ten words each.

A sentence is a template whose `{slots}` are filled at random; slots may be nested.
"""

from __future__ import annotations

import re

import numpy as np

UNITS = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
TEENS = [
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
]
TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]

SLOTS: dict[str, list[str]] = {
    "unit": UNITS,
    "tens": TENS,
    "number": ["{unit}", *TEENS, "{tens}", "{tens} {unit}"],
    "hour": [*UNITS, "ten", "eleven", "twelve"],
    "time": ["{hour}", "{hour} thirty", "{hour} fifteen", "half past {hour}"],
    "switch": ["on", "off"],
    "room": ["kitchen", "bedroom", "bathroom", "living room", "hallway", "office", "garage", "basement"],
    "device": ["light", "lamp", "fan", "heater", "speaker", "television", "radio", "camera"],
    "cover": ["door", "window", "curtains", "blinds", "gate"],
    "appliance": ["oven", "dishwasher", "washing machine", "coffee maker", "vacuum"],
    "color": ["red", "green", "blue", "yellow", "purple", "orange", "warm white"],
    "span": ["second", "minute", "hour"],
    "spans": ["seconds", "minutes", "hours"],
    "ordinal": ["first", "second", "third", "fourth", "fifth", "tenth", "twentieth"],
    "chore": ["water the plants", "call the doctor", "feed the cat", "pay the rent", "take my medicine"],
    "weekday": ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"],
    "day": ["today", "tomorrow", "{weekday}", "next {weekday}"],
    "part": ["morning", "afternoon", "evening"],
    "month": ["january", "march", "april", "june", "july", "august", "october", "december"],
    "person": ["anna", "david", "maria", "peter", "julia", "thomas", "emma", "robert"],
    "event": ["meeting", "party", "lunch", "interview", "concert", "lesson"],
    "place": ["airport", "hospital", "library", "museum", "station", "supermarket", "bakery", "pharmacy"],
    "road": ["bridge", "river", "highway", "market street", "main street", "roundabout"],
    "side": ["left", "right"],
    "compass": ["north", "south", "east", "west"],
}

TEMPLATES: dict[str, list[str]] = {
    "home": [
        "turn {switch} the {room} {device}",
        "please switch {switch} the {device} in the {room}",
        "dim the {room} {device} to {number} percent",
        "set the {room} heater to {number} degrees",
        "make the {room} {device} {color}",
        "open the {room} {cover}",
        "close the {cover} in the {room}",
        "is the {room} {cover} locked",
        "lock the {cover}",
        "start the {appliance} in {number} {spans}",
        "stop the {appliance} now please",
    ],
    "timers": [
        "set a timer for {number} {spans}",
        "set a {number} {span} timer for the {appliance}",
        "wake me up at {time} in the {part}",
        "set an alarm for {time} {day}",
        "cancel my {ordinal} alarm",
        "pause my timer",
        "cancel the timer for the {appliance}",
        "how many {spans} are left on the timer",
        "remind me to {chore} at {time}",
        "remind me to {chore} {day}",
    ],
    "calendar": [
        "add a {event} with {person} on {weekday}",
        "schedule a {event} for {day} at {time}",
        "move the {event} to {weekday} {part}",
        "what is on my calendar {day}",
        "do i have a {event} on {month} {ordinal}",
        "invite {person} and {person} to the {event}",
        "when is my next {event} with {person}",
        "delete the {event} with {person} {day}",
    ],
    "numbers": [
        "what is {number} plus {number}",
        "what is {number} minus {number}",
        "multiply {number} by {number}",
        "divide {number} by {unit}",
        "count from {unit} to {number}",
        "roll a dice with {number} sides",
        "pick a number between {unit} and {number}",
    ],
    "navigation": [
        "take me to the nearest {place}",
        "how far is the {place} from here",
        "find a {place} near the {place}",
        "turn {side} after the {road}",
        "turn {side} at the {place}",
        "turn {side} here",
        "go {compass} on the {road} for {number} miles",
        "drive {compass} until you reach the {place}",
        "avoid the {road} on the way home",
        "is there traffic near the {place}",
        "show me the fastest way to the {place}",
    ],
}

_SLOT = re.compile(r"\{(\w+)\}")


def sentence(rng: np.random.Generator) -> str:
    """One random command: domain, template and slots are each drawn uniformly."""
    domain = list(TEMPLATES)[rng.integers(len(TEMPLATES))]
    text = TEMPLATES[domain][rng.integers(len(TEMPLATES[domain]))]
    while slot := _SLOT.search(text):
        options = SLOTS[slot.group(1)]
        text = text[: slot.start()] + options[rng.integers(len(options))] + text[slot.end() :]
    return text


def vocabulary() -> list[str]:
    """Every word that the grammar can generate, sorted."""
    texts = [*SLOTS["unit"], *(option for options in SLOTS.values() for option in options)]
    texts += [template for templates in TEMPLATES.values() for template in templates]
    return sorted({word for text in texts for word in _SLOT.sub(" ", text).split()})
