"""English sentences made of what Whisper's rules are about, always the same ones."""

import json
import random
from importlib.resources import files

KINDS = {
    "contractions": """won't can't let's ain't y'all wanna gotta gonna i'ma imma woulda coulda shoulda ma'am it's he'd
        been she's gone they'd done who's got don't we're that's i'd you'll I've I'm 'tis o'clock kinda sorta""",
    "titles": "Mr. Mrs. St. Dr. Prof. Capt. Gov. Gen. Sen. Rep. Lt. Col. Jr. Sr. mr dr",
    "words": "the cause of fire because dunno a cat's dog cafe naïve Zürich green house, and then? but so! well-read",
    "numbers": """one two twenty twenty-one hundred thousand million oh zero point five first third sixties double
        triple seven minus plus percent dollars cents pounds per cent half and a""",
    "figures": "1 21 847 870 1,000 3.5 $5 $20 £3 €2 7% 1960s 21st 3rd 10:30 $2.07 ¢7 007 b2b mp3",
    "noise": "uh um hmm mhm mm [noise] (laughs) <unk> -- …",
}


def sentences(count: int = 3000, seed: int = 0, numbers: bool = True) -> list[str]:
    draw = random.Random(seed)
    kinds = {name: text.split() for name, text in KINDS.items()}
    kinds["british"] = list(json.loads((files("antiphon.text") / "spellings.json").read_bytes()))
    chosen = ["words", "words", "contractions", "titles", "british"]
    chosen += ["numbers", "numbers", "figures", "noise"] if numbers else []
    return [" ".join(draw.choice(kinds[draw.choice(chosen)]) for _ in range(draw.randint(1, 14))) for _ in range(count)]
