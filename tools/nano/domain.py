"""What nano can talk about: questions, their answers, and the words of both. No sound here.

All text is lower case without punctuation, as it is spoken.
"""
NUMBERS = ("zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
           "seventeen eighteen nineteen twenty").split()
OPPOSITES = [pair.split("/") for pair in (
    "hot/cold big/small up/down left/right open/closed day/night black/white fast/slow happy/sad old/new high/low good/bad "
    "full/empty hard/soft dark/bright early/late rich/poor wet/dry long/short strong/weak clean/dirty near/far "
    "thick/thin loud/quiet first/last true/false").split()]
COLOURS = dict(pair.split("/") for pair in (
    "sky/blue grass/green sun/yellow snow/white coal/black banana/yellow apple/red leaf/green sea/blue milk/white fire/red "
    "mouse/gray bear/brown rose/red lemon/yellow cloud/white tree/green chocolate/brown").split())
DAYS = "monday tuesday wednesday thursday friday saturday sunday".split()
MONTHS = "january february march april may june july august september october november december".split()
ANIMALS = "dog cat horse cow bird fish duck sheep lion tiger frog rabbit".split()
THINGS = ("house garden window door table chair water bread coffee music river mountain train school city street book paper "
          "letter picture morning evening winter summer doctor teacher mother father sister brother").split()
GREETINGS = {
    "hello": "hello how can i help you", "good morning": "good morning to you", "good evening": "good evening to you",
    "good night": "good night sleep well", "how are you": "i am fine thank you", "what is your name": "my name is nano",
    "thank you": "you are welcome", "goodbye": "goodbye see you soon", "who are you": "i am a very small computer",
    "can you hear me": "yes i can hear you", "what can you do": "i can hear and speak a few words"}
AGAIN = "say that again"
NOT_UNDERSTOOD = "i did not understand"
TIME_QUESTION, SEARCH_QUESTION = "what time is it", "search for"
SEARCH_TOPICS = sorted([*ANIMALS, *THINGS])
WITHOUT_TOOLS = {TIME_QUESTION: "i have no clock"}


def sums():
    pairs = {}
    for a in range(21):
        for b in range(21):
            one, two = NUMBERS[a], NUMBERS[b]
            if a + b <= 20:
                pairs[f"what is {one} plus {two}"] = f"{one} plus {two} is {NUMBERS[a + b]}"
            if a >= b:
                pairs[f"what is {one} minus {two}"] = f"{one} minus {two} is {NUMBERS[a - b]}"
            if a != b:
                pairs[f"which is bigger {one} or {two}"] = f"{NUMBERS[max(a, b)]} is bigger"
    for a in range(20):
        pairs[f"what comes after {NUMBERS[a]}"] = f"{NUMBERS[a + 1]} comes after {NUMBERS[a]}"
    return pairs


def facts():
    pairs = dict(GREETINGS)
    for a, b in OPPOSITES:
        pairs[f"what is the opposite of {a}"] = f"the opposite of {a} is {b}"
        pairs[f"what is the opposite of {b}"] = f"the opposite of {b} is {a}"
    for thing, colour in COLOURS.items():
        pairs[f"what color is the {thing}"] = f"the {thing} is {colour}"
    for names in (DAYS, MONTHS):
        for before, after in zip(names, names[1:] + names[:1]):
            pairs[f"what comes after {before}"] = f"{after} comes after {before}"
    return pairs


SUMS, FACTS = sums(), facts()
KINDS_OF_SUMS = [sorted((q, a) for q, a in SUMS.items() if f" {word} " in q) for word in ("plus", "minus", "bigger", "after")]
REPEATED = sorted({*NUMBERS, *(w for pair in OPPOSITES for w in pair), *COLOURS, *COLOURS.values(), *DAYS, *MONTHS, *ANIMALS, *THINGS})
_sums, _facts = sorted(SUMS.items()), sorted(FACTS.items())


def repeat(rng):
    words = " ".join(rng.choice(REPEATED) for _ in range(rng.choice([1, 2, 3, 3, 4])))
    return f"repeat after me {words}", words


def held_out(question):
    """A fixed tenth of the sentences to repeat is never trained on. Sums and facts all are: they are told apart by voice."""
    return question.startswith("repeat") and sum(question.encode()) % 10 == 7


def sample(rng):
    """A question and what the answer says. Tool questions are answered as without tools."""
    x = rng.random()
    if x < 0.33:
        return rng.choice(_sums)
    if x < 0.60:
        return rng.choice(_facts)
    if x < 0.63:
        return rng.choice(sorted(WITHOUT_TOOLS.items()))
    if x < 0.67:
        topic = rng.choice(SEARCH_TOPICS)
        return f"{SEARCH_QUESTION} {topic}", f"i cannot search for {topic}"
    if x < 0.69:
        return AGAIN, NOT_UNDERSTOOD
    return repeat(rng)


def answers(rng, repeats):
    """Every fixed answer, and as many repeated phrases."""
    fixed = {*SUMS.values(), *FACTS.values(), *WITHOUT_TOOLS.values(), NOT_UNDERSTOOD}
    fixed |= {f"i cannot search for {topic}" for topic in SEARCH_TOPICS}
    return sorted(fixed), [repeat(rng)[1] for _ in range(repeats)]


def vocabulary():
    texts = [*SUMS, *SUMS.values(), *FACTS, *FACTS.values(), *WITHOUT_TOOLS, *WITHOUT_TOOLS.values(), "repeat after me", AGAIN,
             NOT_UNDERSTOOD, f"{SEARCH_QUESTION} i cannot", *REPEATED]
    return sorted({word for text in texts for word in text.split()})
