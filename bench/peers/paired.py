"""Alternating rounds, and what is told of them."""
from statistics import median

ROUND_MS = 100.  # a round of one contender: long against a warm-up, short against the slow spells of a shared machine


def iterations_for(milliseconds):
    return max(1, min(500, round(ROUND_MS / milliseconds)))


def alternate(contenders, rounds):
    """contenders: name -> run(n) that gives n milliseconds. Everyone runs once per round, in an order that turns.
    Returns name -> list of rounds, each a list of milliseconds."""
    count = {name: iterations_for(min(run(3))) for name, run in contenders.items()}
    samples = {name: [] for name in contenders}
    names = list(contenders)
    for number in range(rounds):
        turn = number % len(names)
        for name in names[turn:] + names[:turn]:
            samples[name].append(contenders[name](count[name]))
    return samples


def compare(ours, peer):
    """Rounds of ours and of a peer that alternated -> medians, minima, and the median of the ratios of each round."""
    our_rounds, peer_rounds = [median(part) for part in ours], [median(part) for part in peer]
    return {"ours_ms": median(our_rounds), "ours_min_ms": min(min(part) for part in ours),
            "peer_ms": median(peer_rounds), "peer_min_ms": min(min(part) for part in peer),
            "ratio": median(theirs / mine for mine, theirs in zip(our_rounds, peer_rounds))}
